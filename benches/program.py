#!/usr/bin/env python3
"""`/bin/true {}` many times by `execloop run` and by what people use instead, in turn, in one run.

    benches/program.py [COUNT [ROUNDS]]              the default: 20000 3
    benches/program.py progress [COUNT [ROUNDS]]     (2 rounds or more) what the bar costs: `--progress always` and `never` on a terminal, in turn

Prints the medians of: wall seconds, the tool's own CPU seconds, and those of its children. What is not installed is left
out, which is said. ONLY=a,b: these tools alone. moreutils' parallel is found as parallel.moreutils, or where PARALLEL_MOREUTILS says. Own CPU is read
of the ended tool before it is reaped, in ticks of 10 ms.
"""
import fcntl
import os
import pty
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import threading

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


class Terminal:
    """A terminal of 100 columns, which is read all the time. `taken`: how many bytes were written to it."""

    def __init__(self):
        self.ours, self.theirs = pty.openpty()
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        self.taken = 0
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        while True:
            self.taken += len(os.read(self.ours, 65536))


def progress(count, arguments, terminal):
    """The program alone, on that terminal."""
    for when in ("never", "always"):
        yield f"--progress {when}", [PROGRAM, "run", "-j", JOBS, "--progress", when, "/bin/true", "{}"], arguments, terminal.theirs


def run(words, arguments, output=subprocess.DEVNULL):
    """Wall seconds, own CPU seconds, children's CPU seconds."""
    errors = None if output == subprocess.DEVNULL else output
    with open(arguments or "/dev/null") as stdin:
        begin = os.times().elapsed
        child = subprocess.Popen(words, stdin=stdin, stdout=output, stderr=errors, env={**os.environ, "TERM": "xterm"})
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    wall = os.times().elapsed - begin
    with open(f"/proc/{child.pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    if child.wait() != 0:
        sys.exit(f"{words[0]} ended with {child.returncode}")
    user, system, of_children, system_of_children = (int(field) / TICKS for field in fields[11:15])
    return wall, user + system, of_children + system_of_children


def table(count, rounds, peers):
    """Runs all in turn, so many times, and prints the medians."""
    here = [(*peer, []) for peer in peers]
    for round in range(rounds):
        for turn in range(len(here)):
            _, *how, all = here[(round + turn) % len(here)]
            all.append(run(*how))
    print(f"{count} commands, {JOBS} at once, {rounds} rounds\n\n| tool | wall s | own CPU s | children's CPU s |\n|---|---|---|---|")
    for name, *_, all in here:
        print(f"| {name} | " + " | ".join(f"{statistics.median(column):.2f}" for column in zip(*all)) + " |")
    return here


def main():
    words = sys.argv[1:]
    is_progress = words[:1] == ["progress"]
    words = words[is_progress:]
    count = int(words[0]) if words else 20000
    rounds = int(words[1]) if len(words) > 1 else 3
    with tempfile.NamedTemporaryFile("w") as arguments:
        arguments.writelines(f"{number}\n" for number in range(count))
        arguments.flush()
        if is_progress:
            terminal = Terminal()
            without, bar = table(count, rounds, progress(count, arguments.name, terminal))
            # Each round's own difference: what else the machine does changes both.
            costs = [(with_bar[1] - plain[1]) / count * 1e6 for plain, with_bar in zip(without[-1], bar[-1])]
            low, middle, high = statistics.quantiles(costs, n=4)
            rate = count / statistics.median(wall for wall, *_ in bar[-1])
            print(f"\nthe bar: {middle:.1f} us of CPU a command (quartiles {low:.1f} and {high:.1f}), at {rate:.0f} commands a second; {terminal.taken} bytes on the terminal")
            return
        here = []
        only = os.environ.get("ONLY", "").split(",")
        for name, words, source in peers(count, arguments.name):
            if only != [""] and name not in only:
                continue
            if words and shutil.which(words[0]):
                here.append((name, words, source))
            else:
                print(f"{name}: not installed")
        table(count, rounds, here)


main()
