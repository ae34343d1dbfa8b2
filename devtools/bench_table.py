# SPDX-License-Identifier: BSD-3-Clause
"""What bench.py measured, as text: a table for each setting, and where NVIDIA's driver is the
better one."""

LABEL_WIDTH = 26
MIN_WIDTH = 13
REFERENCE = 'reset'     # our configuration that others are compared with
MARGIN = 1.05           # what is closer than this is no difference
CLOCK_US = 0.1          # the smallest time that there is
MIB, GIB = 1 << 20, 1 << 30

# Times of a row: key, name.
TIMES = (('blackout_us', 'blackout'), ('close_us', 'close'), ('conf_us', 'conf'))
PHASES = ('close', 'conf', 'background')


def plural(count, what):
    return '%d %s%s' % (count, what, '' if count == 1 else 's')


def row_title(bench, gap_ms):
    return '%s, gap %d ms' % (bench, gap_ms)


SETTING = ('profile', 'caps', 'queue_pairs', 'mem_bytes')


def groups(data):
    """The settings in the order of their first cells."""
    return list(dict.fromkeys(tuple(cell[key] for key in SETTING) for cell in data['cells']))


def group_cells(data, group):
    return [cell for cell in data['cells'] if tuple(cell[key] for key in SETTING) == group]


def group_rows(data, group):
    """The benchmarks and gaps of a setting."""
    return list(dict.fromkeys((cell['bench'], cell['gap_ms'])
                              for cell in group_cells(data, group)))


def group_columns(data, group):
    """The configurations of a setting, in the order of all."""
    there = {cell['configuration'] for cell in group_cells(data, group)}
    return [config for config in data['configurations'] if config['name'] in there]


def row_cells(data, group, bench, gap_ms):
    """The cells of a row by configuration."""
    return {cell['configuration']: cell for cell in group_cells(data, group)
            if (cell['bench'], cell['gap_ms']) == (bench, gap_ms)}


def group_title(group):
    """A setting in a line."""
    profile, caps, pairs, mem = group
    text = '%s, %g GiB' % (plural(pairs, 'queue pair'), mem / GIB)
    text += ', commands %s' % ('free' if profile == 'none' else 'charged by profile ' + profile)
    return text + ('' if caps == 'all' else ', caps=' + caps)


def net_us(cell, key):
    """A median in microseconds, without the gap that we made ourselves."""
    value = cell['result'][key]['median']
    return value - cell['gap_ms'] * 1000 if key == 'blackout_us' else value


def settings(data):
    """What all cells have in common, in a line."""
    text = 'Medians of %s' % plural(data['iterations'], 'iteration')
    if data['emu_device']:
        text += ', device ' + data['emu_device']
    return text


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


def lines_of_row(data, group, bench, gap_ms, notes):
    """The lines of a row: a name and a text for each configuration."""
    by_name = row_cells(data, group, bench, gap_ms)
    cells = [by_name.get(c['name']) for c in group_columns(data, group)]
    ours = by_name.get(REFERENCE)

    def each(text):
        return [text(cell) if good(cell) else '' for cell in cells]

    def head(cell):
        if cell is None:
            return ''
        mark = notes.mark('%s: %s' % (cell['configuration'], cell['line'])) if cell['line'] else ''
        return mark if good(cell) else 'failed ' + mark

    yield row_title(bench, gap_ms), [head(cell) for cell in cells]
    for key, name in TIMES:
        yield '  %s, ms' % name, each(lambda c, key=key: milliseconds(c['result'][key]['median']))
    yield '  commands', each(commands)
    yield '  pinned, MiB', each(pinned)
    if good(ours) and len(cells) > 1:
        yield '  blackout, x ours', each(lambda c: times_ours(c, ours, ['blackout_us']))
        yield '  close + conf, x ours', each(
            lambda c: times_ours(c, ours, ['close_us', 'conf_us']))


def header(columns, widths):
    """The titles, each in two lines."""
    words = [c['title'].split(' ', 1) for c in columns]
    words = [pair if len(pair) == 2 else ['', pair[0]] for pair in words]
    return [line(['', [pair[i] for pair in words]], widths) for i in (0, 1)]


def line(entry, widths):
    name, texts = entry
    return (name.ljust(LABEL_WIDTH) +
            ''.join(text.rjust(width) for text, width in zip(texts, widths))).rstrip()


# ---- who is better ----

def better(data, group, bench, gap_ms):
    """Where a driver of NVIDIA's is better than ours in a row, one line for each configuration."""
    cells = row_cells(data, group, bench, gap_ms)
    ours = cells.get(REFERENCE)
    if not good(ours):
        return
    for config in data['configurations']:
        cell = cells.get(config['name'])
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
    found = []
    for group in groups(data):
        lines = [text for row in group_rows(data, group) for text in better(data, group, *row)]
        if lines and len(groups(data)) > 1:
            found.append(' %s' % group_title(group))
        found += lines
    what = "NVIDIA's driver is better than ours with persist=reset "
    return ['', what + 'in:'] + found if found else ['', what + 'in no cell.']


# ---- the whole ----

def render_group(data, group, notes):
    """The table of a setting."""
    columns = group_columns(data, group)
    rows = [list(lines_of_row(data, group, *row, notes)) for row in group_rows(data, group)]
    widths = [max([MIN_WIDTH] + [len(texts[i]) + 2 for row in rows for _, texts in row] +
                  [len(word) + 2 for word in config['title'].split(' ', 1)])
              for i, config in enumerate(columns)]
    rule = '-' * (LABEL_WIDTH + sum(widths))
    text = [group_title(group)] + header(columns, widths) + [rule]
    for row in rows:
        text += [line(entry, widths) for entry in row] + ['']
    text[-1] = rule
    return text + ['']


def render(data):
    """The whole text."""
    notes = Notes()
    text = [settings(data) + '.',
            'Commands: in close/in conf/in the background. The blackout contains the gap.',
            '"x ours": in times of what ours with persist=reset takes, gaps left out.', '']
    for group in groups(data):
        text += render_group(data, group, notes)
    return '\n'.join(text[:-1] + notes.render() + verdict(data)) + '\n'
