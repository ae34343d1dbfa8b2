# SPDX-License-Identifier: BSD-3-Clause
"""What bench.py measured, as a chart in SVG: a panel for each setting, benchmark and gap, a
row for each configuration, and a mark for each time on one logarithmic scale that all panels share.

    python3 devtools/bench_chart.py bench-results/bench.json >chart.svg
"""
import json
import math
import sys
from xml.sax.saxutils import escape

import bench_table

MARGIN = 24
HEAD = 96                       # title, subtitle and legend
LABEL, PLOT, VALUE = 150, 300, 96
PANEL = LABEL + PLOT + VALUE
GUTTER = 28
TITLE, ROW, AXIS = 34, 26, 40   # heights in a panel
COLUMNS = 2
REASON_CHARS = 52               # of a failure's line; all of it is in the table

INK, MUTED, GRID, BAD = '#222222', '#666666', '#dddddd', '#b3261e'
# Key, name, colour, and shape: they differ in both.
MARKS = (('close_us', 'close', '#2a8c82', 'square'), ('conf_us', 'conf', '#d9822b', 'diamond'),
         ('blackout_us', 'blackout without the gap, its number at the right', '#1f4e99', 'circle'))


class Drawing:
    """The elements of an SVG document."""

    def __init__(self):
        self.parts = []

    def text(self, x, y, text, size=12, colour=INK, anchor='start', weight='normal'):
        self.parts.append(
            '<text x="%.1f" y="%.1f" font-size="%d" fill="%s" text-anchor="%s" font-weight="%s">'
            '%s</text>' % (x, y, size, colour, anchor, weight, escape(text)))

    def line(self, x1, y1, x2, y2, colour, width=1):
        self.parts.append('<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s" '
                          'stroke-width="%g"/>' % (x1, y1, x2, y2, colour, width))

    def mark(self, x, y, shape, colour, hint):
        """A mark around a point; the hint shows when the pointer is on it."""
        if shape == 'circle':
            form = '<circle cx="%.1f" cy="%.1f" r="7"' % (x, y)
        else:
            form = '<rect x="%.1f" y="%.1f" width="8" height="8"' % (x - 4, y - 4)
            if shape == 'diamond':
                form += ' transform="rotate(45 %.1f %.1f)"' % (x, y)
        self.parts.append('%s fill="%s" stroke="white" stroke-width="1"><title>%s</title>%s' % (
            form, colour, escape(hint), '</circle>' if shape == 'circle' else '</rect>'))

    def document(self, width, height, title):
        return '\n'.join([
            '<?xml version="1.0" encoding="UTF-8"?>',
            '<svg xmlns="http://www.w3.org/2000/svg" width="{0}" height="{1}" '
            'viewBox="0 0 {0} {1}" font-family="DejaVu Sans, Arial, sans-serif" '
            'role="img">'.format(width, height),
            '<title>%s</title>' % escape(title),
            '<rect width="100%" height="100%" fill="white"/>', *self.parts, '</svg>', ''])


class Scale:
    """A logarithmic axis of milliseconds over whole decades."""

    def __init__(self, values):
        logs = [math.log10(value) for value in values] or [0, 1]
        self.low = math.floor(min(logs))
        self.high = max(math.ceil(max(logs)), self.low + 1)

    def x(self, ms):
        return PLOT * (math.log10(ms) - self.low) / (self.high - self.low)

    def decades(self):
        return [10.0 ** n for n in range(self.low, self.high + 1)]


def times_ms(cell):
    """The times of a cell, by key. A device is never faster than the clock."""
    return {key: max(bench_table.net_us(cell, key), 1) / 1000 for key, *_ in MARKS}


def draw_axis(drawing, scale, x, top, bottom):
    for ms in scale.decades():
        at = x + scale.x(ms)
        drawing.line(at, top, at, bottom, GRID)
        unit = ' ms' if ms == scale.decades()[-1] else ''
        drawing.text(at, bottom + 16, '%g%s' % (ms, unit), 11, MUTED, 'middle')


def draw_row(drawing, scale, x, y, config, cell):
    """A configuration in a panel."""
    drawing.text(x + LABEL - 14, y + 4, config['title'], anchor='end')
    plot = x + LABEL
    if not bench_table.good(cell):
        line = 'failed: ' + cell['line']
        if len(line) > REASON_CHARS:
            line = line[:REASON_CHARS - 3] + '...'
        drawing.text(plot + 6, y + 4, line, 11, BAD)
        return
    times = times_ms(cell)
    drawing.line(plot + scale.x(min(times.values())), y, plot + scale.x(max(times.values())), y,
                 MUTED)
    # The largest first, so that it hides none.
    for key, name, colour, shape in reversed(MARKS):
        drawing.mark(plot + scale.x(times[key]), y, shape, colour, '%s, %s: %s ms' % (
            config['title'], name, bench_table.milliseconds(times[key] * 1000)))
    note = ' *' if cell['line'] else ''
    drawing.text(x + PANEL, y + 4, bench_table.milliseconds(times['blackout_us'] * 1000) + ' ms' +
                 note, anchor='end', weight='bold')


def draw_panel(drawing, scale, x, y, data, panel):
    """A setting, a benchmark and a gap."""
    group, bench, gap_ms = panel
    cells = bench_table.row_cells(data, group, bench, gap_ms)
    columns = [c for c in data['configurations'] if c['name'] in cells]
    top = y + TITLE
    drawing.text(x + LABEL, y + 2, bench_table.group_title(group), 11, MUTED)
    drawing.text(x + LABEL, y + 20, bench_table.row_title(bench, gap_ms), 14, weight='bold')
    draw_axis(drawing, scale, x + LABEL, top, top + len(columns) * ROW)
    for i, config in enumerate(columns):
        draw_row(drawing, scale, x, top + ROW * i + ROW / 2, config, cells[config['name']])


def draw_legend(drawing, x, y):
    for key, name, colour, shape in MARKS:
        drawing.mark(x + 6, y - 4, shape, colour, key)
        drawing.text(x + 18, y, name)
        x += 40 + 8 * len(name)


def panel_rows(data):
    """The panels, those beside each other in a list; a setting begins a line."""
    for group in bench_table.groups(data):
        panels = [(group, *row) for row in bench_table.group_rows(data, group)]
        for i in range(0, len(panels), COLUMNS):
            yield panels[i:i + COLUMNS]


def panel_height(data, panel):
    return TITLE + ROW * len(bench_table.row_cells(data, *panel)) + AXIS


def render(data):
    """The document."""
    rows = list(panel_rows(data))
    scale = Scale([ms for cell in data['cells'] if bench_table.good(cell)
                   for ms in times_ms(cell).values()])
    drawing = Drawing()
    drawing.text(MARGIN, MARGIN + 12, "What a guest's restart takes", 18, weight='bold')
    drawing.text(MARGIN, MARGIN + 34, bench_table.settings(data), 12, MUTED)
    draw_legend(drawing, MARGIN, MARGIN + 58)
    bottom = HEAD
    for panels in rows:
        for i, panel in enumerate(panels):
            draw_panel(drawing, scale, MARGIN + i * (PANEL + GUTTER), bottom, data, panel)
        bottom += max(panel_height(data, panel) for panel in panels)
    if any(cell['line'] for cell in data['cells'] if bench_table.good(cell)):
        drawing.text(MARGIN, bottom + 4, '* see the notes of table.txt', 11, MUTED)
    columns = max(len(panels) for panels in rows)
    width = 2 * MARGIN + columns * PANEL + (columns - 1) * GUTTER
    return drawing.document(width, bottom + MARGIN, "What a guest's restart takes")


if __name__ == '__main__':
    with open(sys.argv[1], encoding='utf-8') as file:
        sys.stdout.write(render(json.load(file)))
