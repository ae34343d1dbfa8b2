# SPDX-License-Identifier: BSD-3-Clause
"""The benchmark throughput: on each kind of wire it moves packets, and checks those of its own."""
import harness

SCRIPT = harness.SOURCE / 'devtools' / 'throughput.sh'
PACKETS = ('corrupt', 'lost', 'duplicated')


class Throughput(harness.Case):
    def measure(self, wire, **options):
        """Run it on a device with this wire. Returns the JSON object."""
        options = {'mem': '64M', 'queues': 1, 'seconds': 1, **options}
        data, result = self.bench('throughput', devices=['wire=' + wire], **options)
        self.assertEqual(data['bench'], 'throughput')
        self.assertEqual(data['iterations'], 1)
        self.assertIsNone(data['failed'])
        self.assertIsNone(data['blackout_us'])
        for key in ('close_us', 'conf_us'):
            self.assertGreater(data[key]['min'], 0)
        for key in PACKETS:
            self.assertEqual(data['packets'][key], 0, data)
        self.assertGreater(data['mpps']['tx'], 0, data)
        self.assertGreaterEqual(data['packets']['sent'], data['mpps']['tx'] * 1e6)
        self.assert_clean(result)
        return data

    def test_loop(self):
        for options in ({}, {'queues': 4}, {'queue_size': 64}, {'interrupts': True}):
            with self.subTest(**options):
                data = self.measure('loop', **options)
                packets = data['packets']
                self.assertFalse(data['one_way'])
                self.assertEqual(packets['received'] + packets['in_blackout'], packets['sent'])
                self.assertEqual(packets['foreign'], 0)
                self.assertAlmostEqual(data['mpps']['rx'] / data['mpps']['tx'], 1, delta=0.5)

    def test_null(self):
        """Nothing comes back, and nothing is lost: the device took what the guest sent."""
        for queues in (1, 3):
            with self.subTest(queues=queues):
                data = self.measure('null', queues=queues)
                self.assertTrue(data['one_way'])
                self.assertEqual(data['packets']['received'], 0)
                self.assertEqual(data['packets']['in_blackout'], 0)
                self.assertEqual(data['mpps']['rx'], 0)

    def test_seconds(self):
        """A pace makes no difference: far more than 10 packets a second leave the guest."""
        slow = self.measure('null', pps=10)
        self.assertGreater(slow['packets']['sent'], 1000)
        self.assertIsNone(slow['pps'])

    def test_packed(self):
        for wire in ('loop', 'null', 'gen:0:64'):
            with self.subTest(wire=wire):
                self.measure(wire, packed=True)

    def test_generator(self):
        """What a generator sends is counted, and is no defect. A pace is an upper bound."""
        for wire, most in (('gen:0:64', 1000), ('gen:20000:1500', 0.03)):
            with self.subTest(wire=wire):
                data = self.measure(wire, queues=2)
                self.assertTrue(data['one_way'])
                self.assertEqual(data['packets']['received'], 0)
                self.assertGreaterEqual(data['packets']['foreign'], data['mpps']['rx'] * 1e6)
                self.assertGreater(data['mpps']['rx'], 0)
                self.assertLess(data['mpps']['rx'], most)

    def compare(self, rings):
        """The script that compares with DPDK's software vhost. What it measures is not judged here."""
        result = self.run_program([SCRIPT, '--build', harness.BUILD, '--seconds', '1',
                                   '--rounds', '1', '--rings', rings])
        self.assert_status(result, 0)
        name, *speeds, ratio = result.stdout.splitlines()[-1].split()
        self.assertEqual(name, rings, result)
        for speed in speeds:
            self.assertGreater(float(speed), 0, result)
        self.assertGreater(float(ratio), 0, result)

    def test_software_vhost(self):
        self.compare('split')

    def test_software_vhost_packed(self):
        self.compare('packed')

    def test_script_usage(self):
        for options in (['--nosuch'], ['--seconds'], ['--rings', 'round'], ['--build', self.dir]):
            result = self.run_program([SCRIPT, *options])
            self.assert_status(result, 2)
            self.assertEqual(len(result.stderr.splitlines()), 1, result)


if __name__ == '__main__':
    harness.main()
