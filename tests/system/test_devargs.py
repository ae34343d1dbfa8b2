# SPDX-License-Identifier: BSD-3-Clause
"""Driver arguments that can't be, and devices that can't do: one clear line, and nothing left."""
import re

import harness


class Refusal(harness.Case):
    """The probe fails with one line; the program goes on without the device."""

    def refused(self, vdev, *words, **emu):
        """Exactly one line of output holds all @words, as whole words."""
        result = self.run_emu([harness.DAEMON, *harness.eal(), vdev, '--', '--interactive'],
                              stdin='list\nquit\n', **emu)
        self.assert_status(result, 0)
        listed = result.stdout.split('supported features', 1)
        self.assertEqual(len(listed), 2, result)
        self.assertNotIn('vdpa_mlx5_persist0', listed[1], result)
        # The device's name holds the word "persist" too.
        lines = [line for line in (result.stdout + result.stderr).splitlines()
                 if all(re.search(r'(?<![\w-])%s(?!\w)' % re.escape(word),
                                  line.replace('vdpa_mlx5_persist', '')) for word in words)]
        self.assertEqual(len(lines), 1, 'one line with %s expected\n%s' % (words, result))
        self.assert_clean(result)
        return lines[0]


class Devargs(Refusal):
    def test_persist(self):
        self.refused(harness.vdev(persist='maybe'), 'persist', 'maybe', 'off', 'reset', 'reconnect')

    def test_unknown_device(self):
        """The line tells which devices there are."""
        self.refused(harness.vdev(dev='nosuch'), 'dev', 'nosuch', 'mlx5_0', harness.BDF)

    def test_unknown_address(self):
        self.refused(harness.vdev(dev='0000:77:00.1'), 'dev', '0000:77:00.1', harness.BDF)

    def test_unknown_key(self):
        self.refused(harness.vdev(nokey='1'), 'nokey', 'dev', 'persist')

    def test_missing_device(self):
        self.refused('--vdev=vdpa_mlx5_persist0,persist=reset', 'dev', 'PCI address')

    def test_no_arguments(self):
        self.refused('--vdev=vdpa_mlx5_persist0', 'dev', 'PCI address')

    def test_empty_value(self):
        self.refused('--vdev=vdpa_mlx5_persist0,dev=', 'dev', 'PCI address')

    def test_other_values(self):
        for key, value, allowed in (('reuse_queues', '2', '0 or 1'),
                                    ('event_core', 'x', 'number'),
                                    ('event_core', '-1', 'number'),
                                    ('event_core', '99999', 'number'),
                                    ('mr_backend', 'maybe', 'verbs or devx'),
                                    ('persist_timeout_ms', '5s', '0 to 4294967295'),
                                    ('rewind_ms', '-1', '1 to 4294967295, or 0'),
                                    ('iommu', '1', 'off or on'),
                                    ('event_mode', '3', '0 (timer'),
                                    ('event_mode', 'interrupt', '2 (interrupts)'),
                                    ('event_us', '-1', '0 to 4294967295'),
                                    ('event_us', '4294967296', '0 to 4294967295'),
                                    ('event_us', '5us', '0 to 4294967295'),
                                    ('no_traffic_time', '0', '1 to 4294967295'),
                                    ('hw_latency_mode', '3', '0 (the card'),
                                    ('hw_max_latency_us', '4096', '1 to 4095'),
                                    ('hw_max_pending_comp', '65536', '1 to 65535'),
                                    ('max_conf_threads', '257', '1 to 256'),
                                    ('queues', '129', '1 to 128'),
                                    ('queue_size', '2048', 'power of two'),
                                    ('queue_size', '100', 'power of two')):
            with self.subTest(key=key, value=value):
                self.refused(harness.vdev(**{key: value}), '%s=%s' % (key, value), allowed)

    def test_halves_of_a_pair(self):
        """queues and queue_size mean something together only."""
        self.refused(harness.vdev(queues=4), 'queues=4', 'queue_size=0', 'both')
        self.refused(harness.vdev(queue_size=256), 'queues=0', 'queue_size=256', 'both')

    def test_by_rdma_name(self):
        """The other way to name a device works."""
        result = self.run_emu([harness.DAEMON, *harness.eal(), harness.vdev(dev='mlx5_0'), '--',
                               '--interactive'], stdin='list\nquit\n')
        self.assert_status(result, 0)
        self.assertRegex(result.stdout, r'vdpa_mlx5_persist0\s+\d+\s+0x[0-9a-f]+')
        self.assert_clean(result)

    def test_same_device_twice(self):
        """One function is one vDPA device."""
        result = self.run_emu([harness.DAEMON, *harness.eal(), harness.vdev(0), harness.vdev(1),
                               '--', '--interactive'], stdin='list\nquit\n')
        self.assert_status(result, 0)
        self.assertEqual(len(re.findall(r'^vdpa_mlx5_persist\d\s', result.stdout, re.M)), 1, result)
        self.assert_clean(result)


class Capabilities(Refusal):
    """A device without something that the driver can't live without."""

    def test_missing(self):
        for cap in ('general_obj_types', 'eth_frame_offload_type', 'event_mode',
                    'virtio_queue_type', 'max_num_virtio_queues'):
            with self.subTest(cap=cap):
                self.refused(harness.vdev(), cap, devices=['caps=-' + cap])


if __name__ == '__main__':
    harness.main()
