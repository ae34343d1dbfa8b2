# SPDX-License-Identifier: BSD-3-Clause
"""What bench.py measured, as text: one table, and where NVIDIA's driver is the better one."""

LABEL_WIDTH = 26
MIN_WIDTH = 13
REFERENCE = 'reset'     # our configuration that others are compared with
MARGIN = 1.05           # what is closer than this is no difference
CLOCK_US = 0.1          # the smallest time that there is
MIB = 1 << 20

# Times of a row: key, name.
TIMES = (('blackout_us', 'blackout'), ('close_us', 'close'), ('conf_us', 'conf'))
PHASES = ('close', 'conf', 'background')


def plural(count, what):
    return '%d %s%s' % (count, what, '' if count == 1 else 's')


def row_title(bench, gap_ms):
    return '%s, gap %d ms' % (bench, gap_ms)


def row_cells(data, bench, gap_ms):
    """The cells of a row by configuration."""
    return {cell['configuration']: cell for cell in data['cells']
            if (cell['bench'], cell['gap_ms']) == (bench, gap_ms)}


def net_us(cell, key):
    """A median in microseconds, without the gap that we made ourselves."""
    value = cell['result'][key]['median']
    return value - cell['gap_ms'] * 1000 if key == 'blackout_us' else value


def settings(data):
    """What all cells have in common, in a line."""
    text = '%d MiB of guest memory, %s, medians of %s' % (
        data['mem_bytes'] // MIB, plural(data['queue_pairs'], 'queue pair'),
        plural(data['iterations'], 'iteration'))
    if data['emu_device']:
        text += ', device ' + data['emu_device']
    return text + ', commands charged by profile %s' % data['latency']


def good(cell):
    """Whether a cell has figures."""
    return cell is not None and cell['status'] != 'failed'


def milliseconds(us):
    ms = us / 1000
    return '%.2f' % ms if ms < 100 else '%.1f' % ms


def commands(cell):
    counts = cell['result']['commands']
    return '/'.join('%g' % counts[key] for key in PHASES) if counts else '-'


def pinned(cell):
    count = cell['result']['pinned_bytes']
    return '-' if count is None else '%g' % round(count / MIB, 1)


# ---- the table ----

class Notes:
    """Footnotes; equal ones have one number."""

    def __init__(self):
        self.lines = []

    def mark(self, text):
        if text not in self.lines:
            self.lines.append(text)
        return '[%d]' % (self.lines.index(text) + 1)

    def render(self):
        return ['[%d] %s' % item for item in enumerate(self.lines, 1)]


def times_ours(cell, ours, keys):
    """What a cell takes in times of what ours takes; - if one of them failed."""
    if not good(cell) or not good(ours):
        return '-'
    cells = [sum(max(net_us(c, key), CLOCK_US) for key in keys) for c in (cell, ours)]
    return '%.1f' % (cells[0] / cells[1])


def lines_of_row(data, bench, gap_ms, notes):
    """The lines of a row: a name and a text for each configuration."""
    by_name = row_cells(data, bench, gap_ms)
    cells = [by_name[c['name']] for c in data['configurations']]
    ours = by_name.get(REFERENCE)
    marks = [notes.mark('%s: %s' % (cell['configuration'], cell['line'])) if cell['line'] else ''
             for cell in cells]
    yield row_title(bench, gap_ms), [mark if good(cell) else 'failed ' + mark
                                     for cell, mark in zip(cells, marks)]
    for key, name in TIMES:
        yield '  %s, ms' % name, [milliseconds(cell['result'][key]['median']) if good(cell) else ''
                                  for cell in cells]
    for name, text in (('  commands', commands), ('  pinned, MiB', pinned)):
        yield name, [text(cell) if good(cell) else '' for cell in cells]
    if good(ours):
        yield '  blackout, x ours', [times_ours(cell, ours, ['blackout_us']) for cell in cells]
        yield '  close + conf, x ours', [times_ours(cell, ours, ['close_us', 'conf_us'])
                                         for cell in cells]


def header(data, widths):
    """The titles, each in two lines."""
    words = [c['title'].split(' ', 1) for c in data['configurations']]
    words = [pair if len(pair) == 2 else ['', pair[0]] for pair in words]
    return [line(['', [pair[i] for pair in words]], widths) for i in (0, 1)]


def line(entry, widths):
    name, texts = entry
    return (name.ljust(LABEL_WIDTH) +
            ''.join(text.rjust(width) for text, width in zip(texts, widths))).rstrip()


# ---- who is better ----

def better(data, bench, gap_ms):
    """Where a driver of NVIDIA's is better than ours in a row, one line for each configuration."""
    cells = row_cells(data, bench, gap_ms)
    ours = cells.get(REFERENCE)
    if not good(ours):
        return
    for config in data['configurations']:
        cell = cells[config['name']]
        if not config['peer'] or not good(cell):
            continue
        found = []
        for key, name in TIMES:
            ratio = net_us(ours, key) / max(net_us(cell, key), CLOCK_US)
            if ratio > MARGIN:
                found.append('%s %.2f times as fast' % (name, ratio))
        found += fewer(ours['result'], cell['result'])
        if found:
            yield '  %s, %s: %s' % (row_title(bench, gap_ms), config['title'], ', '.join(found))


def fewer(ours, theirs):
    """What it does less of than we."""
    if ours['commands'] and theirs['commands']:
        for phase in PHASES:
            pair = (theirs['commands'][phase], ours['commands'][phase])
            if pair[0] < pair[1]:
                yield '%g commands in %s, not %g' % (pair[0], phase, pair[1])
    if None not in (ours['pinned_bytes'], theirs['pinned_bytes']):
        pair = (theirs['pinned_bytes'], ours['pinned_bytes'])
        if pair[0] < pair[1]:
            yield '%g MiB pinned, not %g' % tuple(round(value / MIB, 1) for value in pair)


def verdict(data):
    """Where NVIDIA's driver is the better one, said plainly."""
    names = {c['name'] for c in data['configurations']}
    if REFERENCE not in names or not any(c['peer'] for c in data['configurations']):
        return []
    found = [text for bench in data['benches'] for gap_ms in data['gaps_ms']
             for text in better(data, bench, gap_ms)]
    what = "NVIDIA's driver is better than ours with persist=reset "
    return ['', what + 'in:'] + found if found else ['', what + 'in no cell.']


def render(data):
    """The whole text."""
    notes = Notes()
    rows = [list(lines_of_row(data, bench, gap_ms, notes))
            for bench in data['benches'] for gap_ms in data['gaps_ms']]
    widths = [max([MIN_WIDTH] + [len(texts[i]) + 2 for row in rows for _, texts in row] +
                  [len(word) + 2 for word in config['title'].split(' ', 1)])
              for i, config in enumerate(data['configurations'])]
    rule = '-' * (LABEL_WIDTH + sum(widths))
    text = [settings(data) + '.',
            'Commands: in close/in conf/in the background. The blackout contains the gap.',
            '"x ours": in times of what ours with persist=reset takes, gaps left out.', '']
    text += header(data, widths) + [rule]
    for row in rows:
        text += [line(entry, widths) for entry in row] + ['']
    text[-1] = rule
    return '\n'.join(text + notes.render() + verdict(data)) + '\n'
