# SPDX-License-Identifier: BSD-3-Clause
"""The benchmarks of dpdk-test-vdpa: what a reset costs, and that no packet pays for it."""
import json

import harness

MEM = 64 << 20
DISTRIBUTION = ('min', 'median', 'p99', 'max')
NUMBER = (int, float)
KEYS = {
    'bench': str, 'device': str, 'driver': str, 'mem_bytes': int, 'queue_pairs': int,
    'iterations': int, 'close_us': dict, 'conf_us': dict, 'blackout_us': dict, 'commands': dict,
    'pinned_bytes': NUMBER, 'packets': dict, 'dma_faults': int,
}


class BenchCase(harness.Case):
    """What holds for every benchmark."""

    def assert_json(self, data, bench, pairs, iterations, mem=MEM):
        """Every promised key, with its type."""
        for key, kind in KEYS.items():
            self.assertIn(key, data)
            self.assertIsInstance(data[key], kind, key)
        self.assertIn('failed', data)
        for key in ('close_us', 'conf_us', 'blackout_us'):
            self.assertEqual(set(data[key]), set(DISTRIBUTION), key)
            values = [data[key][name] for name in DISTRIBUTION]
            for value in values:
                self.assertIsInstance(value, NUMBER, key)
            self.assertEqual(values, sorted(values), key)
            if (bench, key) == ('hotplug', 'close_us'):
                self.assertEqual(values, [0] * len(values))
            else:
                self.assertGreater(values[0], 0, key)
        for key in ('close', 'conf', 'background'):
            self.assertIsInstance(data['commands'][key], NUMBER, key)
        for key in ('sent', 'received', 'corrupt', 'lost', 'duplicated'):
            self.assertIsInstance(data['packets'][key], int, key)
        self.assertEqual(data['bench'], bench)
        self.assertEqual(data['device'], 'vdpa_mlx5_persist0')
        self.assertEqual(data['mem_bytes'], mem)
        self.assertEqual(data['queue_pairs'], pairs)
        self.assertEqual(data['iterations'], iterations)

    def assert_traffic(self, data):
        """Packets flowed, and none was harmed."""
        self.assertIsNone(data['failed'])
        self.assertGreater(data['packets']['sent'], 0)
        self.assertGreater(data['packets']['received'], 0)
        for key in ('corrupt', 'lost', 'duplicated'):
            self.assertEqual(data['packets'][key], 0, data['packets'])
        self.assertEqual(data['dma_faults'], 0)

    def run_all(self, bench, persist, pinned, mem=MEM, iterations=5, pairs_list=(1, 2, 4, 8)):
        """One run for each number of queue pairs; @pinned judges the bytes pinned per iteration."""
        for pairs in pairs_list:
            with self.subTest(bench=bench, persist=persist, pairs=pairs):
                data, result = self.bench(bench, devargs={'persist': persist}, mem=mem,
                                          queues=pairs, iterations=iterations)
                self.assert_json(data, bench, pairs, iterations, mem)
                self.assert_traffic(data)
                self.assertTrue(pinned(data['pinned_bytes']),
                                'pinned %s bytes' % data['pinned_bytes'])
                self.assert_clean(result)


class Reset(BenchCase):
    def test_persist_reset(self):
        self.run_all('reset', 'reset', lambda pinned: pinned == 0)

    def test_persist_off(self):
        self.run_all('reset', 'off', lambda pinned: pinned >= MEM)


class Remap(BenchCase):
    """The same memory, elsewhere in the front-end and sliced differently."""

    def test_persist_reset(self):
        self.run_all('remap', 'reset', lambda pinned: pinned == 0)

    def test_persist_off(self):
        self.run_all('remap', 'off', lambda pinned: pinned >= MEM, pairs_list=(1, 8))


class Replace(BenchCase):
    """Other memory behind the same addresses: it has to be pinned, whatever the level."""

    def test_persist_reset(self):
        self.run_all('replace', 'reset', lambda pinned: pinned >= MEM)

    def test_persist_off(self):
        self.run_all('replace', 'off', lambda pinned: pinned >= MEM, pairs_list=(1, 8))


class Hotplug(BenchCase):
    """Memory comes and goes under traffic: what is added is pinned, and nothing else."""

    def run_one(self, iterations=4, mem=MEM, pairs=2, devargs=None, devices=(), **options):
        data, result = self.bench('hotplug', devargs=devargs, devices=devices, mem=mem,
                                  queues=pairs, iterations=iterations, **options)
        self.assert_json(data, 'hotplug', pairs, iterations, mem)
        self.assert_traffic(data)
        self.assert_clean(result)
        self.assertEqual(data['pinned_bytes_add'], mem // 8)
        self.assertEqual(data['commands']['close'], 0)
        self.assertGreater(data['commands_add'], 0)
        return data

    def test_delta(self):
        for options in ({'pairs': 4, 'packed': True, 'regions': 3},
                        {'regions': 8, 'queue_size': 64, 'enable_late': True},
                        {'backing': 'hugetlbfs', 'mem': 128 << 20, 'interrupts': True}):
            with self.subTest(**options):
                data = self.run_one(**options)
                self.assertEqual(data['pinned_bytes_remove'], 0)
                self.assertGreater(data['commands_remove'], 0)

    def test_odd_ways(self):
        """DevX keys; queues that are made anew; persist=off, as another table is no reset."""
        self.run_one(devargs={'mr_backend': 'devx', 'persist': 'off'}, iterations=2)
        self.run_one(devices=['caps=-freeze_to_rdy_supported'], iterations=2)

    def test_never_removed(self):
        """A run that ends with the memory added."""
        data = self.run_one(iterations=1)
        self.assertIsNone(data['pinned_bytes_remove'])
        self.assertIsNone(data['commands_remove'])

    def test_hugepages_too_few(self):
        """An eighth of the memory must be whole hugepages."""
        _, result = self.bench('hotplug', status=2, mem='4M', backing='hugetlbfs')
        self.assertIn('--mem: an eighth of it', result.stderr)


class Reconnect(BenchCase):
    """The connection ends and comes back."""

    def test_persist_reset(self):
        self.run_all('reconnect', 'reset', lambda pinned: pinned >= MEM, iterations=3,
                     pairs_list=(4,))

    def test_persist_reconnect(self):
        """Nothing is pinned for memory that is known; other memory is pinned, whatever waits."""
        self.run_all('reconnect', 'reconnect', lambda pinned: pinned == 0, iterations=3,
                     pairs_list=(4,))
        data, result = self.bench('start', devargs={'persist': 'reconnect'}, mem=MEM, iterations=2)
        self.assert_traffic(data)
        self.assertGreaterEqual(data['pinned_bytes'], MEM)
        self.assert_clean(result)

    def test_gap(self):
        data, result = self.bench('reconnect', mem=MEM, iterations=2, gap=50, packed=True)
        self.assert_traffic(data)
        self.assertEqual(data['gap_ms'], 50)
        self.assertGreater(data['blackout_us']['min'], 50000)
        self.assert_clean(result)


class Start(BenchCase):
    """New guests, one after the other."""

    def test_touched_and_not(self):
        for options in ({}, {'untouched': True, 'backing': 'hugetlbfs'}):
            with self.subTest(**options):
                data, result = self.bench('start', mem=MEM, queues=2, iterations=3, **options)
                self.assert_json(data, 'start', 2, 3)
                self.assert_traffic(data)
                self.assertEqual(data['touched'], 'untouched' not in options)
                self.assertGreaterEqual(data['pinned_bytes'], MEM)
                self.assert_clean(result)


class Options(BenchCase):
    """Other shapes of guest, driver and device."""

    def run_one(self, pairs=2, iterations=3, mem=MEM, devargs=None, **options):
        data, result = self.bench('reset', devargs=devargs, mem=mem, queues=pairs,
                                  iterations=iterations, **options)
        self.assert_json(data, 'reset', pairs, iterations, mem)
        self.assert_traffic(data)
        self.assertEqual(data['pinned_bytes'], 0)
        self.assert_clean(result)
        return result

    def test_regions(self):
        for regions in (1, 3, 8):
            with self.subTest(regions=regions):
                self.run_one(regions=regions)

    def test_hugetlbfs(self):
        self.run_one(backing='hugetlbfs', mem=128 << 20)

    def test_queue_size(self):
        for size in (64, 1024):
            with self.subTest(queue_size=size):
                self.run_one(queue_size=size)

    def test_largest_queue_size(self):
        """A ring that holds more frames than there used to be room for in the books."""
        for packed in ({}, {'packed': True}):
            with self.subTest(**packed):
                self.run_one(queue_size=32768, mem=256 << 20, **packed)

    def test_more_memory_than_there_is(self):
        """One line, and no program of the machine is ended to make room. (The limit is for a version
        that would take it.)"""
        out = self.dir / 'bench.json'
        result = self.run_emu(['prlimit', '--fsize=%d' % (1 << 30), harness.TEST_VDPA,
                               *harness.eal(), harness.vdev(), '--', '--bench', 'reset',
                               '--mem', '16384G', '--json', out])
        self.assert_status(result, 1)
        self.assertIn('cannot get 16777216 MiB from memfd', json.loads(out.read_text())['failed'])
        self.assert_clean(result)

    def test_gap(self):
        self.run_one(gap=50)

    def test_enable_late(self):
        self.run_one(enable_late=True)

    def test_mr_backend(self):
        verbs, devx = (self.run_one(devargs={'mr_backend': backend}) for backend in ('verbs', 'devx'))
        # With DevX a region is a umem of the driver's.
        self.assertGreater(devx.count('CREATE_UMEM'), verbs.count('CREATE_UMEM'))

    def test_queues_made_anew(self):
        """By argument, and on a card that can't do otherwise."""
        reused = self.run_one()
        asked = self.run_one(devargs={'reuse_queues': '0'})
        forced = self.run_one(devices=['caps=-freeze_to_rdy_supported'])
        for result in (asked, forced):
            self.assertGreater(result.count('CREATE_GENERAL_OBJECT'),
                               reused.count('CREATE_GENERAL_OBJECT'))


class Said(BenchCase):
    """One line a reset at INFO: what was kept, what was not, and why."""

    def lines(self, bench, **devargs):
        eal = harness.eal('--log-level=pmd.vdpa.mlx5_persist:info')
        data, result = self.bench(bench, eal_args=eal, devargs=devargs, mem=MEM, iterations=2)
        self.assert_traffic(data)
        return [line.split(': reset: ')[1] for line in (result.stdout + result.stderr).splitlines()
                if ': reset: ' in line]

    def test_lines(self):
        kept = '%d bytes kept pinned, 0 pinned, 0 unpinned; ' % MEM
        both = 'queues: 2 kept, 0 made anew'
        for bench, devargs, lines in (
                ('reset', {}, ['1 map, the key over them kept; ' + kept + both] * 2),
                ('reset', {'reuse_queues': 0}, [
                    '1 map, the key over them kept; ' + kept +
                    'queues: 0 kept, 2 made anew (stopped ones are not resumed)'] * 2),
                ('reset', {'persist': 'off'}, [
                    '1 map, the key over them made anew (all maps had been dropped); '
                    '0 bytes kept pinned, %d pinned, %d unpinned; ' % (MEM, MEM)] * 2),
                ('hotplug', {}, [
                    '2 maps, the key over them made anew (map added); '
                    '%d bytes kept pinned, %d pinned, 0 unpinned; ' % (MEM, MEM // 8) + both,
                    '1 map, the key over them made anew (map removed); '])):
            with self.subTest(bench=bench, **devargs):
                said = self.lines(bench, **devargs)
                self.assertEqual(len(said), len(lines), said)
                for line, begin in zip(said, lines):
                    self.assertEqual(line[:len(begin)], begin)


class Shows(BenchCase):
    """The command lines that the README and the guides show, some with fewer iterations."""

    MEM = 2 << 30

    def shown(self, bench, persist, iterations):
        eal = ['-l', '0,1', '--no-pci', '--file-prefix', self.dir.name]
        data, result = self.bench(bench, devargs={'persist': persist}, eal_args=eal, mem='2G',
                                  queues=4, iterations=iterations)
        self.assert_json(data, bench, 4, iterations, self.MEM)
        self.assert_traffic(data)
        self.assert_clean(result)
        return data

    def test_reset(self):
        self.assertEqual(self.shown('reset', 'reset', 20)['pinned_bytes'], 0)

    def test_remap(self):
        self.assertEqual(self.shown('remap', 'reset', 6)['pinned_bytes'], 0)

    def test_reset_off(self):
        self.assertGreaterEqual(self.shown('reset', 'off', 5)['pinned_bytes'], self.MEM)

    def test_replace(self):
        self.shown('replace', 'reset', 2)


if __name__ == '__main__':
    harness.main()
