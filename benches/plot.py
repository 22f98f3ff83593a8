#!/usr/bin/env python3
"""Draws what `benches/measure.sh` measured: plot.py CSV DIRECTORY writes one SVG file for each mode.

Each line of the CSV is MODE,METHOD,X,START_US,TOTAL_US,CPU_US; of lines for the same point the median counts. The medians
also go to stdout, as tables in Markdown. Needs nothing but Python's standard library.
"""
import collections
import csv
import html
import math
import statistics
import sys
from pathlib import Path

MODES = {
    "alive": ("Cost of a start against children alive", "children alive", ""),
    "memory": ("Cost of a start against the parent's memory", "memory in use, MiB", " MiB"),
    "fds": ("Cost of a start against open descriptors", "other descriptors open", ""),
}
QUANTITIES = [
    (3, "until the call returned"),
    (4, "until the command was reaped"),
    (5, "CPU time of the parent"),
]
# Colours that people with any kind of colour vision tell apart (Okabe and Ito), and a dash for print.
STYLES = {
    "execloop": ("#0072b2", ""),
    "std": ("#d55e00", "7 3"),
    "tokio": ("#009e73", "2 3"),
    "async-process": ("#cc79a7", "9 3 2 3"),
}
OTHER_STYLE = ("#555555", "4 4")

PANEL_WIDTH, PANEL_HEIGHT = 236, 210
LEFT, RIGHT, TOP, BOTTOM = 46, 24, 88, 52
LEGEND_Y, LEGEND_WIDTH = 46, 130
# Marks that are closer than this are left without a number.
NUMBER_WIDTH = 42


def read(path):
    """The values of each column by mode, method and x."""
    points = collections.defaultdict(lambda: collections.defaultdict(lambda: collections.defaultdict(list)))
    with open(path, newline="") as file:
        for row in csv.reader(file):
            if row and row[0] in MODES:
                points[row[0]][row[1]][float(row[2])].append(row)
    if not points:
        sys.exit(f"{path}: no measurements")
    return points


def medians(lines, column):
    """(x, median) of one method, in the order of x."""
    return [(x, statistics.median(float(row[column]) for row in rows)) for x, rows in sorted(lines.items())]


def nice_step(largest):
    """The distance of about five marks up to `largest`: 1, 2 or 5 times a power of ten."""
    rough = largest / 5
    power = 10 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)


def number(value):
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"


class Drawing:
    def __init__(self, width, height, title):
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
            ' font-family="sans-serif" font-size="11" fill="#222222" role="img">',
            f"<title>{html.escape(title)}</title>",
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        ]

    def text(self, x, y, words, **attributes):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}"{attribute_text(attributes)}>{html.escape(words)}</text>')

    def line(self, x1, y1, x2, y2, colour):
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>')

    def curve(self, points, colour, dash):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>')
        self.parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>' for x, y in points]

    def write(self, path):
        path.write_text("\n".join(self.parts + ["</svg>", ""]))


def attribute_text(attributes):
    return "".join(f' {name.replace("_", "-")}="{value}"' for name, value in attributes.items())


def panel(drawing, left, methods, column, caption, x_label):
    curves = {method: medians(lines, column) for method, lines in methods.items()}
    xs = sorted({x for curve in curves.values() for x, _ in curve})
    largest = max(y for curve in curves.values() for _, y in curve)
    step = nice_step(largest)
    top = math.ceil(largest / step) * step
    # A logarithmic axis has no zero: it stands at the left edge, where one would be.
    low, high = math.log10(max(xs[0], 1)), math.log10(max(xs[-1], 10))

    def at(x, y):
        part = (math.log10(max(x, 1)) - low) / (high - low) if high > low else 0.5
        return left + part * PANEL_WIDTH, TOP + (1 - y / top) * PANEL_HEIGHT

    for mark in range(round(top / step) + 1):
        _, y = at(1, mark * step)
        drawing.line(left, y, left + PANEL_WIDTH, y, "#dddddd")
        drawing.text(left - 6, y + 4, number(mark * step), text_anchor="end")
    nearest = math.inf
    for x in reversed(xs):
        place, _ = at(x, 0)
        drawing.line(place, TOP + PANEL_HEIGHT, place, TOP + PANEL_HEIGHT + 4, "#888888")
        if nearest - place >= NUMBER_WIDTH:
            drawing.text(place, TOP + PANEL_HEIGHT + 17, number(x), text_anchor="middle")
            nearest = place
    drawing.line(left, TOP + PANEL_HEIGHT, left + PANEL_WIDTH, TOP + PANEL_HEIGHT, "#888888")
    drawing.text(left + PANEL_WIDTH / 2, TOP - 14, caption, text_anchor="middle", font_size=12)
    drawing.text(left + PANEL_WIDTH / 2, TOP + PANEL_HEIGHT + 37, x_label + " (logarithmic)", text_anchor="middle")
    for method, curve in curves.items():
        drawing.curve([at(x, y) for x, y in curve], *STYLES.get(method, OTHER_STYLE))


def draw(mode, methods, path):
    title, x_label, _ = MODES[mode]
    each = LEFT + PANEL_WIDTH + RIGHT
    drawing = Drawing(each * len(QUANTITIES), TOP + PANEL_HEIGHT + BOTTOM, title)
    drawing.text(LEFT, 22, f"{title}, microseconds", font_size=15, font_weight="bold")
    for place, method in enumerate(methods):
        left, style = LEFT + place * LEGEND_WIDTH, STYLES.get(method, OTHER_STYLE)
        drawing.curve([(left, LEGEND_Y), (left + 28, LEGEND_Y)], *style)
        drawing.text(left + 36, LEGEND_Y + 4, method)
    for place, (column, caption) in enumerate(QUANTITIES):
        panel(drawing, place * each + LEFT, methods, column, caption, x_label)
    drawing.write(path)


def table(mode, methods):
    """For each x a line, for each method the three medians."""
    _, x_label, unit = MODES[mode]
    names = list(methods)
    print(f"\n| {x_label} | " + " | ".join(names) + " |")
    print("|---" * (len(names) + 1) + "|")
    for x in sorted({x for lines in methods.values() for x in lines}):
        cells = []
        for name in names:
            columns = [dict(medians(methods[name], column)).get(x) for column, _ in QUANTITIES]
            cells.append("-" if None in columns else " / ".join(f"{value:.0f}" for value in columns))
        print(f"| {number(x)}{unit} | " + " | ".join(cells) + " |")


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    directory = Path(sys.argv[2])
    directory.mkdir(parents=True, exist_ok=True)
    print("Microseconds: " + " / ".join(caption for _, caption in QUANTITIES) + ".")
    for mode, methods in read(sys.argv[1]).items():
        order = [method for method in STYLES if method in methods] + sorted(set(methods) - set(STYLES))
        methods = {method: methods[method] for method in order}
        draw(mode, methods, directory / f"start-against-{mode}.svg")
        table(mode, methods)


main()
