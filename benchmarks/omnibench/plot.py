# SPDX-License-Identifier: Apache-2.0
"""The rows as an SVG: one panel a test, one bar a system, a whisker from min to max."""
from xml.sax.saxutils import escape

from .report import key, labels, number
from .tests import TESTS

COLOURS = ("#8c8c8c", "#1f6fb4", "#4c9be8", "#12406a", "#d1495b", "#3a8f5c", "#b98b1d", "#7b4fa3")
PANEL_W, LABEL_W, BAR_H, GAP, TITLE_H, MARGIN = 560, 225, 18, 6, 28, 16
VALUE_W = 70
COLUMNS = 2


def _bar(row, label, colour, x, y, scale):
    length = row["median"] * scale
    low, high = row["min"] * scale, row["max"] * scale
    middle = y + BAR_H / 2
    return [
        f'<text x="{x + LABEL_W - 6}" y="{middle + 4:.1f}" text-anchor="end">'
        f'{escape(label)}</text>',
        f'<rect x="{x + LABEL_W}" y="{y}" width="{max(length, 1):.1f}" height="{BAR_H}" '
        f'fill="{colour}"><title>{escape(label)} {row["test"]}: {row["median"]} '
        f'[{row["min"]}, {row["max"]}] {row["unit"]}</title></rect>',
        f'<path d="M{x + LABEL_W + low:.1f} {middle - 4:.1f}v8M{x + LABEL_W + low:.1f} '
        f'{middle:.1f}H{x + LABEL_W + high:.1f}m0 -4v8" stroke="#222" fill="none"/>',
        f'<text x="{x + LABEL_W + max(length, high) + 6:.1f}" y="{middle + 4:.1f}">'
        f'{number(row["median"])}</text>']


def _panel(test, rows, looks, x, y):
    unit, better = TESTS[test]
    largest = max(row["max"] for row in rows) or 1
    scale = (PANEL_W - LABEL_W - VALUE_W) / largest
    parts = [f'<text x="{x}" y="{y + 16}" font-weight="bold">{escape(test)}, {escape(unit)} '
             f'({better} is better)</text>']
    for index, row in enumerate(rows):
        label, colour = looks[key(row)]
        parts += _bar(row, label, colour, x, y + TITLE_H + index * (BAR_H + GAP), scale)
    return parts


def svg(all_rows, title):
    """The document as text."""
    systems = labels(key(row) for row in all_rows)
    looks = {column: (label, COLOURS[i % len(COLOURS)])
             for i, (column, label) in enumerate(systems.items())}
    tests = [test for test in TESTS if any(row["test"] == test for row in all_rows)]
    panel_h = TITLE_H + len(systems) * (BAR_H + GAP) + MARGIN
    height = MARGIN + TITLE_H + panel_h * -(-len(tests) // COLUMNS)
    width = MARGIN + COLUMNS * (PANEL_W + MARGIN)
    parts = ['<!-- SPDX-License-Identifier: Apache-2.0 -->',
             f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
             f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
             f'<rect width="{width}" height="{height}" fill="#fff"/>',
             f'<text x="{MARGIN}" y="{MARGIN + 10}" font-size="14">{escape(title)}</text>']
    for index, test in enumerate(tests):
        x = MARGIN + index % COLUMNS * (PANEL_W + MARGIN)
        y = MARGIN + TITLE_H + index // COLUMNS * panel_h
        parts += _panel(test, [r for r in all_rows if r["test"] == test], looks, x, y)
    return "\n".join(parts) + "\n</svg>\n"
