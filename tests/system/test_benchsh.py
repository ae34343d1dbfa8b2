# SPDX-License-Identifier: BSD-3-Clause
"""devtools/bench.sh: its table, its JSON and its chart say the same, also of cells that fail."""
import json
import os
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree

import harness

sys.path.insert(0, str(harness.SOURCE / 'devtools'))
import bench_plan       # noqa: E402
import bench_reach      # noqa: E402

SCRIPT = harness.SOURCE / 'devtools' / 'bench.sh'
TITLES = {'nvidia': 'NVIDIA default', 'nvidia-tuned': 'NVIDIA tuned', 'off': 'ours persist=off',
          'reset': 'ours persist=reset'}
OURS = ('off', 'reset')
BROKEN = 'broken=--no-pci ' + harness.vdev(persist='maybe')
SOFT = harness.BUILD / 'tests' / 'system' / 'libvdpa_soft.so'
BROKEN_LINE = 'bad driver argument persist=maybe: it takes off'
TIMES = {'blackout_us': 'blackout, ms', 'close_us': 'close, ms', 'conf_us': 'conf, ms'}
MEM, PAIRS, ITERATIONS = 64 << 20, 2, 2
SECONDS = 240
ROUNDING = 0.06     # of what is shown in ms
GROUPS = {'none': '2 queue pairs, 0.0625 GiB, commands free',
          'cx6dx': '2 queue pairs, 0.0625 GiB, commands charged by profile cx6dx'}


class BenchSh(harness.Case):
    def command(self, *options):
        return [SCRIPT, '--build', harness.BUILD, '--out', self.dir, *options]

    def run_script(self, *options, status=0):
        """Run a tiny comparison. Returns the Result, the table's lines and the JSON object."""
        gap = () if '--gap' in options else ('--gap', '0')
        result = self.run_program(self.command(
            '--mem', '64M', '--pairs', str(PAIRS), '--iterations', str(ITERATIONS), *gap,
            *options), timeout=SECONDS)
        self.assert_status(result, status)
        table = (self.dir / 'table.txt').read_text().splitlines()
        self.assertIn('\n'.join(table), result.stdout)
        return result, table, json.loads((self.dir / 'bench.json').read_text())

    def table_cells(self, table, data, group):
        """Texts of a setting's table by row, line and configuration, found by where columns end."""
        self.assertIn(group, table)
        table = table[table.index(group):]
        rule = next(i for i, line in enumerate(table) if line.startswith('---'))
        ends = [match.end() for match in re.finditer(r'\S+', table[rule - 1])]
        self.assertEqual(len(ends), len(data['configurations']))
        rows, row = {}, None
        for line in table[rule + 1:]:
            if line.startswith('---'):
                return rows
            label = re.match(r' *[^ ].*?(?=  |$)', line)
            if not label:
                continue
            texts = [re.search(r'(failed )?\S*$', line.ljust(end)[len(label[0]):end])[0].strip()
                     for end in ends]
            entry = dict(zip([c['name'] for c in data['configurations']], texts))
            if line.startswith(' '):
                row[label[0].strip()] = entry
            else:
                row = rows[label[0]] = {'head': entry}
        return self.fail('the table has no end')

    def assert_cell(self, cell, row, table):
        """A cell of the JSON file and its place in the table."""
        name, result = cell['configuration'], cell['result']
        if cell['line']:
            number = re.search(r'\[\d+\]', row['head'][name])[0]
            self.assertIn('%s %s: %s' % (number, name, cell['line']), table)
        if cell['status'] == 'failed':
            self.assertRegex(row['head'][name], r'^failed \[\d+\]$')
            self.assertEqual(row['blackout, ms'][name], '')
            return
        self.assertNotIn('failed', row['head'][name])
        for key, label in TIMES.items():
            self.assertAlmostEqual(float(row[label][name]), result[key]['median'] / 1000,
                                   delta=ROUNDING)
        self.assertEqual(row['commands'][name],
                         '/'.join('%g' % result['commands'][key]
                                  for key in ('close', 'conf', 'background')))
        self.assertEqual(row['pinned, MiB'][name], '%g' % (result['pinned_bytes'] / (1 << 20)))
        self.assertEqual(
            {key: result[key] for key in ('bench', 'gap_ms', 'mem_bytes', 'queue_pairs',
                                          'iterations')},
            {'bench': cell['bench'], 'gap_ms': cell['gap_ms'], 'mem_bytes': MEM,
             'queue_pairs': PAIRS, 'iterations': ITERATIONS})

    def assert_chart(self, data):
        """Every row and column is there, and every blackout."""
        root = xml.etree.ElementTree.parse(self.dir / 'bench.svg').getroot()
        texts = [element.text for element in root.iter('{http://www.w3.org/2000/svg}text')]
        for cell in data['cells']:
            self.assertIn('%s, gap %d ms' % (cell['bench'], cell['gap_ms']), texts)
        for config in data['configurations']:
            cells = [cell for cell in data['cells'] if cell['configuration'] == config['name']]
            self.assertEqual(texts.count(config['title']), len(cells))
        failed = [cell for cell in data['cells'] if cell['status'] == 'failed']
        self.assertEqual(len([text for text in texts if text.startswith('failed: ')]), len(failed))
        values = [float(match[1]) for match in (re.match(r'([\d.]+) ms( \*)?$', t) for t in texts)
                  if match and '.' in match[1]]
        blackouts = [cell['result']['blackout_us']['median'] / 1000 - cell['gap_ms']
                     for cell in data['cells'] if cell['status'] != 'failed']
        self.assertEqual(len(values), len(blackouts))
        for shown, measured in zip(values, blackouts):
            self.assertAlmostEqual(shown, measured, delta=ROUNDING)

    def assert_consistent(self, table, data, benches, gaps, names, profiles=('none',)):
        cells = [(cell['profile'], cell['bench'], cell['gap_ms'], cell['configuration'])
                 for cell in data['cells']]
        self.assertEqual(cells, [(p, b, g, n) for p in profiles for b in benches for g in gaps
                                 for n in names])
        for profile in profiles:
            rows = self.table_cells(table, data, GROUPS[profile])
            self.assertEqual(list(rows), ['%s, gap %d ms' % (b, g) for b in benches for g in gaps])
            for cell in data['cells']:
                if cell['profile'] != profile:
                    continue
                with self.subTest(cell=cell['configuration'], bench=cell['bench'],
                                  gap=cell['gap_ms'], profile=profile):
                    row = rows['%s, gap %d ms' % (cell['bench'], cell['gap_ms'])]
                    self.assert_cell(cell, row, table)
        self.assert_chart(data)

    def test_all_configurations_and_one_that_is_broken(self):
        options = ['--bench', 'reset', '--add', BROKEN, '--attempts', '1']
        result, table, data = self.run_script(*options, status=1)
        self.assert_consistent(table, data, ['reset'], [0], [*TITLES, 'broken'])
        for config in data['configurations'][:-1]:
            self.assertEqual(config['title'], TITLES[config['name']])
        for cell in data['cells']:
            if cell['configuration'] in OURS:
                self.assertEqual(cell['status'], 'ok', cell['line'])
                self.assertEqual(cell['report']['alive']['total'], 0)
            if cell['configuration'] == 'broken':
                self.assertIn(BROKEN_LINE, cell['line'])
                self.assertIsNone(cell['result'])
        self.assertRegex(result.stdout, r'\[1/5\] reset, gap 0 ms, NVIDIA default: ')
        # What is there is shown again without a run.
        again = self.run_script(*options, '--show', status=1)
        self.assertEqual(again[1:], (table, data))
        self.assertNotIn('[1/5]', again[0].stdout)

    def test_settings_and_gaps(self):
        _, table, data = self.run_script('--bench', 'reset', '--gap', '0,300', '--config', 'reset',
                                         '--profile', 'none,cx6dx')
        self.assert_consistent(table, data, ['reset'], [0, 300], ['reset'], ['none', 'cx6dx'])
        for cell in data['cells']:
            self.assertGreaterEqual(cell['result']['blackout_us']['min'], cell['gap_ms'] * 1000)
        # Two commands a queue to stop, one to start; what follows from that is below the tables.
        reach = {item['text']: item for item in data['reach']}
        for text, count in (('close, all', 2), ('conf, all', 1)):
            self.assertEqual(reach['commands a queue in ' + text]['value'], count)
            self.assertTrue(any(line.startswith('  commands a queue in ' + text)
                                for line in table))

    def test_what_ends_with_the_connection(self):
        """Where it ends, memory is to be kept beyond that; and capabilities can be taken away."""
        _, _, data = self.run_script('--bench', 'reconnect', '--config', 'reset',
                                     '--caps=-freeze_to_rdy_supported')
        command = ' '.join(data['cells'][0]['command'])
        self.assertIn('persist=reconnect', command)
        self.assertIn('caps=-freeze_to_rdy_supported', command)

    def test_harmed_packets_are_noted(self):
        """Any driver makes a column; one that loses packets keeps its figures, with a note."""
        soft = 'soft=--no-pci -d %s --vdev=vdpa_soft0,fault=lose' % SOFT
        _, table, data = self.run_script('--bench', 'reset', '--config', 'reset', '--add', soft,
                                         status=1)
        self.assert_consistent(table, data, ['reset'], [0], ['reset', 'soft'])
        self.assertEqual([cell['status'] for cell in data['cells']], ['ok', 'unclean'])
        self.assertRegex(data['cells'][1]['line'], r'^lost: \d+$')

    def test_device_that_the_driver_refuses(self):
        _, table, data = self.run_script('--bench', 'reset', '--config', 'reset', '--emu-device',
                                         'caps=-eth_frame_offload_type', status=1)
        self.assert_consistent(table, data, ['reset'], [0], ['reset'])
        self.assertIn('the card lacks the capability eth_frame_offload_type',
                      data['cells'][0]['line'])
        self.assertEqual(len(data['cells'][0]['failures']), 2)

    def test_cell_that_does_not_end(self):
        _, table, data = self.run_script('--bench', 'reset', '--config', 'reset', '--gap', '60000',
                                         '--timeout', '3', '--attempts', '1', status=1)
        self.assert_consistent(table, data, ['reset'], [60000], ['reset'])
        self.assertIn('no end within 3 s', data['cells'][0]['line'])

    def test_resumed(self):
        options = ['--bench', 'reset', '--config', 'reset', '--add', BROKEN, '--attempts', '1']
        first = self.run_script(*options, status=1)[2]
        result, _, second = self.run_script(*options, status=1)
        self.assertEqual(result.stdout.count('(kept)'), 1)
        self.assertEqual(first['cells'][0], second['cells'][0])
        # On another device it is another measurement; and what is fresh is not looked up.
        other = self.run_script(*options, '--emu-device', 'max_vqs=64', status=1)[0]
        self.assertNotIn('(kept)', other.stdout)
        result, _, third = self.run_script(*options, '--fresh', status=1)
        self.assertNotIn('(kept)', result.stdout)
        self.assertNotEqual(first['cells'][0], third['cells'][0])

    def test_interrupted(self):
        """Nothing runs on, and what was done is kept."""
        options = ['--mem', '64M', '--iterations', str(ITERATIONS), '--queues', str(PAIRS),
                   '--bench', 'reset', '--gap', '0,600000', '--config', 'reset']
        process = self.spawn(self.command(*options), stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT)
        self.assertEqual(GROUPS['none'], process.stdout.readline().strip())
        self.assertIn('[1/2]', process.stdout.readline())
        deadline = time.monotonic() + harness.EXIT_TIMEOUT
        while not (self.dir / 'cells' / 'reset-600000-reset-2p-64M-none-all.log').exists():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)
        children = self.descendants(process.pid)
        self.assertTrue(children)
        os.kill(process.pid, signal.SIGTERM)
        self.assertEqual(process.wait(harness.EXIT_TIMEOUT), 1)
        # Whether whoever inherited them has collected them is not ours.
        deadline = time.monotonic() + harness.EXIT_TIMEOUT
        while any(self.runs(pid) for pid in children):
            self.assertLess(time.monotonic(), deadline, children)
            time.sleep(0.05)
        self.assertFalse((self.dir / 'bench.json').exists())
        result, _, _ = self.run_script('--bench', 'reset', '--config', 'reset')
        self.assertEqual(result.stdout.count('(kept)'), 1)

    @staticmethod
    def runs(pid):
        """Whether a process exists and has not ended."""
        try:
            with open('/proc/%d/stat' % pid) as stat:
                return stat.read().rpartition(')')[2].split()[0] not in 'ZX'
        except (FileNotFoundError, ProcessLookupError):
            return False

    @staticmethod
    def descendants(pid):
        """Processes that a process has started, and those that they have."""
        found = []
        with open('/proc/%d/task/%d/children' % (pid, pid), encoding='ascii') as children:
            for child in map(int, children.read().split()):
                found += [child, *BenchSh.descendants(child)]
        return found

    def test_bad_usage(self):
        for options, line in ((['--mem', '3'], '--mem: 3: must be a size in units of 2M'),
                              (['--mem', '9000G'], '--mem: this run takes'),
                              (['--bench', 'nosuch'], 'must be of reset, remap, replace'),
                              (['--caps', 'freeze'], 'capabilities with + or -'),
                              (['--quick', '--gap', '5'], 'it takes no --gap'),
                              (['--gap', '0,0'], 'one of them is there twice'),
                              (['--add', 'reset=-l 0'], 'this name is taken'),
                              (['--nosuch'], 'unrecognized arguments: --nosuch')):
            with self.subTest(options=options):
                result = self.run_program([SCRIPT, *options])
                self.assert_status(result, 2)
                self.assertIn(line, result.stderr)
                self.assertEqual(len(result.stderr.splitlines()), 1)
                self.assertEqual(result.stdout, '')

    def test_help_and_version(self):
        self.assertIn('--emu-device', self.run_program([SCRIPT, '--help']).stdout)
        self.assertRegex(self.run_program([SCRIPT, '--version']).stdout, r'^bench\.sh \d+\.\d+')


class Reach(harness.Case):
    """What is read from cells, of cells that are made up."""

    @staticmethod
    def cell(spec, close, conf, **more):
        """A cell of the plan with these times."""
        setting = spec.setting
        counts = more.get('commands', (64, 32, 32 if spec.gap_ms else 0))
        return {'profile': setting.profile, 'caps': setting.caps, 'queue_pairs': setting.pairs,
                'mem_bytes': setting.mem, 'bench': spec.bench, 'gap_ms': spec.gap_ms,
                'configuration': spec.config.name, 'line': None,
                'status': more.get('status', 'ok'),
                'result': {'close_us': {'median': close}, 'conf_us': {'median': conf},
                           'blackout_us': {'median': close + conf + spec.gap_ms * 1000},
                           'commands': dict(zip(('close', 'conf', 'background'), counts))}}

    def data(self):
        """All cells of --quick: ours 10 ms, NVIDIA's default 250 ms, tuned 40 ms and 5 ms later."""
        cells = []
        for spec in bench_plan.quick(bench_plan.DEVICE):
            tuned = spec.config.name == 'nvidia-tuned'
            total = {'nvidia': 250, 'nvidia-tuned': 5 if spec.gap_ms >= 2000 else 40,
                     'threads-1': 1000, 'threads-2': 500}.get(spec.config.name, 10)
            more = {'status': 'failed'} if tuned and spec.gap_ms == 0 else {}
            if spec.setting.mem == 8 << 30:
                total *= 1.02
            cells.append(self.cell(spec, 0, total * 1000, **more))
        columns = (bench_plan.standard(bench_plan.DEVICE) + bench_plan.threads(bench_plan.DEVICE))
        alone = {'bytes': bench_plan.QUICK_START_MEM, 'us': {'median': 900000}}
        return {'cells': cells, 'pinning_alone': alone, 'configurations': [
            {'name': c.name, 'peer': c.peer, 'title': c.title} for c in columns]}

    def test_quick_has_all_of_it(self):
        found = {item['text']: (item['value'], item['reached'])
                 for item in bench_reach.measure(self.data())}
        where = ', 16 pairs, cx6dx, gap %d ms'
        for what in ('close + conf', 'blackout'):
            times = what + ', NVIDIA %s in times of ours' + where
            self.assertEqual(found.pop(times % ('default', 0)), (25, True))
            self.assertEqual(found.pop(times % ('tuned', bench_plan.QUICK_GAP_MS)), (4, True))
            self.assertEqual(found.pop(times % ('tuned', 2000)), (0.5, False))
        self.assertEqual(found.pop('NVIDIA tuned does not come back' + where % 0), (None, None))
        for what, expected in (('commands a queue in close, all', 2),
                               ('commands a queue in conf, all', 1),
                               ('commands in the background, all', 0),
                               ('commands a queue ahead of the start, all, gap %d ms' %
                                bench_plan.QUICK_GAP_MS, 1),
                               ('commands a queue ahead of the start, all, gap 2000 ms', 1),
                               ('commands in close and conf, -freeze_to_rdy_supported, '
                                'gap 2000 ms (all: 128)', 96),
                               ('close + conf with 8 GiB, in times of 1 GiB', 1.02),
                               ('first registration, 1 thread in times of 2', 2),
                               ('first registration on 1 thread, in speeds of pinning alone', 0.9),
                               ('cells of ours that are not clean, of 8', 0)):
            self.assertEqual(found.pop(what), (expected, True), what)
        self.assertFalse(found)

    def test_lines_say_what_was_missed(self):
        text = bench_reach.render(bench_reach.measure(self.data()))
        self.assertRegex(text, r'NVIDIA tuned in times of ours.*gap 2000 ms +0\.50  '
                               r'\(at least 1: MISSED\)')
        self.assertRegex(text, r'commands a queue in conf, all +1\.00  \(at most 1\)')


if __name__ == '__main__':
    harness.main()
