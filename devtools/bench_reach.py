# SPDX-License-Identifier: BSD-3-Clause
"""What bench.py measured, held against what this project set out to reach. Each line says what was
measured, in which cells, and whether the goal was reached; what has no cells has no line."""
import bench_table
from bench_plan import ALL_CAPS, GIB

OURS, DEFAULT, TUNED = 'reset', 'nvidia', 'nvidia-tuned'
ONE_THREAD, TWO_THREADS = 'threads-1', 'threads-2'
TIMES_DEFAULT, TIMES_TUNED, TIMES_TUNED_LATER = 20, 3, 1
GOAL_PAIRS = 16             # of the guest whose restart is compared
CLOSE_FLOOR, CONF_FLOOR = 2, 1      # commands a queue
AHEAD = 1                   # likewise, where a gap leaves the time to get ready for the start
MEMORY_MARGIN = 1.05
TWICE_AS_MANY, PINNING_SHARE = 1.6, 0.9


class Cells:
    """Those of one benchmark."""

    def __init__(self, data, bench):
        self.cells = [cell for cell in data['cells'] if cell['bench'] == bench]

    def find(self, **wanted):
        return [cell for cell in self.cells
                if all(cell[key] == value for key, value in wanted.items())]

    def one(self, **wanted):
        """The cell with figures that there is, or None."""
        return next((cell for cell in self.find(**wanted) if bench_table.good(cell)), None)


def path_us(cell):
    """close + conf."""
    return sum(cell['result'][key]['median'] for key in ('close_us', 'conf_us'))


def path_commands(cell):
    return sum(cell['result']['commands'][key] for key in ('close', 'conf'))


def goal(text, value, wanted, met):
    return {'text': text, 'value': round(value, 3), 'goal': wanted, 'reached': bool(met)}


def at_least(text, value, wanted):
    return goal(text, value, 'at least %g' % wanted, value >= wanted)


def at_most(text, value, wanted):
    return goal(text, value, 'at most %g' % wanted, value <= wanted)


def loaded_setting(cells):
    """The setting to be judged: commands that take time, most queues, least memory."""
    found = cells.find(caps=ALL_CAPS, configuration=OURS)
    if not found:
        return None
    best = min(found, key=lambda cell: (cell['profile'] == 'none', -cell['queue_pairs'],
                                        cell['mem_bytes']))
    return {key: best[key] for key in ('profile', 'caps', 'queue_pairs', 'mem_bytes')}


def restarts(cells, setting):
    """Ours beside the other driver, by gaps."""
    where = ', %d pairs, %s, gap %%d ms' % (setting['queue_pairs'], setting['profile'])
    theirs = {name: sorted((cell for cell in cells.find(configuration=name, **setting)),
                           key=lambda cell: cell['gap_ms']) for name in (DEFAULT, TUNED)}
    for name, times in ((DEFAULT, TIMES_DEFAULT), (TUNED, TIMES_TUNED)):
        title = 'NVIDIA %s' % ('default' if name == DEFAULT else 'tuned')
        came_back = [cell for cell in theirs[name] if bench_table.good(cell)]
        for cell in theirs[name]:
            if not bench_table.good(cell):
                yield {'text': '%s does not come back%s' % (title, where % cell['gap_ms']),
                       'value': None, 'goal': None, 'reached': None}
        for cell in came_back[:1] + came_back[-1:] * (name == TUNED and len(came_back) > 1):
            mine = cells.one(configuration=OURS, gap_ms=cell['gap_ms'], **setting)
            if mine is None:
                continue
            later = cell['gap_ms'] >= 2000
            for key, what in ((path_us, 'close + conf'),
                              (lambda c: bench_table.net_us(c, 'blackout_us'), 'blackout')):
                yield at_least('%s, %s in times of ours%s' % (
                    what, title, where % cell['gap_ms']), key(cell) / key(mine),
                    TIMES_TUNED_LATER if later and name == TUNED else times)


def commands(cells, setting):
    mine = cells.one(configuration=OURS, gap_ms=0, **setting)
    if mine and mine['result']['commands']:
        queues = 2 * setting['queue_pairs']
        counts = mine['result']['commands']
        for phase, floor in (('close', CLOSE_FLOOR), ('conf', CONF_FLOOR)):
            yield at_most('commands a queue in %s, %s' % (phase, mine['caps']),
                          counts[phase] / queues, floor)
        yield at_most('commands in the background, %s' % mine['caps'], counts['background'], 0)
    for cell in sorted(cells.find(configuration=OURS, **setting), key=lambda c: c['gap_ms']):
        if cell['gap_ms'] > 0 and bench_table.good(cell) and cell['result']['commands']:
            yield at_most('commands a queue ahead of the start, %s, gap %d ms' % (
                cell['caps'], cell['gap_ms']),
                cell['result']['commands']['background'] / (2 * setting['queue_pairs']), AHEAD)
    for cell in cells.find(configuration=OURS, profile=setting['profile'],
                           queue_pairs=setting['queue_pairs']):
        if cell['caps'] == ALL_CAPS or not bench_table.good(cell):
            continue
        same = {key: cell[key] for key in (*setting, 'gap_ms')}
        # It resumes no queue after a reset: with all capabilities it does the same.
        theirs = (cells.one(configuration=TUNED, **same) or
                  cells.one(configuration=TUNED, **{**same, 'caps': ALL_CAPS}))
        if theirs and theirs['result']['commands']:
            yield at_most('commands in close and conf, %s, gap %d ms (all: %g)' % (
                cell['caps'], cell['gap_ms'], sum(cell['result']['commands'].values())),
                path_commands(cell), path_commands(theirs))


def memory(cells, setting):
    """Memory that does not change has no say."""
    small = cells.one(configuration=OURS, gap_ms=0, **setting)
    large = [cell for cell in cells.find(configuration=OURS, gap_ms=0, **{
        key: value for key, value in setting.items() if key != 'mem_bytes'})
        if bench_table.good(cell)]
    large = max(large, key=lambda cell: cell['mem_bytes'], default=None)
    if small and large and large['mem_bytes'] > small['mem_bytes']:
        yield at_most('close + conf with %d GiB, in times of %d GiB' % (
            large['mem_bytes'] // GIB, small['mem_bytes'] // GIB),
            path_us(large) / path_us(small), MEMORY_MARGIN)


def registration(cells, alone):
    """First starts: all memory is registered."""
    one, two = (cells.one(configuration=name) for name in (ONE_THREAD, TWO_THREADS))
    if not one or not two:
        return
    conf = [cell['result']['conf_us']['median'] for cell in (one, two)]
    yield at_least('first registration, 1 thread in times of 2', conf[0] / conf[1], TWICE_AS_MANY)
    if alone and alone['bytes'] == one['mem_bytes']:
        yield at_least('first registration on 1 thread, in speeds of pinning alone',
                       alone['us']['median'] / conf[0], PINNING_SHARE)


def clean(data):
    """What is ours harms nothing."""
    peers = [c['name'] for c in data['configurations'] if c['peer']]
    mine = [cell for cell in data['cells'] if cell['configuration'] not in peers]
    if mine:
        yield at_most('cells of ours that are not clean, of %d' % len(mine),
                      sum(cell['status'] != 'ok' for cell in mine), 0)


def measure(data):
    """All lines there are."""
    resets = Cells(data, 'reset')
    setting = loaded_setting(resets)
    found = []
    if setting:
        if setting['profile'] != 'none' and setting['queue_pairs'] >= GOAL_PAIRS:
            found += restarts(resets, setting)
        found += [*commands(resets, setting), *memory(resets, setting)]
    return found + [*registration(Cells(data, 'start'), data['pinning_alone']), *clean(data)]


def render(found):
    """The lines, none if nothing but cleanliness can be said."""
    if len(found) < 2:
        return ''
    width = max(len(item['text']) for item in found)
    text = ['', 'What was to be reached:']
    for item in found:
        if item['goal'] is None:
            text.append('  ' + item['text'])
            continue
        text.append('  %s  %8s  (%s%s)' % (item['text'].ljust(width), '%.2f' % item['value'],
                                           item['goal'], '' if item['reached'] else ': MISSED'))
    return '\n'.join(text) + '\n'
