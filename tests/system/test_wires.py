# SPDX-License-Identifier: BSD-3-Clause
"""The device's surroundings: frames through a tap of Linux, commands that take their time, and as
many queues as the device has."""
import ctypes
import fcntl
import os
import re
import socket
import struct

import harness
import vhost_user

TUN = '/dev/net/tun'
TAP = 'mlx5p-test'
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454ca, 0x0002, 0x1000
CLONE_NEWNET = 0x40000000
ETH_P_ALL = 3
PACKET_OUTGOING = 4


class Tap(harness.Case):
    """In a network of its own, where that may be made: nobody else sees the interface."""

    def setUp(self):
        super().setUp()
        home = os.open('/proc/thread-self/ns/net', os.O_RDONLY | os.O_CLOEXEC)
        self.addCleanup(os.close, home)
        self.libc = ctypes.CDLL(None, use_errno=True)
        if self.libc.unshare(CLONE_NEWNET) == 0:
            self.addCleanup(self.libc.setns, home, CLONE_NEWNET)

    def listen(self):
        """Linux's end of the wire, once it is there."""
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.addCleanup(sock.close)

        def bound():
            try:
                sock.bind((TAP, ETH_P_ALL))
            except OSError:
                return False
            return True
        self.wait_for(bound, 'the interface is up')
        sock.settimeout(harness.WAIT_TIMEOUT)
        return sock

    def heard(self, sock, frames):
        """Wait for frames; others, as the kernel sends of its own, are let pass."""
        due = list(frames)
        while due:
            frame, address = sock.recvfrom(65536)
            if address[2] != PACKET_OUTGOING and frame in due:
                due.remove(frame)

    def arrived(self, front, frames):
        """Likewise at the guest."""
        due = list(frames)
        while due:
            got = front.receive(1)
            self.assertTrue(got, '%d frames are missing' % len(due))
            due = [frame for frame in due if frame not in got]

    @staticmethod
    def can_be_made():
        """Whether this machine lets us have a tap."""
        try:
            fd = os.open(TUN, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.ioctl(fd, TUNSETIFF, struct.pack('16sH22x', TAP.encode(), IFF_TAP | IFF_NO_PI))
        except OSError:
            return False
        finally:
            os.close(fd)
        return True

    def test_frames(self):
        """Both ways, of all lengths, through resets; on a machine without taps, a line says so."""
        device = ['wire=tap:' + TAP]
        if not self.can_be_made():
            result = self.run_emu([harness.DAEMON, *harness.eal(), harness.vdev(), '--',
                                   '--interactive'], device, stdin='quit\n')
            self.assertIn('wire=tap:' + TAP, result.stderr)
            return
        for packed in (False, True):
            with self.subTest(packed=packed):
                self.exchange(device, packed)

    def exchange(self, device, packed):
        daemon = harness.Daemon(self, device)
        front = vhost_user.Frontend(daemon.socket(), pairs=2, packed=packed)
        front.start()
        sock = self.listen()
        for number in range(3):
            front.fill()
            for pair in range(2):
                frames = [vhost_user.frame(100 * number + length, length)
                          for length in (60, 61, 127, 128, 1000, 1513, 1514)]
                front.send(frames, pair)
                self.heard(sock, frames)
            for frame in frames:
                sock.send(frame)
            self.arrived(front, frames)
            front.stop()
            front.restart()
        front.close()
        sock.close()
        result = daemon.stop()
        self.assert_clean(result)
        self.assertGreaterEqual(result.report['devices'][0]['tx_packets'], 42)


class Latency(harness.Case):
    """The profile charges each command, and nothing goes wrong because of it."""

    def run_profile(self, profile, devargs):
        out = self.dir / 'bench.json'
        command = [harness.EMU_RUN, '--latency', profile, '--report', self.dir / 'report.json',
                   '--', harness.TEST_VDPA, *harness.eal(), harness.vdev(**devargs), '--',
                   '--bench', 'reset', '--mem', '64M', '--queues', 2, '--iterations', 3,
                   '--json', out]
        result = self.collect(self.run_program(command))
        self.assert_status(result, 0)
        data = harness.json.loads(out.read_text())
        self.assertIsNone(data['failed'])
        for key in ('corrupt', 'lost', 'duplicated'):
            self.assertEqual(data['packets'][key], 0, data['packets'])
        self.assert_clean(result)
        return result.report['commands']['by_opcode']

    def test_commands_take_their_time(self):
        for devargs in ({}, {'reuse_queues': 0}):
            with self.subTest(**devargs):
                free = self.run_profile('none', devargs)
                charged = self.run_profile('cx6dx', devargs)
                for opcode in ('MODIFY_GENERAL_OBJECT', 'CREATE_GENERAL_OBJECT', 'CREATE_MKEY'):
                    least = [stats[opcode]['ns'] / stats[opcode]['count']
                             for stats in (free, charged)]
                    self.assertGreater(least[1], least[0], opcode)


class Limits(harness.Case):
    """max_vqs=: all of them, and one more."""

    PAIRS = 16

    def test_all_queues(self):
        for packed in (False, True):
            with self.subTest(packed=packed):
                daemon = harness.Daemon(self, ['max_vqs=%d' % (2 * self.PAIRS)])
                front = vhost_user.Frontend(daemon.socket(), pairs=self.PAIRS, ring_size=64,
                                            packed=packed)
                front.start()
                self.assertEqual(front.get_u64(vhost_user.GET_QUEUE_NUM), self.PAIRS)
                for number in range(2):
                    front.fill()
                    for pair in range(self.PAIRS):
                        self.assertEqual(vhost_user.ping_pong(front, 20, pair, 1000 * number),
                                         (0, 0))
                    front.stop()
                    front.restart()
                front.close()
                self.assert_clean(daemon.stop())

    def test_one_more(self):
        """A front-end that does not ask how many there are: the queue beyond is refused with a
        line, and the next front-end has all others."""
        daemon = harness.Daemon(self, ['max_vqs=4'])
        front = vhost_user.Frontend(daemon.socket(), pairs=3, ring_size=64, mem_bytes=8 << 20)
        for ring in front.rings:
            ring.clear()
        front.connect()
        for name, step in front.start_steps():
            if name == 'GET_QUEUE_NUM':
                self.assertEqual(front.get_u64(vhost_user.GET_QUEUE_NUM), 2)
                continue
            try:
                step()
            except vhost_user.FrontendError:
                # A vhost library that passes the refusal on.
                self.assertRegex(name, ' [45]$')
                break
        front.disconnect()
        front = vhost_user.Frontend(daemon.socket(), pairs=2, ring_size=64, mem_bytes=8 << 20)
        front.start()
        front.fill()
        for pair in range(2):
            self.assertEqual(vhost_user.ping_pong(front, 40, pair), (0, 0))
        front.close()
        result = daemon.stop()
        self.assert_clean(result)
        self.assertEqual(len(re.findall('names virtqueue 4, the card has 4', result.stderr)), 1,
                         result)

    def test_too_many_for_a_benchmark(self):
        data, result = self.bench('reset', status=2, devices=['max_vqs=32'], mem='64M', queues=17)
        self.assertIsNone(data)
        self.assertIn('--queues 17: the device has 16 queue pairs', result.stderr)


if __name__ == '__main__':
    harness.main()
