# SPDX-License-Identifier: BSD-3-Clause
"""A device is removed from a program that runs: who uses it meanwhile is waited for, who comes later
finds none, and a front-end that is connected keeps it."""
import json
import os
import unittest.mock

import harness
import vhost_user

PLUGIN = harness.BUILD / 'tests' / 'system' / 'libhot_remove.so'
NAME = 'vdpa_mlx5_persist%d'
TOOL = 'dpdk-telemetry.py'
EBUSY, ENODEV = -16, -19


class Removal(harness.Case):
    def daemon(self, vdevs, options=(), latency=None):
        self.eal = harness.eal('-d', PLUGIN, cores='0')
        self.prefix = self.eal[self.eal.index('--file-prefix') + 1]
        return harness.Daemon(self, ['bdf=' + bdf for bdf in self.bdfs(len(vdevs))], vdevs,
                              eal_args=self.eal, options=options, latency=latency)

    @staticmethod
    def bdfs(count):
        return ['0000:e1:00.%d' % (2 + number) for number in range(count)]

    def ask(self, command):
        """The answer to a command, as Debian's tool prints it."""
        result = self.run_program([TOOL, '-f', self.prefix], command + '\n')
        self.assert_status(result, 0)
        return json.loads(result.stdout)[command.split(',')[0]]

    def end(self, daemon):
        result = daemon.stop()
        self.assert_clean(result)
        return result

    def test_while_its_operations_run(self):
        """Each thread's call ends as it would have, or finds no device. Commands that take time have
        most of them wait for each other as the removal comes."""
        bdfs = self.bdfs(4)
        # What is freed is overwritten.
        with unittest.mock.patch.dict(os.environ, MALLOC_PERTURB_='165'):
            daemon = self.daemon([harness.vdev(number, bdf, queues=1, queue_size=64)
                                  for number, bdf in enumerate(bdfs)], latency='cx6dx')
        daemon.socket(len(bdfs) - 1)
        for number in range(len(bdfs)):
            answer = self.ask('/test/remove_in_use,' + NAME % number)
            self.assertEqual(answer['ret'], 0)
            self.assertGreater(answer['calls'], 100)
            self.assertEqual(self.ask('/mlx5_persist/list'),
                             [NAME % other for other in range(number + 1, len(bdfs))])
        self.assertEqual(self.ask('/test/remove,' + NAME % 0), {'ret': ENODEV})
        self.end(daemon)

    def test_front_end_keeps_it(self):
        """The vhost library would call a driver that is gone. The guest does not notice."""
        daemon = self.daemon([harness.vdev()])
        front = vhost_user.Frontend(daemon.socket())
        front.start()
        front.fill()
        self.assertEqual(vhost_user.ping_pong(front, 20), (0, 0))
        self.assertEqual(self.ask('/test/remove,' + NAME % 0), {'ret': EBUSY})
        self.assertEqual(vhost_user.ping_pong(front, 20, first=20), (0, 0))
        front.stop()
        front.restart()
        front.fill()
        self.assertEqual(vhost_user.ping_pong(front, 20), (0, 0))
        self.assertEqual(self.ask('/mlx5_persist/list'), [NAME % 0])
        front.close()
        self.assertIn('not removed: a front-end is connected', self.end(daemon).stderr)


if __name__ == '__main__':
    harness.main()
