#!/bin/sh
# Writes a C project with a build.ninja: c_project.sh DIRECTORY UNITS
# Each unit is a .c and a .h, ten of them are a static library, and a program calls all of them. A header is made by a
# command. `calculator` prints the sum of what the units return; `check` runs it on the terminal.
set -eu
mkdir -p "$1/src" "$1/include"
cd "$1"
units=$2
echo 1.2.3 >version.txt
cat >include/common.h <<'END'
#ifndef COMMON_H
#define COMMON_H
typedef struct { int value; int depth; } number;
static inline number add(number a, number b) { number c = { a.value + b.value, a.depth + b.depth }; return c; }
#endif
END
awk -v units="$units" '
function put(file, text) { print text > file }
BEGIN {
    for (i = 0; i < units; i++) {
        header = "include/unit" i ".h"; source = "src/unit" i ".c"
        put(header, "#include \"common.h\"\nnumber unit" i "(int x);")
        put(source, "#include \"unit" i ".h\"")
        if (i) put(source, "#include \"unit" int(i / 2) ".h\"")
        put(source, "static const char *words[] = { \"one\", \"two\", \"three\" };")
        put(source, "static int length(const char *word) { int n = 0; while (*word++) n++; return n; }")
        put(source, "number unit" i "(int x) {\n    number own = { length(words[x % 3]) + " i ", 1 };")
        put(source, i ? "    return x > 8 ? own : add(own, unit" int(i / 2) "(x + 1));\n}" : "    return own;\n}")
        close(header); close(source)
    }
    source = "src/main.c"
    put(source, "#include <stdio.h>\n#include \"version.h\"\n#include \"common.h\"")
    for (i = 0; i < units; i++) put(source, "number unit" i "(int x);")
    put(source, "int main(void) {\n    number sum = { 0, 0 };")
    for (i = 0; i < units; i++) put(source, "    sum = add(sum, unit" i "(0));")
    put(source, "    printf(\"calculator %s: %d in %d calls\\n\", VERSION, sum.value, sum.depth);\n    return 0;\n}")

    file = "build.ninja"
    put(file, "# made by c_project.sh\ncc = cc\ncflags = -O1 -Wall $\n    -Iinclude -Ibuild/gen\nbuilddir = build\n")
    put(file, "pool link\n  depth = 1\n")
    put(file, "rule cc\n  command = $cc $cflags -MMD -MF $out.d -c $in -o $out\n  depfile = $out.d\n  description = CC $out\n")
    put(file, "rule ar\n  command = rm -f $out && ar rc $out $in\n  description = AR $out\n")
    put(file, "rule link\n  command = $cc $in $libs -o $out\n  description = LINK $out\n  pool = link\n")
    put(file, "rule version\n  command = v=$$(cat $in) && echo \"#define VERSION \\\"$$v\\\"\" > $out\n  description = VERSION $out\n")
    put(file, "rule check\n  command = ./$in\n  description = CHECK\n  pool = console\n")
    put(file, "build $builddir/gen/version.h: version version.txt")
    libraries = ""; group = ""
    for (i = 0; i < units; i++) {
        put(file, "build $builddir/obj/unit" i ".o: cc src/unit" i ".c")
        group = group " $\n    $builddir/obj/unit" i ".o"
        if (i % 10 == 9 || i == units - 1) {
            library = "$builddir/lib/lib" int(i / 10) ".a"
            put(file, "build " library ": ar" group)
            libraries = libraries " " library; group = ""
        }
    }
    put(file, "build $builddir/obj/main.o: cc src/main.c || $builddir/gen/version.h")
    put(file, "build calculator: link $builddir/obj/main.o |" libraries)
    put(file, "  libs = -Wl,--start-group" libraries " -Wl,--end-group")
    put(file, "build check: check calculator\nbuild all: phony calculator\ndefault all")
}'
