# SPDX-License-Identifier: BSD-3-Clause
"""dpdk-test-vdpa as a judge: on a driver in software that misbehaves on request (vdpa_soft.c), it finds
each fault, and finds none where there is none. No emulated device is involved."""
import json

import harness

PLUGIN = harness.BUILD / 'tests' / 'system' / 'libvdpa_soft.so'
PACKETS = ('corrupt', 'lost', 'duplicated')


class Judge(harness.Case):
    def judge(self, fault, bench='reset', status=1, **options):
        """Run a benchmark on the driver. Returns its JSON object and the Result."""
        out = self.dir / 'bench.json'
        options = {'mem': '32M', 'queues': 2, 'iterations': 3, **options}
        command = [harness.TEST_VDPA, *harness.eal('-d', PLUGIN), '--vdev=vdpa_soft0,fault=%s' % fault,
                   '--', '--bench', bench, '--json', out]
        for key, value in options.items():
            command.append('--' + key.replace('_', '-'))
            if value is not True:
                command.append(str(value))
        result = self.run_program(command)
        self.assert_status(result, status)
        return json.loads(out.read_text()) if out.exists() else None, result

    def assert_counts(self, data, **wrong):
        """The given counts are not 0, all others are, and every packet is in one of them."""
        packets = data['packets']
        for key in PACKETS:
            check = self.assertGreater if key in wrong else self.assertEqual
            check(packets[key], 0, '%s: %s' % (key, packets))
        if 'corrupt' not in wrong:
            self.assertEqual(packets['sent'],
                             packets['received'] + packets['lost'] + packets['in_blackout'])
        self.assertGreater(packets['received'], 0)

    def test_good(self):
        for bench in ('reset', 'remap', 'replace'):
            for options in ({}, {'enable_late': True}, {'interrupts': True}, {'regions': 8},
                            {'queue_size': 16, 'pps': 5000}, {'backing': 'hugetlbfs'}):
                with self.subTest(bench=bench, **options):
                    data, _ = self.judge('none', bench, status=0, **options)
                    self.assert_counts(data)
                    self.assertIsNone(data['failed'])
                    self.assertEqual(data['driver'], 'vdpa_soft')
                    self.assertEqual(data['iterations'], 3)
                    for key in ('commands', 'pinned_bytes', 'dma_faults'):
                        self.assertIsNone(data[key])

    def test_good_with_memory_and_connections_that_change(self):
        for bench, options in (('hotplug', {'regions': 8}), ('hotplug', {'interrupts': True}),
                               ('reconnect', {'queue_size': 16, 'pps': 5000}),
                               ('start', {'untouched': True})):
            with self.subTest(bench=bench, **options):
                data, _ = self.judge('none', bench, status=0, **options)
                self.assert_counts(data)
                self.assertIsNone(data['failed'])
                self.assertEqual(data['iterations'], 3)
        self.assertEqual(data['touched'], False)

    def test_gap_is_part_of_the_blackout(self):
        data, _ = self.judge('none', status=0, gap=100)
        self.assertGreaterEqual(data['blackout_us']['min'], 100000)
        self.assertLess(data['close_us']['max'] + data['conf_us']['max'], 100000)

    def test_corrupt(self):
        self.assert_counts(self.judge('corrupt')[0], corrupt=True)

    def test_lose(self):
        self.assert_counts(self.judge('lose')[0], lost=True)

    def test_a_dead_receive_queue_is_no_blackout(self):
        """Every reset comes before the ledger would give the packets up by itself."""
        data, _ = self.judge('deaf')
        self.assert_counts(data, lost=True)

    def test_what_is_sent_before_the_device_is_back_is_the_blackout(self):
        """A device that takes packets before it can deliver them; the guest sends all the while."""
        data, _ = self.judge('early', status=0, iterations=5)
        self.assert_counts(data)
        self.assertGreater(data['packets']['in_blackout'], 0)
        self.assertGreaterEqual(data['blackout_us']['min'], 40000)

    def test_duplicate(self):
        self.assert_counts(self.judge('duplicate')[0], duplicated=True)

    def test_bad_id(self):
        data, _ = self.judge('bad_id')
        self.assertIn('descriptor that it did not have', data['failed'])

    def test_no_call(self):
        data, _ = self.judge('no_call', interrupts=True)
        self.assertIn('no traffic', data['failed'])
        self.assert_counts(self.judge('no_call', status=0)[0])

    def test_does_not_come_back(self):
        for fault in ('no_start', 'mute'):
            with self.subTest(fault=fault):
                data, _ = self.judge(fault)
                self.assertIn('reset 2: no traffic', data['failed'])
                self.assertEqual(data['iterations'], 1)
                self.assertGreater(data['conf_us']['min'], 0)

    def test_write_to_withdrawn_memory(self):
        self.assert_counts(self.judge('stale', 'replace')[0], corrupt=True)
        self.assert_counts(self.judge('stale', 'remap', status=0)[0])
        self.assert_counts(self.judge('stale_plug', 'hotplug', iterations=2)[0], corrupt=True)

    def test_packed_is_refused(self):
        data, result = self.judge('none', status=2, packed=True)
        self.assertIsNone(data)
        self.assertIn('--packed: the device does not offer VIRTIO_F_RING_PACKED', result.stderr)

    def test_too_many_queues_are_refused(self):
        _, result = self.judge('none', status=2, queues=9)
        self.assertIn('--queues 9: the device has 8 queue pairs', result.stderr)


if __name__ == '__main__':
    harness.main()
