# SPDX-License-Identifier: BSD-3-Clause
"""vhost-user messages that a good front-end does not send: malformed, repeated, out of order. Each
is refused or harmless; the daemon lives, and the next good front-end gets a whole device."""
import contextlib
import os
import re
import struct
import time

import harness
import vhost_user

TOO_MANY = 9
KIB = 1 << 10
MIB = 1 << 20
HVA = 0x7f00_0000_0000
GPA = vhost_user.GPA

SET_VRING_ERR = 14
SEND_RARP = 19
IOTLB_MSG = 22
POSTCOPY_ADVISE, POSTCOPY_LISTEN = 28, 29
GET_INFLIGHT_FD, SET_INFLIGHT_FD = 31, 32
ACCESS_PLATFORM = 1 << 33

IOTLB_UPDATE, IOTLB_INVALIDATE = 2, 3


class Messages(harness.Case):
    """One daemon for all messages of a test."""

    DEVARGS = {}

    def setUp(self):
        super().setUp()
        self.daemon = harness.Daemon(
            self, vdevs=[harness.vdev(**self.DEVARGS)],
            eal_args=harness.eal('--log-level=lib.vhost.iotlb:info', cores='0'))
        self.path = self.daemon.socket()
        self.number = 0
        self.fronts = []

    @contextlib.contextmanager
    def case(self, **params):
        """A subtest that does not keep the device from the next one."""
        with self.subTest(**params):
            try:
                yield
            finally:
                for front in self.fronts:
                    front.disconnect()
                self.fronts.clear()

    def frontend(self, **kwargs):
        front = vhost_user.Frontend(self.path, mem_bytes=4 * MIB, ring_size=64, **kwargs)
        self.addCleanup(front.disconnect)
        self.fronts.append(front)
        return front

    def log(self):
        return (self.dir / 'daemon.err').read_text(errors='replace')

    def wait_log(self, text, count=1):
        """Lines of the daemon come on another thread's time."""
        deadline = time.monotonic() + harness.WAIT_TIMEOUT
        while self.log().count(text) < count:
            self.assertLess(time.monotonic(), deadline, 'no "%s" in\n%s' % (text, self.log()))
            time.sleep(0.02)

    def traffic(self, front, count=10):
        front.fill()
        self.number += count
        self.assertEqual(vhost_user.ping_pong(front, count, first=self.number), (0, 0))

    def started(self):
        front = self.frontend()
        front.start()
        self.traffic(front)
        return front

    def good(self):
        """A front-end that does all right gets service."""
        front = self.started()
        front.close()

    def good_after(self, front):
        """It goes, and the device is whole."""
        front.close()
        self.assertIsNone(self.daemon.process.poll(), self.log())
        self.good()

    def fails(self, front, request, payload=b'', fds=()):
        """The message is answered with an error, or with the connection's end."""
        with self.assertRaises(vhost_user.FrontendError, msg='request %d' % request):
            front.command(request, payload, fds)

    def alive(self, front):
        """Does the connection stand?"""
        try:
            front.get_u64(vhost_user.GET_FEATURES)
            return True
        except (vhost_user.FrontendError, OSError):
            return False

    def run_steps(self, *steps):
        """Several tests on one daemon, which takes a while to start."""
        for step in steps:
            with self.case(step=step.__name__):
                step()
        return self.finish()

    def finish(self, faults=True):
        result = self.daemon.stop()
        self.assert_clean(result, faults)
        return result.stderr

    def owner_again(self, front):
        """What a front-end says after RESET_OWNER."""
        front.protocol_features = 0
        front.get_u64(vhost_user.GET_FEATURES)
        for ring in front.rings:
            ring.clear()
        for _, step in front.start_steps():
            step()
        front.get_u64(vhost_user.GET_FEATURES)


def regions(*items):
    """The payload of a memory table: (guest address, size, userspace address, offset) each."""
    return struct.pack('<II', len(items), 0) + b''.join(struct.pack('<QQQQ', *i) for i in items)


class Tables(Messages):
    """SET_MEM_TABLE."""

    def test_tables(self):
        self.run_steps(self.seen_before_it_is_mapped, self.descriptors,
                       self.table_lost_while_running, self.empty_and_repeated)

    def bad_table(self, payload, fds, line):
        """On a device that runs: refused."""
        front = self.started()
        lines = self.log().count(line)
        self.fails(front, vhost_user.SET_MEM_TABLE, payload, fds)
        self.wait_log(line, lines + 1)
        return front

    def bad_first_table(self, payload, fds):
        """A file that ends too soon. The front-end is sent away, before the vhost library can meet
        a ring there. (On a device that runs it looks at the rings first: nobody can help it.)"""
        front = self.frontend()
        front.connect()
        for name, step in front.start_steps():
            if name == 'SET_MEM_TABLE':
                break
            step()
        self.fails(front, vhost_user.SET_MEM_TABLE, payload, fds)
        self.assertFalse(self.alive(front))
        self.assertIn('beyond the end of its file', self.log())
        return front

    def seen_before_it_is_mapped(self):
        """The device goes on with the table that it has."""
        with tempfile_memfd(4 * MIB) as fd:
            first = (GPA, MIB, HVA, 0)
            for name, payload, fds, line in (
                    ('size 0', regions((GPA, 0, HVA, 0)), [fd], 'its size is 0'),
                    ('wraps', regions((2**64 - MIB + 1, MIB, HVA, 0)), [fd],
                     'runs past the last guest address'),
                    ('userspace wraps', regions((GPA, MIB, 2**64 - MIB, 0)), [fd],
                     'runs past the last userspace address'),
                    ('offset wraps', regions((GPA, MIB, HVA, 2**64 - MIB + 1)), [fd],
                     'runs past the end of any file'),
                    ('overlap', regions(first, (GPA + MIB - 1, MIB, HVA + MIB, 0)), [fd, fd],
                     'it overlaps another region'),
                    ('too many', regions(*[(GPA + i * MIB, MIB, HVA + i * MIB, 0)
                                           for i in range(TOO_MANY)]), [fd] * 8,
                     'it has more than 8 regions'),
                    ('short', regions(first)[:-8], [fd], 'wrong length'),
                    ('no payload', b'', [fd], 'wrong length'),
                    ('long', regions(first) + bytes(8), [fd], 'wrong length')):
                with self.case(name=name):
                    front = self.bad_table(payload, fds, line)
                    self.assertTrue(self.alive(front))
                    self.traffic(front)
                    self.good_after(front)

    def descriptors(self):
        """Which the vhost library looks at before anybody else can."""
        pipe = os.pipe()
        with tempfile_memfd(4 * MIB) as fd, tempfile_memfd(64 * KIB) as small:
            first = (GPA, 4 * MIB, HVA, 0)
            for name, payload, fds, line in (
                    ('missing', regions(first), [], 'expect 1 FDs'),
                    ('too many', regions(first), [fd, fd], 'expect 1 FDs'),
                    ('pipe', regions((GPA, MIB, HVA, 0)), [pipe[0]], 'mmap failed'),
                    ('device', regions((GPA, MIB, HVA, 0)), [self.device()],
                     'no regular file or memfd'),
                    ):
                with self.case(name=name):
                    self.good_after(self.bad_table(payload, fds, line))
            for name, payload, fds in (
                    ('too short', regions((GPA, MIB, HVA, 0)), [small]),
                    ('offset beyond', regions((GPA, MIB, HVA, 4 * MIB)), [fd])):
                with self.case(name=name):
                    self.good_after(self.bad_first_table(payload, fds))
        for end in pipe:
            os.close(end)

    def device(self):
        fd = os.open('/dev/zero', os.O_RDWR)
        self.addCleanup(os.close, fd)
        return fd

    def table_lost_while_running(self):
        """The vhost library drops the old table before it maps the new one, and asks for a start
        all the same: the device stays down, and a good table brings it back."""
        front = self.started()
        pipe = os.pipe()
        self.fails(front, vhost_user.SET_MEM_TABLE, regions((GPA, MIB, HVA, 0)), [pipe[0]])
        self.wait_log('has no memory table')
        for _ in range(3):
            self.assertTrue(self.alive(front))
        front.set_mem_table()
        front.stop()
        front.restart()
        self.traffic(front)
        self.good_after(front)
        for end in pipe:
            os.close(end)

    def empty_and_repeated(self):
        """No memory at all is a table, too: the rings are gone with it. One that was there before
        is no change."""
        front = self.started()
        for _ in range(3):
            front.set_mem_table()
        self.traffic(front)
        front.command(vhost_user.SET_MEM_TABLE, regions())
        self.assertTrue(self.alive(front))
        self.good_after(front)


@contextlib.contextmanager
def tempfile_memfd(size):
    fd = os.memfd_create('test', os.MFD_CLOEXEC)
    os.ftruncate(fd, size)
    yield fd
    os.close(fd)


class Lengths(Messages):
    """Payloads that are cut short or too long."""

    def test_lengths(self):
        self.run_steps(self.wrong_lengths, self.get_vring_base, self.more_than_any_message)

    U64 = (vhost_user.SET_FEATURES, vhost_user.SET_PROTOCOL_FEATURES, vhost_user.SET_VRING_KICK,
           vhost_user.SET_VRING_CALL, SET_VRING_ERR, vhost_user.NET_SET_MTU, vhost_user.SET_STATUS)
    STATE = (vhost_user.SET_VRING_NUM, vhost_user.SET_VRING_BASE, vhost_user.SET_VRING_ENABLE)

    def wrong_lengths(self):
        """Right behind each a good front-end is served."""
        front = None
        for request in self.U64 + self.STATE + (vhost_user.SET_VRING_ADDR, IOTLB_MSG):
            for size in (4, 200):
                with self.subTest(request=request, size=size):
                    if front is None:
                        front = self.started()
                    fds = [front.rings[0].kick] if request in (
                        vhost_user.SET_VRING_KICK, vhost_user.SET_VRING_CALL) else []
                    count = self.log().count('wrong length')
                    self.fails(front, request, bytes(size), fds)
                    self.wait_log('wrong length', count + 1)
                    if not self.alive(front):
                        front.close()
                        front = None
        if front is not None:
            front.close()
        self.good()

    def get_vring_base(self):
        """Its answer has left when it is known that it is refused."""
        front = self.started()
        front._send(vhost_user.GET_VRING_BASE, struct.pack('<I', 0), (), 0)
        self.wait_log('GET_VRING_BASE refused: its payload has the wrong length')
        self.good_after(front)

    def more_than_any_message(self):
        """The vhost library ends the connection."""
        front = self.started()
        header = struct.pack('<III', vhost_user.SET_FEATURES, 1, 1 << 20)
        front.sock.sendall(header + bytes(4096))
        self.wait_log('invalid msg size')
        self.good_after(front)


class Order(Messages):
    """Good messages at odd times."""

    def test_order(self):
        err = self.run_steps(self.nothing_first, self.features, self.iotlb_when_it_is_off,
                             self.not_offered, self.odd_statuses)
        self.assertEqual(err.count('IOTLB_MSG refused: the IOTLB is not in use'), 5)
        self.assertEqual(err.count('it is not offered'), 4)

    def nothing_first(self):
        """GET_VRING_BASE, RESET_OWNER, statuses, before anything: on a connection that has said
        nothing, and on one with features."""
        for features in (False, True):
            with self.case(features=features):
                front = self.frontend()
                front.connect()
                if features:
                    for _, step in front.start_steps()[:6]:
                        step()
                self.assertEqual(front.get_vring_base(0), 0)
                self.assertEqual(front.get_vring_base(1), 0)
                for status in (0, 4, 0xff, 0):
                    front.command(vhost_user.SET_STATUS, struct.pack('<Q', status))
                front.command(vhost_user.RESET_OWNER)
                front.protocol_features = 0
                front.command(vhost_user.RESET_OWNER)
                self.assertTrue(self.alive(front))
                self.good_after(front)

    def features(self):
        """Bits that are not offered, ACCESS_PLATFORM among them: iommu=off."""
        front = self.frontend()
        front.connect()
        offered = front.get_u64(vhost_user.GET_FEATURES)
        self.assertFalse(offered & ACCESS_PLATFORM)
        for _, step in front.start_steps()[:5]:
            step()
        for bit in (ACCESS_PLATFORM, 1 << 63):
            self.assertFalse(offered & bit)
            self.fails(front, vhost_user.SET_FEATURES, struct.pack('<Q', front.features | bit))
        front.set_status(vhost_user.STATUS_FEATURES_OK)
        self.assertEqual(front.get_u64(vhost_user.GET_STATUS) & vhost_user.STATUS_FEATURES_OK, 0)
        front.restart()
        self.traffic(front)
        self.fails(front, vhost_user.SET_FEATURES,
                   struct.pack('<Q', front.features | ACCESS_PLATFORM))
        self.traffic(front)
        self.good_after(front)

    def iotlb_when_it_is_off(self):
        front = self.started()
        for kind in (IOTLB_UPDATE, IOTLB_INVALIDATE, 1, 0, 255):
            self.fails(front, IOTLB_MSG,
                       struct.pack('<QQQBB6x', GPA, 4 * MIB, front.hva, 3, kind))
        self.traffic(front)
        self.good_after(front)

    def not_offered(self):
        """Messages of protocol features that are not offered; the library would handle them."""
        front = self.started()
        self.fails(front, POSTCOPY_ADVISE)
        self.fails(front, POSTCOPY_LISTEN)
        self.fails(front, GET_INFLIGHT_FD, struct.pack('<QQHH4x', 0, 0, 0xffff, 0xffff))
        self.fails(front, SET_INFLIGHT_FD, struct.pack('<QQHH4x', 1 << 30, 0, 1, 0xffff),
                   [front.rings[0].kick])
        self.fails(front, 200)
        self.traffic(front)
        self.good_after(front)

    def odd_statuses(self):
        """A reset that is nothing but a status, and DRIVER_OK more than once."""
        front = self.started()
        ready = (vhost_user.STATUS_ACKNOWLEDGE | vhost_user.STATUS_DRIVER |
                 vhost_user.STATUS_FEATURES_OK | vhost_user.STATUS_DRIVER_OK)
        for status in (ready, ready, 0x80, ready):
            front.set_status(status)
        self.traffic(front)
        resets = len(re.findall('virtio reset by [A-Z]', self.log()))
        front.set_status(0)
        self.wait_log('virtio reset by SET_STATUS: 1 of 1 maps kept')
        front.send([vhost_user.frame(0)])
        self.assertEqual(front.receive(1, timeout=0.2), [], 'the device runs on')
        front.set_status(0)
        self.fails(front, vhost_user.SET_STATUS, struct.pack('<Q', 1 << 8))
        for ring in front.rings:
            ring.clear()
            front.command(vhost_user.SET_VRING_BASE, struct.pack('<II', ring.index, 0))
        front.set_status(ready)
        self.traffic(front)
        front.set_status(0)
        front.stop()
        front.restart()
        self.traffic(front)
        self.assertEqual(self.log().count('virtio reset by SET_STATUS'), 2)
        self.assertEqual(len(re.findall('virtio reset by [A-Z]', self.log())), resets + 2)
        self.good_after(front)


class ResetOwner(Messages):
    """RESET_OWNER is a reset of the device, and neither a release nor two."""

    def test_reset_owner(self):
        self.run_steps(self.repeated_in_traffic, self.after_a_stop, self.refused_and_gone)

    def finish(self, faults=True):
        result = self.daemon.stop()
        self.assert_clean(result, faults)
        # Once for each connection, not once a reset. Buffers of queues are a few pages.
        connections = result.stderr.count('IOTLB_PERSIST acknowledged')
        self.assertEqual(result.report['pins']['bytes_total'] // MIB, 4 * connections, result)
        return result.stderr

    def repeated_in_traffic(self):
        front = self.started()
        for _ in range(3):
            front.send([vhost_user.frame(i) for i in range(8)])
            front._send(vhost_user.RESET_OWNER, b'', (), 0)
            front._send(vhost_user.RESET_OWNER, b'', (), 0)
            self.owner_again(front)
            self.traffic(front)
        front.close()
        self.wait_log('detached')
        err = self.log()
        self.assertEqual(err.count('virtio reset by RESET_OWNER: 1 of 1 maps kept'), 3, err)
        self.assertEqual(err.count('RESET_OWNER: 1 maps stay'), 6, err)
        self.assertEqual(err.count('0 changes: the maps stay'), 3, err)

    def after_a_stop(self):
        """The stop was the reset."""
        resets = len(re.findall('virtio reset by [A-Z]', self.log()))
        front = self.started()
        front.stop()
        front._send(vhost_user.RESET_OWNER, b'', (), 0)
        self.owner_again(front)
        self.traffic(front)
        self.assertEqual(len(re.findall('virtio reset by [A-Z]', self.log())), resets + 1)
        self.good_after(front)

    def refused_and_gone(self):
        """With a descriptor it is refused by the vhost library, which ends the connection: then it
        was the end."""
        front = self.started()
        front._send(vhost_user.RESET_OWNER, b'', [front.rings[0].kick], 0)
        self.wait_log('expect 0 FDs')
        self.wait_log('detached', self.log().count('acknowledged'))
        self.good_after(front)


class Off(Messages):
    """persist=off, for comparison: a virtio reset drops all pins, and nothing else does."""

    DEVARGS = {'persist': 'off'}

    def test_hotplug_is_no_reset(self):
        front = self.started()
        with tempfile_memfd(2 * MIB) as dimm:
            front.set_mem_table([(dimm, 2 * MIB)])
            front.get_u64(vhost_user.GET_FEATURES)
            self.traffic(front)
            front.stop()
            front.restart()
            self.traffic(front)
        front.close()
        result = self.daemon.stop()
        self.assert_clean(result)
        # 4 MiB, 2 more, and after the reset, in which the 2 left, 4 again.
        self.assertEqual(result.report['pins']['bytes_total'] // MIB, 4 + 2 + 4, result)
        self.assertIn('stopped for a memory table that changes', result.stderr)

    def test_each_kind_of_reset(self):
        """Each drops all, once; a ring that is disabled is none."""
        front = self.started()
        for on in (False, True):
            for ring in front.rings:
                front.enable(ring.index, on)
        self.traffic(front)
        front.stop()
        front.restart()
        self.traffic(front)
        front.set_status(0)
        front.restart()
        self.traffic(front)
        front._send(vhost_user.RESET_OWNER, b'', (), 0)
        self.owner_again(front)
        self.traffic(front)
        front.close()
        result = self.daemon.stop()
        self.assert_clean(result)
        self.assertEqual(result.report['pins']['bytes_total'] // MIB, 4 * 4, result)
        for kind in ('GET_VRING_BASE', 'SET_STATUS', 'RESET_OWNER'):
            self.assertEqual(result.stderr.count('virtio reset by %s: 0 of 1 maps kept' % kind), 1,
                             result)


if __name__ == '__main__':
    harness.main()
