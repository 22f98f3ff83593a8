#!/usr/bin/env python3
"""The example mini_ninja beside ninja, in turn, in one run, with ninja's own number of jobs.

    cargo build --release --example mini_ninja
    benches/mini_ninja.py [UNITS [ROUNDS]]      the default: 500 7

`cc`: the C project of tests/c_project.sh from nothing. `none`: again, with no work to do. `true`: as many commands as units
that only make an empty file, where the tool itself is what is left beside its shells. Prints medians: wall seconds, the
tool's own CPU milliseconds (user and system, without its children), and behind each the median of the rounds' ratios to
ninja. NINJA says which one.

Own CPU is read of the ended tool before it is reaped, from /proc/PID/schedstat: that of its main thread. mini_ninja has a
second one, which waits for signals; `all threads` is what wait4(2) says where there are no children that it would add.
"""
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
MINI = os.environ.get("MINI_NINJA", os.path.join(HERE, "../target/release/examples/mini_ninja"))
TOOLS = {"ninja": os.environ.get("NINJA") or shutil.which("ninja"), "mini_ninja": os.path.abspath(MINI)}


def run(tool, directory):
    """Wall seconds, own CPU milliseconds, CPU milliseconds of all threads and children."""
    begin = time.monotonic()
    child = subprocess.Popen([TOOLS[tool]], cwd=directory, stdout=subprocess.DEVNULL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    wall = time.monotonic() - begin
    with open(f"/proc/{child.pid}/schedstat") as schedstat:
        own = int(schedstat.read().split()[0]) / 1e6
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = status
    if status:
        sys.exit(f"{tool} has failed in {directory}")
    return wall, own, (usage.ru_utime + usage.ru_stime) * 1e3


def write_true(directory, count):
    os.makedirs(directory)
    with open(os.path.join(directory, "build.ninja"), "w") as file:
        file.write("rule true\n  command = : > $out\n")
        for number in range(count):
            file.write(f"build out/{number}: true\n")


def main():
    units = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 7
    if not TOOLS["ninja"]:
        sys.exit("there is no ninja")
    version = subprocess.run([TOOLS["ninja"], "--version"], capture_output=True, text=True).stdout.strip()
    print(f"ninja {version}, {units} units, {rounds} rounds")
    results = {case: {tool: [] for tool in TOOLS} for case in ("cc", "none", "true")}
    with tempfile.TemporaryDirectory() as scratch:
        fresh = {"cc": f"{scratch}/cc", "true": f"{scratch}/true"}
        subprocess.run(["sh", os.path.join(HERE, "../tests/c_project.sh"), fresh["cc"], str(units)], check=True)
        write_true(fresh["true"], units)
        # The first round warms up, and does not count.
        for number in range(rounds + 1):
            for tool in sorted(TOOLS, reverse=number % 2 == 1):
                for kind, cases in (("cc", ("cc", "none")), ("true", ("true",))):
                    directory = f"{scratch}/work"
                    shutil.copytree(fresh[kind], directory)
                    for case in cases:
                        measured = run(tool, directory)
                        if number > 0:
                            results[case][tool].append(measured)
                    shutil.rmtree(directory)
    for case, tools in results.items():
        for tool, all_of_it in tools.items():
            cells = []
            for place, unit in ((0, "s"), (1, "ms own")):
                median = statistics.median(one[place] for one in all_of_it)
                ratios = [one[place] / other[place] for one, other in zip(all_of_it, tools["ninja"])]
                cells.append(f"{median:9.4f} {unit} ({statistics.median(ratios):.2f})")
            if case == "none":
                cells.append(f"all threads {statistics.median(one[2] for one in all_of_it):.2f} ms")
            print(f"{case:5} {tool:11}", *cells, sep="  ")


main()
