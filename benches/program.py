#!/usr/bin/env python3
"""`/bin/true {}` many times by `execloop run` and by what people use instead, in turn, in one run.

    benches/program.py [COUNT [ROUNDS]]     the default: 20000 3

Prints the medians of: wall seconds, the tool's own CPU seconds, and those of its children. What is not installed is left
out, which is said. ONLY=a,b: these tools alone. moreutils' parallel is found as parallel.moreutils, or where PARALLEL_MOREUTILS says. Own CPU is read
of the ended tool before it is reaped, in ticks of 10 ms.
"""
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

TICKS = os.sysconf("SC_CLK_TCK")
HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAM = os.environ.get("EXECLOOP", os.path.join(HERE, "../target/release/execloop"))
JOBS = str(os.cpu_count())


def peers(count, arguments):
    moreutils = os.environ.get("PARALLEL_MOREUTILS") or shutil.which("parallel.moreutils")
    numbers = [str(number) for number in range(count)]
    yield "execloop", [PROGRAM, "run", "-q", "-j", JOBS, "/bin/true", "{}"], arguments
    yield "xargs -P", ["xargs", "-P", JOBS, "-I{}", "/bin/true", "{}"], arguments
    yield "moreutils parallel", moreutils and [moreutils, "-j", JOBS, "/bin/true", "--", *numbers], None
    # It appends the argument, and passes a `{}` on as it is: `true` would have two then, and spare itself its locale.
    yield "rust-parallel", ["rust-parallel", "-j", JOBS, "/bin/true"], arguments
    yield "GNU parallel", ["parallel", "-j", JOBS, "/bin/true", "{}"], arguments


def run(words, arguments):
    """Wall seconds, own CPU seconds, children's CPU seconds."""
    with open(arguments or "/dev/null") as stdin:
        begin = os.times().elapsed
        child = subprocess.Popen(words, stdin=stdin, stdout=subprocess.DEVNULL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    wall = os.times().elapsed - begin
    with open(f"/proc/{child.pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    if child.wait() != 0:
        sys.exit(f"{words[0]} ended with {child.returncode}")
    user, system, of_children, system_of_children = (int(field) / TICKS for field in fields[11:15])
    return wall, user + system, of_children + system_of_children


def main():
    words = sys.argv[1:]
    count = int(words[0]) if words else 20000
    rounds = int(words[1]) if len(words) > 1 else 3
    with tempfile.NamedTemporaryFile("w") as arguments:
        arguments.writelines(f"{number}\n" for number in range(count))
        arguments.flush()
        here = []
        only = os.environ.get("ONLY", "").split(",")
        for name, words, source in peers(count, arguments.name):
            if only != [""] and name not in only:
                continue
            if words and shutil.which(words[0]):
                here.append((name, words, source, []))
            else:
                print(f"{name}: not installed")
        for round in range(rounds):
            for turn in range(len(here)):
                _, words, source, all = here[(round + turn) % len(here)]
                all.append(run(words, source))
        print(f"{count} commands, {JOBS} at once, {rounds} rounds\n\n| tool | wall s | own CPU s | children's CPU s |\n|---|---|---|---|")
        for name, _, _, all in here:
            print(f"| {name} | " + " | ".join(f"{statistics.median(column):.2f}" for column in zip(*all)) + " |")


main()
