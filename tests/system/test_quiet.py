# SPDX-License-Identifier: BSD-3-Clause
"""Suspended means quiet (contract C11): doorbells of a stopped queue start nothing and are not
lost; and descriptors for kicks and calls that are something else hurt nobody."""
import contextlib
import os
import socket
import struct
import threading
import time

import harness
import vhost_user

# An eventfd whose counter can't grow: a write to it blocks.
FULL = 0xfffffffffffffffe
QUIET = 0.2


class Stopped(harness.Case):
    """A guest that goes on kicking while its device does not run."""

    def start(self, **devargs):
        self.daemon = harness.Daemon(self, vdevs=[harness.vdev(**devargs)])
        self.front = vhost_user.Frontend(self.daemon.socket(), pairs=2)
        self.front.start()
        self.front.fill()
        for pair in range(2):
            self.assertEqual(vhost_user.ping_pong(self.front, 40, pair), (0, 0))

    def finish(self):
        self.front.close()
        self.assert_clean(self.daemon.stop())

    def used_index(self, ring):
        return struct.unpack_from('<H', self.front.mem, ring.used + 2)[0]

    def kick_all(self, times=50):
        for _ in range(times):
            for ring in self.front.rings:
                ring.ring_doorbell()

    def stands_still(self):
        before = bytes(self.front.mem)
        self.kick_all()
        time.sleep(QUIET)
        self.kick_all()
        self.assertEqual(before, bytes(self.front.mem), 'a stopped device wrote')

    def test_between_stop_and_start(self):
        """What was made available meanwhile goes out after the start without another kick."""
        for args in ({}, {'reuse_queues': 0}, {'event_mode': 1}):
            with self.subTest(**args):
                self.start(**args)
                front = self.front
                bases = [front.get_vring_base(ring.index) for ring in front.rings]
                for ring, base in zip(front.rings, bases):
                    self.assertEqual(base, self.used_index(ring))
                front.send([vhost_user.frame(i) for i in range(20)])
                self.stands_still()
                # Started again where it stood, as after a migration that was called off.
                for _, step in front.restart_steps():
                    step()
                got = front.receive(20)
                self.assertEqual(sorted(got), sorted(vhost_user.frame(i) for i in range(20)))
                self.finish()

    def test_disabled_ring(self):
        """One pair stands, the other goes on."""
        self.start()
        front = self.front
        front.enable(3, False)
        front.get_u64(vhost_user.GET_FEATURES)
        front.send([vhost_user.frame(i) for i in range(20)], pair=1)
        self.stands_still()
        self.assertEqual(vhost_user.ping_pong(front, 40, 0, first=500), (0, 0))
        front.enable(3, True)
        self.assertEqual(len(front.receive(20)), 20)
        self.finish()

    def test_before_the_first_start(self):
        self.start()
        self.front.disconnect()
        front = self.front
        front.begin()
        front.fill()
        front.send([vhost_user.frame(i) for i in range(10)])
        for name, step in front.start_steps():
            if 'DRIVER_OK' in name:
                self.stands_still()
            step()
        self.assertEqual(len(front.receive(10)), 10)
        self.finish()

    def test_storm(self):
        """Kicks without end through stops and starts."""
        self.start()
        leave = threading.Event()

        def storm():
            while not leave.is_set():
                self.kick_all(1)
        thread = threading.Thread(target=storm)
        thread.start()
        try:
            for _ in range(10):
                self.front.stop()
                self.front.restart()
                self.front.fill()
                self.assertEqual(vhost_user.ping_pong(self.front, 40), (0, 0))
        finally:
            leave.set()
            thread.join()
        self.finish()


class Descriptors(harness.Case):
    """What a front-end may send for a kick or a call, and that the device goes on with it."""

    def setUp(self):
        super().setUp()
        self.daemon = harness.Daemon(self)
        self.path = self.daemon.socket()
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)

    def owned(self, fd):
        self.stack.callback(os.close, fd)
        return fd

    def strange(self):
        """Descriptors by name."""
        def full_eventfd(flags):
            fd = self.owned(os.eventfd(0, flags))
            os.write(fd, struct.pack('<Q', FULL))
            return fd

        def pipes():
            return [self.owned(fd) for fd in os.pipe()]

        def full_pipe():
            _, out = pipes()
            os.set_blocking(out, False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    os.write(out, bytes(4096))
            os.set_blocking(out, True)
            return out

        def broken_pipe():
            into, out = os.pipe()
            os.close(into)
            return self.owned(out)

        def broken_socket():
            ours, theirs = socket.socketpair()
            ours.close()
            return self.owned(theirs.detach())

        regular = self.owned(os.memfd_create('regular'))
        return {
            'a full eventfd that blocks': full_eventfd(0),
            'a full eventfd': full_eventfd(os.EFD_NONBLOCK),
            'a semaphore': self.owned(os.eventfd(3, os.EFD_SEMAPHORE)),
            'a full pipe': full_pipe(),
            'a pipe that nobody reads': broken_pipe(),
            'the wrong end of a pipe': pipes()[0],
            'a socket without a peer': broken_socket(),
            'a regular file': regular,
            'a read-only file': self.owned(os.open('/dev/null', os.O_RDONLY)),
            'a directory': self.owned(os.open('/', os.O_RDONLY)),
        }, regular

    def run_with(self, which, fd):
        """A guest whose rings have that descriptor; it polls for its packets."""
        front = vhost_user.Frontend(self.path, mem_bytes=8 << 20, ring_size=64)
        proper = [(ring.kick, ring.call) for ring in front.rings]
        for ring in front.rings:
            setattr(ring, which, fd)
        try:
            front.start()
            for ring, (kick, call) in zip(front.rings, proper):
                ring.kick, ring.call = kick, call
            yield front
            front.stop()
        finally:
            for ring, (kick, call) in zip(front.rings, proper):
                ring.kick, ring.call = kick, call
            front.close()

    def a_good_one_works(self):
        front = vhost_user.Frontend(self.path, mem_bytes=8 << 20, ring_size=64)
        front.start()
        front.fill()
        self.assertEqual(vhost_user.ping_pong(front, 40), (0, 0))
        front.close()

    def test_call(self):
        strange, regular = self.strange()
        for name, fd in strange.items():
            with self.subTest(call=name):
                for front in self.run_with('call', fd):
                    front.fill()
                    self.assertEqual(vhost_user.ping_pong(front, 100), (0, 0))
        self.a_good_one_works()
        self.assertEqual(os.fstat(regular).st_size, 0, 'the driver wrote to a file')
        self.assert_clean(self.daemon.stop())

    def test_kick(self):
        """The device is rung once at its start at least: what is there then goes out."""
        strange, _ = self.strange()
        for name, fd in strange.items():
            with self.subTest(kick=name):
                for front in self.run_with('kick', fd):
                    time.sleep(0.05)
        self.a_good_one_works()
        self.assert_clean(self.daemon.stop())

    def test_none(self):
        """A guest that polls, and a device that is rung at its start alone."""
        front = vhost_user.Frontend(self.path, mem_bytes=8 << 20, ring_size=64)
        for ring in front.rings:
            ring.clear()
        front.connect()
        for name, step in front.start_steps():
            for message, request in (('SET_VRING_KICK', vhost_user.SET_VRING_KICK),
                                     ('SET_VRING_CALL', vhost_user.SET_VRING_CALL)):
                if name.startswith(message):
                    no_fd = int(name.split()[1]) | 1 << 8
                    front.command(request, struct.pack('<Q', no_fd))
                    break
            else:
                step()
        front.get_u64(vhost_user.GET_FEATURES)
        front.fill()
        front.send([vhost_user.frame(i) for i in range(10)])
        front.stop()
        front.restart()
        front.close()
        self.a_good_one_works()
        self.assert_clean(self.daemon.stop())

    def test_stop_under_a_blocked_call(self):
        """A guest that fills its eventfd again and again can't hold up anybody's stop."""
        fd = self.owned(os.eventfd(0, 0))
        leave = threading.Event()

        def filler():
            os.set_blocking(fd, False)
            while not leave.is_set():
                with contextlib.suppress(BlockingIOError):
                    os.write(fd, struct.pack('<Q', FULL))
                with contextlib.suppress(BlockingIOError):
                    os.read(fd, 8)
        thread = threading.Thread(target=filler)
        thread.start()
        try:
            for front in self.run_with('call', fd):
                front.fill()
                self.assertEqual(vhost_user.ping_pong(front, 300), (0, 0))
        finally:
            leave.set()
            thread.join()
        self.a_good_one_works()
        self.assert_clean(self.daemon.stop())

    def test_descriptors_do_not_leak(self):
        def open_files():
            return len(os.listdir('/proc/%d/fd' % self.daemon.program_pid()))
        self.a_good_one_works()
        time.sleep(0.3)
        before = open_files()
        strange, _ = self.strange()
        for _ in range(3):
            self.a_good_one_works()
            for front in self.run_with('call', strange['a full pipe']):
                front.fill()
        self.wait_for(lambda: open_files() <= before, 'descriptors are closed')
        self.assert_clean(self.daemon.stop())


if __name__ == '__main__':
    harness.main()
