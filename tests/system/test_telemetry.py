# SPDX-License-Identifier: BSD-3-Clause
"""What the driver tells of its memory: to dpdk-telemetry.py, and to the shells of both programs."""
import json
import os
import re
import subprocess
import threading
import time

import harness
import vhost_user

NAME = 'vdpa_mlx5_persist0'
TOOL = 'dpdk-telemetry.py'
DIMM = 4 << 20
TIMEOUT = 30


class TelemetryCase(harness.Case):
    """A daemon, and a front-end with its memory and two DIMMs."""

    def daemon(self, persist='reset', options=(), timeout_ms=600000):
        self.eal = harness.eal(cores='0')
        self.prefix = self.eal[self.eal.index('--file-prefix') + 1]
        return harness.Daemon(self, vdevs=[harness.vdev(persist=persist,
                                                        persist_timeout_ms=timeout_ms)],
                              eal_args=self.eal, options=options)

    def ask(self, *commands):
        """The answers to commands, as Debian's tool prints them."""
        result = self.run_program([TOOL, '-f', self.prefix], ''.join(c + '\n' for c in commands))
        self.assert_status(result, 0)
        answers = [json.loads(line) for line in result.stdout.splitlines()]
        self.assertEqual(len(answers), len(commands), result)
        return [answer[command.split(',')[0]] for answer, command in zip(answers, commands)]

    def ask_one(self, command):
        return self.ask(command)[0]

    def connect(self, daemon, dimms=2):
        front = vhost_user.Frontend(daemon.socket())
        self.dimms = [os.memfd_create('dimm', os.MFD_CLOEXEC) for _ in range(dimms)]
        for fd in self.dimms:
            self.addCleanup(os.close, fd)
            os.ftruncate(fd, DIMM)
        front.start()
        if dimms:
            front.set_mem_table([(fd, DIMM) for fd in self.dimms])
        front.fill()
        self.assertEqual(vhost_user.ping_pong(front, 20), (0, 0))
        return front

    def wait_for(self, what, condition):
        deadline = time.monotonic() + TIMEOUT
        while not condition():
            self.assertLess(time.monotonic(), deadline, what)
            time.sleep(0.05)


class Shown(TelemetryCase):
    def test_connected_guest(self):
        """Pins and maps of a guest are those of its files; a reset keeps both."""
        daemon = self.daemon()
        front = self.connect(daemon)
        total = front.mem_bytes + 2 * DIMM
        inodes = [os.fstat(fd).st_ino for fd in (front.fd, *self.dimms)]
        names, info, pins, maps = self.ask(
            '/mlx5_persist/list', *('/mlx5_persist/%s,%s' % (command, NAME)
                                    for command in ('info', 'pins', 'iotlb')))
        self.assertEqual(names, [NAME])
        self.assertEqual((info['name'], info['persist'], info['front_end'], info['maps']),
                         (NAME, 'reset', 'connected', 3))
        self.assertEqual((pins['bytes'], pins['bytes_total'], pins['miss_bytes']), (total,) * 3)
        self.assertEqual(sorted(pin['inode'] for pin in pins['table'].values()), sorted(inodes))
        self.assertEqual(sum(pin['bytes'] for pin in pins['table'].values()), total)
        self.assertEqual([entry['inode'] for entry in maps['table'].values()], inodes)
        first = maps['table']['0']
        self.assertEqual((int(first['start'], 16), int(first['last'], 16), first['perm']),
                         (vhost_user.GPA, vhost_user.GPA + front.mem_bytes - 1, 'rw'))
        self.assertEqual(maps['last_rebuild'], 'map added')
        self.assertEqual(maps['left_off'], 0)
        self.assertNotIn('next', maps)
        self.assert_pages()

        front.stop()
        front.restart()     # without the DIMMs
        pins, maps = self.ask('/mlx5_persist/pins,' + NAME, '/mlx5_persist/iotlb,' + NAME)
        self.assertEqual((pins['bytes'], pins['bytes_total']), (front.mem_bytes, total))
        self.assertEqual((maps['maps'], maps['last_rebuild']), (1, 'map removed'))
        front.close()
        self.wait_for('the end of the connection',
                      lambda: self.ask_one('/mlx5_persist/pins,' + NAME)['bytes'] == 0)
        self.assertEqual(self.ask_one('/mlx5_persist/iotlb,' + NAME)['table'], {})
        self.assert_clean(daemon.stop())

    def assert_pages(self):
        """A reply that begins further on says how many of the three rows it leaves off."""
        asked = [(command, first, shown) for command in ('iotlb', 'pins')
                 for first, shown in ((0, 3), (1, 2), (3, 0), (2 ** 64 - 1, 0))]
        pages = self.ask(*('/mlx5_persist/%s,%s,%d' % (command, NAME, first)
                           for command, first, _ in asked))
        for page, (_, first, shown) in zip(pages, asked):
            self.assertEqual(sorted(page['table']), [str(first + n) for n in range(shown)], page)
            self.assertEqual(page['left_off'], 3 - shown)

    def test_bad_input(self):
        """Each is answered by one error, and changes nothing."""
        daemon = self.daemon()
        daemon.socket()
        bad = (('info', '', 'is missing'), ('pins', '', 'is missing'), ('drop', '', 'is missing'),
               ('info', ',nosuch', 'no device nosuch'), ('iotlb', ',nosuch,0', 'no device nosuch'),
               ('drop', ',' + 'x' * 200, 'no device x'),
               ('info', ',%s,1' % NAME, 'nothing goes behind'),
               ('drop', ',%s,all' % NAME, 'nothing goes behind'),
               ('pins', ',%s,' % NAME, 'decimal numbers'),
               ('pins', ',%s,-1' % NAME, 'decimal numbers'),
               ('pins', ',%s,0x1' % NAME, 'decimal numbers'),
               ('pins', ',%s,0,0' % NAME, 'decimal numbers'),
               ('iotlb', ',%s,99999999999999999999' % NAME, 'decimal numbers'),
               ('iotlb', ',%s,0,7' % NAME, 'no address space'))
        answers = self.ask(*('/mlx5_persist/' + command + params for command, params, _ in bad))
        for answer, (command, params, words) in zip(answers, bad):
            with self.subTest(command=command, params=params):
                self.assertEqual(list(answer), ['error'])
                self.assertIn(words, answer['error'])
        self.assert_clean(daemon.stop())

    def test_device_leaves(self):
        """Devices are removed while telemetry looks at them all the time."""
        daemon = self.daemon()
        front = self.connect(daemon)
        stop = threading.Event()

        def hammer():
            commands = ['/mlx5_persist/%s,%s' % (command, NAME)
                        for command in ('iotlb', 'pins', 'info', 'drop')] * 10
            while not stop.is_set():
                # It fails as soon as the daemon is gone: no answer comes.
                subprocess.run([TOOL, '-f', self.prefix], input='\n'.join(commands) + '\n',
                               text=True, capture_output=True, timeout=TIMEOUT)
        threads = [threading.Thread(target=hammer) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            self.assertEqual(vhost_user.ping_pong(front, 50), (0, 0))
            front.close()
            self.assert_clean(daemon.stop())
        finally:
            stop.set()
            for thread in threads:
                thread.join()


class NoKeyForRings(TelemetryCase):
    def live(self, fail=()):
        """A DIMM comes and goes. Returns the bytes that are pinned then, and the Result."""
        self.eal = harness.eal(cores='0')
        self.prefix = self.eal[self.eal.index('--file-prefix') + 1]
        daemon = harness.Daemon(self, devices=['caps=+desc_group_mkey_supported'], fail=fail,
                                eal_args=self.eal)
        front = self.connect(daemon, dimms=1)
        front.set_mem_table()
        self.assertEqual(vhost_user.ping_pong(front, 20, first=20), (0, 0))
        self.wait_for('the end of the DIMM', lambda: self.ask_one('/mlx5_persist/iotlb,' + NAME)[
            'maps'] == 1)
        pinned = self.ask_one('/mlx5_persist/pins,' + NAME)['bytes'] - front.mem_bytes
        front.close()
        result = daemon.stop()
        self.assert_clean(result)
        return pinned, result

    def test_memory_that_left_is_unpinned(self):
        """The address space of the rings could not follow a change of maps: it goes, and keeps no
        memory pinned."""
        pinned, result = self.live()
        self.assertEqual(pinned, 0)
        # The last keys: all memory and the rings with the DIMM, then both without it.
        keys = result.count('CREATE_MKEY')
        pinned, result = self.live(['CREATE_MKEY:%d' % (keys - 2)])
        self.assertEqual(result.stderr.count('no address space for rings'), 1, result)
        self.assertEqual(pinned, 0, result)
        pinned, result = self.live(['CREATE_MKEY:%d' % keys])
        self.assertEqual(result.stderr.count('no address space for rings'), 1, result)
        self.assertEqual(pinned, 0, result)


class Drop(TelemetryCase):
    def test_waiting_pins(self):
        """Only what waits for a front-end is dropped, and it is dropped at once."""
        daemon = self.daemon('reconnect')
        front = self.connect(daemon)
        total = front.mem_bytes + 2 * DIMM
        self.assertIn('connected front-end', self.ask_one('/mlx5_persist/drop,' + NAME)['error'])
        self.assertEqual(vhost_user.ping_pong(front, 20), (0, 0))
        front.close()
        self.wait_for('waiting pins', lambda: self.ask_one('/mlx5_persist/info,' + NAME)[
            'waiting_bytes'] == total)
        self.assertEqual(self.ask_one('/mlx5_persist/drop,' + NAME), {'unpinned_bytes': total})
        self.assertEqual(self.ask_one('/mlx5_persist/pins,' + NAME)['bytes'], 0)
        self.assertEqual(self.ask_one('/mlx5_persist/drop,' + NAME), {'unpinned_bytes': 0})
        self.assert_clean(daemon.stop())


class Shells(TelemetryCase):
    def test_daemon(self):
        """The daemon's commands show the same, and drop."""
        daemon = self.daemon('reconnect', options=['--interactive'])
        front = self.connect(daemon)
        total = front.mem_bytes + 2 * DIMM
        self.type(daemon, 'show pins', r'bytes_total +%d\b' % total)
        self.type(daemon, 'show iotlb', r'last_rebuild +map added')
        self.type(daemon, 'drop ' + NAME, r'a connected front-end needs all')
        self.type(daemon, 'drop nosuch', r'no device nosuch')
        front.close()
        self.wait_for('waiting pins', lambda: self.ask_one('/mlx5_persist/info,' + NAME)[
            'waiting_bytes'] == total)
        self.type(daemon, 'show pins', r'bytes_waiting +%d\b' % total)
        self.type(daemon, 'drop ' + NAME, r'%d bytes are unpinned' % total)
        self.type(daemon, 'show nonsense', r'Bad arguments')
        self.assert_clean(daemon.stop())

    def type(self, daemon, command, pattern):
        """Type a command; wait for its answer."""
        daemon.process.stdin.write(command + '\n')
        daemon.process.stdin.flush()
        self.wait_for('%r to %r' % (pattern, command),
                      lambda: re.search(pattern, (self.dir / 'daemon.out').read_text()))

    def test_interactive(self):
        """Those of dpdk-test-vdpa. Without telemetry or a device of ours, a line says so."""
        for more, words in (((harness.vdev(),), 'bytes_total +%d' % (64 << 20)),
                            ((harness.vdev(), '--no-telemetry'), 'telemetry is off')):
            result = self.run_emu([harness.TEST_VDPA, *harness.eal(*more), '--', '--interactive',
                                   '--mem', '64M'],
                                  stdin='show pins\nshow iotlb\ndrop nosuch\nquit\n')
            self.assert_status(result, 0)
            self.assertRegex(result.stdout, words)
            self.assert_clean(result)
        result = self.run_program([harness.DAEMON, *harness.eal(), '--', '--interactive'],
                                  'show pins\nquit\n')
        self.assertIn('no device of vdpa_mlx5_persist', result.stdout)


if __name__ == '__main__':
    harness.main()
