# SPDX-License-Identifier: BSD-3-Clause
"""A thousand resets: nothing is lost, nothing grows, and no memory key is made."""
import json
import re

import harness

RESETS = 1000
WARM_UP = 10
END = 30                       # how many resets' worth of commands the release and the end take, at most

# "mlx5_0 CREATE_MKEY uid 1 status OK(0x0) ..."
COMMAND = re.compile(r'^\S+ (\w+) uid \d+ status (\w+)\(', re.MULTILINE)
CREATES = ('CREATE_', 'ALLOC_', 'SET_FLOW_TABLE_ENTRY')
DESTROYS = ('DESTROY_', 'DEALLOC_', 'DELETE_FLOW_TABLE_ENTRY')
MKEYS = ('CREATE_MKEY', 'DESTROY_MKEY')


class Soak(harness.Case):
    def run_resets(self, iterations, **emu):
        data, result = self.bench('reset', devargs={'persist': 'reset'}, mem='64M', queues=2,
                                  iterations=iterations, pps=20000, timeout=800, **emu)
        self.assertIsNone(data['failed'])
        self.assertEqual(data['iterations'], iterations)
        for key in ('corrupt', 'lost', 'duplicated'):
            self.assertEqual(data['packets'][key], 0, data['packets'])
        self.assertEqual(data['pinned_bytes'], 0)
        self.assert_clean(result)
        return data, result

    def alive(self):
        """How many objects were alive after each command of the trace."""
        series, now = [], 0
        with open(self.dir / 'trace.txt', encoding='ascii', errors='replace') as trace:
            for line in trace:
                command = COMMAND.match(line)
                if not command or command[2] != 'OK':
                    continue
                if command[1].startswith(CREATES):
                    now += 1
                elif command[1].startswith(DESTROYS):
                    now -= 1
                series.append(now)
        return series

    def test_thousand_resets(self):
        data, result = self.run_resets(RESETS, trace=True)
        self.assertGreater(data['packets']['received'], RESETS)
        series = self.alive()
        self.assertEqual(series[-1], 0)
        # The end takes everything down: look at the resets alone, two stretches of them.
        resets = series[len(series) * WARM_UP // RESETS:len(series) * (RESETS - END) // RESETS]
        half = len(resets) // 2
        self.assertEqual(max(resets[:half]), max(resets[half:]), 'objects grow')
        self.assertEqual(min(resets[:half]), min(resets[half:]), 'objects grow')

    def test_no_mkey_command(self):
        """Twice the resets, the same memory key commands and the same pins."""
        for bench in ('reset', 'remap'):
            with self.subTest(bench=bench):
                counts = []
                for iterations in (WARM_UP, 2 * WARM_UP):
                    _, result = self.bench(bench, devargs={'persist': 'reset'}, mem='64M', queues=2,
                                           iterations=iterations)
                    self.assert_clean(result)
                    counts.append((result.count(*MKEYS), result.report['pins']['bytes_peak'],
                                   result.report['pins']['bytes_total']))
                self.assertEqual(counts[0], counts[1])

    def test_script(self):
        """devtools/soak.sh, for soaks outside the suite: a short one, and what it refuses."""
        script = harness.SOURCE / 'devtools' / 'soak.sh'
        samples = self.dir / 'samples.json'
        result = self.run_program([script, '--build', harness.BUILD, '--resets', '100', '--packed',
                                   '--json', samples])
        self.assert_status(result, 0)
        self.assertIn('soak: nothing grew, no packet was harmed', result.stdout)
        data = json.loads(samples.read_text())
        self.assertEqual(len(data['samples']), 100)
        self.assertGreater(data['samples'][0]['objects'], 0)
        self.assertGreater(data['traffic']['RX-packets'], 0)
        result = self.run_program([script, '--build', harness.BUILD, '--resets', '5'])
        self.assert_status(result, 2)
        self.assertIn('--resets: must be a number from 100 on', result.stderr)


if __name__ == '__main__':
    harness.main()
