#!/usr/bin/env python3
"""Records a run of the program on a terminal and draws it: docs/terminal.svg.

    cargo build --release --features cli --bin execloop
    benches/terminal.py target/release/execloop docs/terminal.svg

The run is a real one, on a pseudo-terminal of its own: 24 gzipped files of several sizes are tested, four at a time, and
one of them is broken. What the program wrote, and when, is all that is drawn; pauses are as they were.
"""

import gzip
import html
import os
import pty
import random
import re
import select
import struct
import sys
import tempfile
import termios
import fcntl
import time

COLUMNS, ROWS = 78, 10
LINE = "execloop run -j 4 gzip -t {} ::: *.gz"
FRAME_SECONDS = 0.25
CHARACTER_WIDTH, LINE_HEIGHT = 8.4, 18
HOLD_SECONDS = 4

ESCAPE = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])")


class Screen:
    """As much of a terminal as the program uses: it fails at anything else."""

    def __init__(self):
        self.lines = [[]]
        self.row = self.column = 0
        self.colour = ""
        self.rest = ""

    def feed(self, text):
        text = self.rest + text
        place = 0
        while place < len(text):
            character = text[place]
            if character == "\x1b":
                match = ESCAPE.match(text, place)
                if match is None:
                    break
                self.escape(match[1], match[2])
                place = match.end()
                continue
            if character == "\r":
                self.column = 0
            elif character == "\n":
                self.go_to(self.row + 1)
            elif character >= " ":
                self.put(character)
            else:
                raise ValueError(f"not drawn: {character!r}")
            place += 1
        self.rest = text[place:]

    def go_to(self, row):
        self.row = max(row, 0)
        while len(self.lines) <= self.row:
            self.lines.append([])

    def put(self, character):
        if self.column == COLUMNS:
            self.go_to(self.row + 1)
            self.column = 0
        line = self.lines[self.row]
        line.extend([(" ", "")] * (self.column + 1 - len(line)))
        line[self.column] = (character, self.colour)
        self.column += 1

    def escape(self, words, kind):
        number = int(words) if words.isdigit() else 1
        line = self.lines[self.row]
        if kind == "m":
            self.colour = {"31": "red", "32": "green", "33": "yellow", "36": "cyan"}.get(words, "")
        elif kind == "A":
            self.go_to(self.row - number)
        elif kind == "B":
            self.go_to(self.row + number)
        elif kind == "C":
            self.column = min(self.column + number, COLUMNS - 1)
        elif kind == "D":
            self.column = max(self.column - number, 0)
        elif kind == "G":
            self.column = number - 1
        elif kind == "K" and words == "2":
            line.clear()
        elif kind == "K" and words in ("", "0"):
            del line[self.column :]
        elif kind == "J" and words in ("", "0"):
            del line[self.column :]
            del self.lines[self.row + 1 :]
        elif kind in "hl":
            pass  # the cursor is shown or not
        else:
            raise ValueError(f"not drawn: ESC [ {words} {kind}")

    def shown(self):
        lines = [tuple(line) for line in self.lines]
        while lines and all(character == " " for character, _ in lines[-1]):
            lines.pop()
        return tuple(lines[-ROWS + 1 :])


def make_files(directory):
    """Zeros, as nothing is smaller on the disk for the time that it takes."""
    size = random.Random(1)
    for number in range(1, 25):
        path = os.path.join(directory, f"backup-{number:02}.gz")
        with gzip.open(path, "wb", 1) as file:
            for _ in range(size.randrange(20, 240)):
                file.write(bytes(1 << 20))
    with open(os.path.join(directory, "backup-11.gz"), "r+b") as file:
        file.seek(-8, os.SEEK_END)
        file.write(b"\xff" * 4)


def record(program, directory):
    """What is on the screen, and since when."""
    pid, terminal = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("4H", ROWS, COLUMNS, 0, 0))
        os.chdir(directory)
        os.environ.update(PATH=os.path.dirname(program) + ":" + os.environ["PATH"], TERM="xterm-256color")
        os.environ.pop("NO_COLOR", None)
        os.environ.pop("MAKEFLAGS", None)
        os.execvp("sh", ["sh", "-c", LINE])
    screen, frames, begin = Screen(), [(0.0, ())], time.monotonic()
    while True:
        due = frames[-1][0] + FRAME_SECONDS - (time.monotonic() - begin)
        ready, _, _ = select.select([terminal], [], [], max(due, 0))
        if ready:
            try:
                data = os.read(terminal, 65536)
            except OSError:
                data = b""
            if not data:
                break
            screen.feed(data.decode())
            if due > 0:
                continue
        frames.append((time.monotonic() - begin, screen.shown()))
    end = time.monotonic() - begin
    frames.append((end, screen.shown()))
    os.waitpid(pid, 0)
    return frames, end


def spans(line):
    """Runs of one colour, each at its column."""
    column = 0
    while column < len(line):
        colour, text = line[column][1], ""
        first = column
        while column < len(line) and line[column][1] == colour:
            text += line[column][0]
            column += 1
        if text.strip():
            # What draws SVG drops blanks as it likes.
            yield first + len(text) - len(text.lstrip()), colour, text.strip().replace(" ", "\u00a0")


def draw(frames, end):
    kept = [frames[0]]
    for frame in frames[1:]:
        if frame[1] != kept[-1][1]:
            kept.append(frame)
    total = end + HOLD_SECONDS
    width, height = COLUMNS * CHARACTER_WIDTH + 32, ROWS * LINE_HEIGHT + 28
    out = [
        "<!-- A recorded run. To make it again: benches/terminal.py target/release/execloop docs/terminal.svg -->",
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" width="{width:.0f}" height="{height}">',
        f"<title>{html.escape(LINE)}</title>",
        "<style>",
        "text{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:#d6dae0}",
        ".red{fill:#ff7b72}.green{fill:#7ee787}.yellow{fill:#e3b341}.cyan{fill:#76e3ea}.prompt{fill:#8b949e}",
    ]
    # Each frame is seen in its part of the time. Without animation the last one is.
    for number, (begin, _) in enumerate(kept):
        if number + 1 == len(kept):
            first = f"0%{{visibility:hidden}}{begin / total * 100:.2f}%,100%{{visibility:visible}}"
            out.append(f"@keyframes f{number}{{{first}}}#f{number}{{animation:f{number} {total:.1f}s step-end infinite}}")
            continue
        until = kept[number + 1][0]
        before = "" if begin == 0 else "0%{visibility:hidden}"
        out.append(
            f"@keyframes f{number}{{{before}{begin / total * 100:.2f}%{{visibility:visible}}"
            f"{until / total * 100:.2f}%,100%{{visibility:hidden}}}}"
            f"#f{number}{{visibility:hidden;animation:f{number} {total:.1f}s step-end infinite}}"
        )
    last = len(kept) - 1
    out.append(f"@media (prefers-reduced-motion:reduce){{g{{animation:none!important}}#f{last}{{visibility:visible}}}}")
    out.append("</style>")
    out.append(f'<rect width="{width:.0f}" height="{height}" rx="8" fill="#161b22"/>')
    out.append(f'<text x="16" y="30"><tspan class="prompt">$ </tspan>{html.escape(LINE)}</text>')
    for number, (_, lines) in enumerate(kept):
        out.append(f'<g id="f{number}">')
        for row, line in enumerate(lines):
            y = 30 + (row + 1) * LINE_HEIGHT
            for column, colour, text in spans(line):
                x = 16 + column * CHARACTER_WIDTH
                length = len(text) * CHARACTER_WIDTH
                mark = f' class="{colour}"' if colour else ""
                out.append(
                    f'<text x="{x:.1f}" y="{y}" textLength="{length:.1f}"{mark}>{html.escape(text)}</text>'
                )
        out.append("</g>")
    out.append("</svg>")
    return "\n".join(out) + "\n"


def main():
    program, target = os.path.abspath(sys.argv[1]), sys.argv[2]
    with tempfile.TemporaryDirectory() as directory:
        make_files(directory)
        frames, end = record(program, directory)
    with open(target, "w") as file:
        file.write(draw(frames, end))
    print(f"{len(frames)} frames, {end:.1f} s")
    print("\n".join("".join(character for character, _ in line) for line in frames[-1][1]))
    print("in the middle:")
    print("\n".join("".join(character for character, _ in line) for line in frames[len(frames) // 2][1]))


main()
