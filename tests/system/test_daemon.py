# SPDX-License-Identifier: BSD-3-Clause
"""dpdk-vdpa: its shell, its sockets, its end."""
import os
import re
import signal
import subprocess
import time

import harness
import vhost_user

TWO = ['name=a,bdf=0000:e1:00.2', 'name=b,bdf=0000:e1:00.3']
TWO_VDEVS = [harness.vdev(0, 'a'), harness.vdev(1, 'b')]


class Shell(harness.Case):
    def shell(self, commands, devices=(), vdevs=None):
        result = self.run_emu([harness.DAEMON, *harness.eal(), *(vdevs or [harness.vdev()]), '--',
                               '--interactive'], devices, stdin=''.join(c + '\n' for c in commands))
        self.assert_status(result, 0)
        self.assert_clean(result)
        return result

    def test_help(self):
        result = self.shell(['help', 'quit'])
        for command in ('help', 'list', 'create SOCKET DEVICE', 'stats DEVICE QUEUE',
                        'show pins', 'show iotlb', 'drop DEVICE', 'quit'):
            self.assertIn(command, result.stdout)

    def test_list(self):
        result = self.shell(['list', 'quit'], TWO, TWO_VDEVS)
        for number in range(2):
            self.assertRegex(result.stdout,
                             r'vdpa_mlx5_persist%d\s+\d+\s+0x[0-9a-f]+' % number)

    def test_end_of_input(self):
        self.shell([])

    def test_create_and_stats(self):
        """A socket made by command serves; counters of its queues show the traffic."""
        path = self.dir / 'made'
        process = self.spawn(
            self.emu([harness.DAEMON, *harness.eal(cores='0'), harness.vdev(), '--', '-i']),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdin.write('create %s vdpa_mlx5_persist0\n' % path)
        process.stdin.flush()
        front = vhost_user.Frontend(str(path))
        front.start()
        front.fill()
        self.assertEqual(vhost_user.ping_pong(front, 100), (0, 0))
        out, err = process.communicate(
            'stats vdpa_mlx5_persist0 1\nstats vdpa_mlx5_persist0 0xffff\nquit\n', timeout=harness.EXIT_TIMEOUT)
        front.close()
        result = self.collect(harness.Result(process.returncode, out, err))
        self.assert_status(result, 0)
        self.assert_clean(result)
        self.assertFalse(path.exists(), 'socket left behind')
        self.assertEqual(len(re.findall(r'Virtq 1:', out)), 2, result)
        self.assertEqual(len(re.findall(r'Virtq 0:', out)), 1, result)
        self.assertRegex(out, r'completed.*\s100\b')

    def test_create_errors(self):
        path = self.dir / 'taken'
        path.touch()
        name = 'vdpa_mlx5_persist0'
        long = str(self.dir / 'x').ljust(110, 'x')  # more than a socket's address holds
        result = self.shell(['create %s nosuch' % path, 'create %s %s' % (path, name),
                             'create %s %s' % (long, name),
                             'create %s/one %s' % (self.dir, name),
                             'create %s/two %s' % (self.dir, name), 'stats nosuch 0',
                             'stats %s 0xffff' % name, 'quit'])
        text = result.stdout + result.stderr
        for words in ('no vDPA device nosuch', 'exists', 'is longer than', 'is served on',
                      'is not running'):
            self.assertIn(words, text)
        self.assertTrue(path.exists(), "somebody else's file removed")
        self.assertFalse((self.dir / 'one').exists())


class Sockets(harness.Case):
    def test_one_for_each_device(self):
        daemon = harness.Daemon(self, TWO, TWO_VDEVS)
        fronts = [vhost_user.Frontend(daemon.socket(number)) for number in range(2)]
        for front in fronts:
            front.start()
            front.fill()
        for number, front in enumerate(fronts):
            self.assertEqual(vhost_user.ping_pong(front, 100, first=1000 * number), (0, 0))
        for front in fronts:
            front.close()
        self.assert_clean(daemon.stop())

    def test_signals(self):
        """Each of the three ends the daemon cleanly, with a front-end at work."""
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with self.subTest(signal=signum.name):
                daemon = harness.Daemon(self)
                front = vhost_user.Frontend(daemon.socket())
                front.start()
                front.fill()
                self.assertEqual(vhost_user.ping_pong(front, 50), (0, 0))
                self.assert_clean(daemon.stop(signum))
                front.close()

    def test_resets(self):
        """Resets on one connection, and a new connection afterwards."""
        daemon = harness.Daemon(self)
        for _ in range(2):
            front = vhost_user.Frontend(daemon.socket(), pairs=2)
            front.start()
            for _ in range(3):
                front.fill()
                for pair in range(2):
                    self.assertEqual(vhost_user.ping_pong(front, 64, pair), (0, 0))
                bases = front.stop()
                self.assertEqual(bases[1::2], [64, 64])
                self.assertEqual(sum(bases[0::2]), 128)
                front.restart()
            front.close()
        self.assert_clean(daemon.stop())

    def test_reset_owner(self):
        """The other message that resets a device, and a start on the same connection."""
        daemon = harness.Daemon(self)
        front = vhost_user.Frontend(daemon.socket())
        front.start()
        front.fill()
        self.assertEqual(vhost_user.ping_pong(front, 50), (0, 0))
        front.stop()
        front.command(vhost_user.RESET_OWNER)
        front.start()
        front.fill()
        self.assertEqual(vhost_user.ping_pong(front, 50), (0, 0))
        front.close()
        self.assert_clean(daemon.stop())

    def test_client_mode(self):
        """The daemon connects to a socket of ours, and again after we left."""
        path = str(self.dir / 'sock0')
        listener = vhost_user.listen(path)
        self.addCleanup(listener.close)
        daemon = harness.Daemon(self, options=['--client'])
        for _ in range(2):
            front = vhost_user.Frontend(path)
            front.accept(listener)
            front.start()
            front.fill()
            self.assertEqual(vhost_user.ping_pong(front, 50), (0, 0))
            front.close()
        listener.close()
        os.unlink(path)
        self.assert_clean(daemon.stop())


class Idle(harness.Case):
    """A started device without traffic costs next to nothing."""

    SECONDS = 3
    SHARE = 0.02

    def test_idle_core_share(self):
        daemon = harness.Daemon(self)
        front = vhost_user.Frontend(daemon.socket())
        front.start()
        front.fill()
        self.assertEqual(vhost_user.ping_pong(front, 100), (0, 0))
        pid = daemon.program_pid()

        def idle():
            before = self.cpu_seconds(pid)
            time.sleep(self.SECONDS)
            return self.cpu_seconds(pid) - before < self.SHARE * self.SECONDS
        self.wait_for(idle, 'the device comes to rest')
        front.close()
        self.assert_clean(daemon.stop())

    @staticmethod
    def cpu_seconds(pid):
        """User and system time of all threads."""
        with open('/proc/%d/stat' % pid, encoding='ascii') as stat:
            fields = stat.read().rsplit(')', 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


if __name__ == '__main__':
    harness.main()
