# SPDX-License-Identifier: BSD-3-Clause
"""A guest moves between two devices under traffic: all memory arrives, and no packet is lost.

Any two drivers do: ours and NVIDIA's, on either side.
"""
import json

import harness

SOFT = harness.BUILD / 'tests' / 'system' / 'libvdpa_soft.so'
SECOND = '0000:e1:00.3'
DEVICES = ['bdf=' + harness.BDF, 'bdf=' + SECOND]
OURS = [harness.vdev(0, harness.BDF), harness.vdev(1, SECOND)]
PACKETS = ('corrupt', 'lost', 'duplicated')


def nvidia(bdf):
    """NVIDIA's driver on a device."""
    return ['-a', bdf + ',class=vdpa']


class Migrate(harness.Case):
    def start(self, drivers, devices=None, status=0, **options):
        """Run it with these EAL options for drivers. Returns the JSON object and the Result."""
        out = self.dir / 'bench.json'
        eal = harness.eal()
        if '-a' in drivers:
            eal.remove('--no-pci')
        command = [harness.TEST_VDPA, *eal, *drivers, '--', '--bench', 'migrate', '--json', out]
        for key, value in {'mem': '64M', 'queues': 2, 'iterations': 3, **options}.items():
            command.append('--' + key.replace('_', '-'))
            if value is not True:
                command.append(str(value))
        result = self.run_emu(command, devices or DEVICES)
        self.assert_status(result, status)
        return json.loads(out.read_text()) if out.exists() else None, result

    def migrate(self, drivers=None, iterations=3, **options):
        data, result = self.start(drivers or OURS, iterations=iterations, **options)
        self.assertEqual(data['bench'], 'migrate')
        self.assertIsNone(data['failed'])
        self.assertEqual(data['iterations'], iterations)
        self.assertEqual(data['pages_different'], 0)
        for key in PACKETS:
            self.assertEqual(data['packets'][key], 0, data)
        packets = data['packets']
        self.assertGreater(packets['received'], 1000)
        self.assertEqual(packets['sent'], packets['received'] + packets['in_blackout'])
        for key in ('close_us', 'conf_us', 'blackout_us', 'downtime_us'):
            self.assertGreater(data[key]['min'], 0)
        self.assertGreaterEqual(data['downtime_us']['min'], data['conf_us']['min'])
        self.assertGreater(data['commands']['close'], 0)
        self.assert_clean(result)
        # The destination's memory is its own: it had to be pinned.
        self.assertGreaterEqual(data['pinned_bytes'], data['mem_bytes'])
        for device in result.report['devices']:
            self.assertGreater(device['rx_packets'], 0, result.report['devices'])
        return data

    def test_pairs(self):
        for queues in (1, 4, 16):
            with self.subTest(queues=queues):
                self.migrate(queues=queues)

    def test_shapes(self):
        for options in ({'regions': 8}, {'queue_size': 1024}, {'enable_late': True},
                        {'queue_size': 64, 'interrupts': True}):
            with self.subTest(**options):
                self.migrate(**options)

    def test_packed(self):
        for options in ({'queues': 1}, {'queues': 4, 'queue_size': 1024, 'regions': 3},
                        {'queues': 16, 'queue_size': 64}):
            with self.subTest(**options):
                self.migrate(packed=True, **options)

    def test_nvidia(self):
        """From and to NVIDIA's driver, and between two of its devices."""
        for drivers in ([*nvidia(harness.BDF), *nvidia(SECOND)],
                        [*nvidia(harness.BDF), harness.vdev(0, SECOND)],
                        [harness.vdev(0, harness.BDF), *nvidia(SECOND)]):
            with self.subTest(drivers=drivers):
                self.migrate(drivers)

    def test_first_device(self):
        data = self.migrate(device='vdpa_mlx5_persist1')
        self.assertEqual(data['device'], 'vdpa_mlx5_persist1')

    def soft(self, fault, **options):
        """From a driver in software that may misbehave (vdpa_soft.c) to ours. Returns as start()."""
        return self.start(['-d', SOFT, '--vdev=vdpa_soft0,fault=' + fault, harness.vdev(0, SECOND)],
                          device='vdpa_soft0', **options)

    def test_driver_in_software(self):
        data, _ = self.soft('none')
        self.assertEqual(data['pages_different'], 0)
        self.assertEqual(data['driver'], 'vdpa_soft')
        self.assertEqual([data['packets'][key] for key in PACKETS], [0] * len(PACKETS), data)

    def test_pages_that_nobody_marked_are_found(self):
        """Several times, as on a busy machine no packet may come between copy and stop in one."""
        data, result = self.soft('no_log', iterations=5, status=1)
        self.assertGreater(data['pages_different'], 0, data)
        self.assertRegex(result.stdout, r'\b[1-9]\d* pages differ')

    def test_one_device(self):
        data, result = self.start([harness.vdev()], status=2)
        self.assertIsNone(data)
        self.assertIn('--bench migrate: takes two vDPA devices', result.stderr)

    def test_back_end_elsewhere(self):
        _, result = self.start([], status=2, socket=self.dir / 'nosuch')
        self.assertIn('--socket', result.stderr)


if __name__ == '__main__':
    harness.main()
