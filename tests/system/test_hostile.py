# SPDX-License-Identifier: BSD-3-Clause
"""A guest whose rings are nonsense, split and packed: its queue goes to error, says so, is brought
back a bounded number of times and then stays down; the other queues do not notice, and a reset
heals it. And doorbells that are nonsense, rung at the card itself, at all times (contract C11)."""
import os
import struct
import threading
import time

import harness
import vhost_user
from vhost_user import DESC_F_INDIRECT, DESC_F_NEXT, DESC_F_WRITE, GPA

SIZE = 64
MEM = 8 << 20
# In the guest's memory, behind the rings.
SCRATCH, TABLE = 6 << 20, 7 << 20
OUTSIDE = GPA + (1 << 32)
HOLE = GPA - 4096
BAD_DESCRIPTOR, INVALID_BUFFER, TOO_LONG = (
    'BAD_DESCRIPTORS', 'INVALID_BUFFER', 'DESCRIPTOR_LIST_EXCEED_LIMIT')


def descriptors(*entries):
    """A table of (address, length, flags, next)."""
    return b''.join(struct.pack('<QIHH', *entry) for entry in entries)


def packed_descriptors(*entries):
    """A table of (address, length, flags)."""
    return b''.join(struct.pack('<QIHH', address, length, 0, flags)
                    for address, length, flags in entries)


class Hostile(harness.Case):
    """Two queue pairs: the second one's sender goes wrong, the first pair is the neighbour."""

    BAD = 3

    def serve(self, packed):
        self.daemon = harness.Daemon(self)
        self.front = vhost_user.Frontend(self.daemon.socket(), pairs=2, ring_size=SIZE,
                                         mem_bytes=MEM, packed=packed)
        self.front.start()
        self.front.fill()
        self.number = 0

    def flows(self, pairs=(0, 1)):
        self.number += 1000
        for pair in pairs:
            self.assertEqual(vhost_user.ping_pong(self.front, 40, pair, self.number), (0, 0), pair)

    def suffer(self, act, kind):
        """One piece of nonsense, from a fresh ring to a healed one."""
        front, daemon, ring = self.front, self.daemon, self.front.rings[self.BAD]
        said = 'virtqueue %d went to error: %s.*' % (self.BAD, kind)
        down = said + 'stays down'
        before, downs = len(daemon.errors(said)), len(daemon.errors(down))
        act(ring)
        ring.ring_doorbell()
        # It is met again after each recovery: no more than three of them.
        daemon.wait_errors(down, downs + 1)
        self.assertLessEqual(len(daemon.errors(said)) - before, 4)
        self.flows((0,))
        ring.ring_doorbell()
        front.stop()
        front.restart()
        front.fill()
        self.flows()

    def all_of(self, packed, acts):
        self.serve(packed)
        self.flows()
        for name, (act, kind) in acts.items():
            with self.subTest(packed=packed, nonsense=name):
                self.suffer(act, kind)
        self.front.close()
        result = self.daemon.stop()
        self.assert_clean(result, faults=False)
        others = [line for line in self.daemon.errors(r'virtqueue (\d+) went to error')
                  if int(line) != self.BAD]
        self.assertEqual(others, [], 'others suffered')

    def chain(self, *segments):
        """A chain of the usual form."""
        return lambda ring: ring.push_chain(list(segments))

    def table(self, content, length=None, flags=DESC_F_INDIRECT):
        """A descriptor that refers to a table."""
        def act(ring):
            self.front.mem[TABLE:TABLE + len(content)] = content
            self.raw(ring, GPA + TABLE, len(content) if length is None else length, flags)
        return act

    @staticmethod
    def raw(ring, address, length, flags, following=0):
        """A descriptor as it stands there."""
        if isinstance(ring, vhost_user.PackedRing):
            ring.write_chain(0, [(address, length, flags)])
        else:
            struct.pack_into('@QIHH', ring.mem, ring.desc, address, length, flags, following)
            ring.offer(0)

    def common(self):
        good = GPA + SCRATCH
        return {
            'an address outside of memory': (self.chain((OUTSIDE, 64, 0)), INVALID_BUFFER),
            'an address below memory': (self.chain((HOLE, 64, 0)), INVALID_BUFFER),
            'a buffer across the end of memory':
                (self.chain((GPA + MEM - 32, 64, 0)), INVALID_BUFFER),
            'an address that wraps around':
                (self.chain(((1 << 64) - 16, 64, 0)), INVALID_BUFFER),
            'no bytes': (self.chain((good, 0, 0)), BAD_DESCRIPTOR),
            'less than a header': (self.chain((good, 11, 0)), BAD_DESCRIPTOR),
            'a buffer to write, to be sent': (self.chain((good, 64, DESC_F_WRITE)), BAD_DESCRIPTOR),
            'a table of a length that is none': (self.table(bytes(24)), BAD_DESCRIPTOR),
            'a table of no bytes': (self.table(b'', 0), BAD_DESCRIPTOR),
            'a table outside of memory': (
                lambda ring: self.raw(ring, OUTSIDE, 16, DESC_F_INDIRECT), INVALID_BUFFER),
            'a table with more behind it': (
                self.table(bytes(16), flags=DESC_F_INDIRECT | DESC_F_NEXT), BAD_DESCRIPTOR),
            'a table longer than the ring': (self.table(bytes(16 * (SIZE + 1))), TOO_LONG),
        }

    def test_split(self):
        good = GPA + SCRATCH

        def loop(ring):
            for desc in range(2):
                struct.pack_into('@QIHH', ring.mem, ring.desc + 16 * desc, good, 64, DESC_F_NEXT,
                                 1 - desc)
            ring.offer(0)

        def jump(by):
            def act(ring):
                ring.next_avail = ring.next_avail + by & 0xffff
                ring.offer(0)
            return act
        self.all_of(False, {
            **self.common(),
            'a loop': (loop, TOO_LONG),
            'a loop in a table': (self.table(descriptors(
                (good, 64, DESC_F_NEXT, 1), (good, 64, DESC_F_NEXT, 0))), TOO_LONG),
            'a table in a table': (self.table(descriptors(
                (GPA + TABLE, 16, DESC_F_INDIRECT, 0))), BAD_DESCRIPTOR),
            'a table that goes on outside itself': (self.table(descriptors(
                (good, 64, DESC_F_NEXT, 9))), BAD_DESCRIPTOR),
            'a chain that goes on outside the ring': (
                lambda ring: self.raw(ring, good, 64, DESC_F_NEXT, SIZE), BAD_DESCRIPTOR),
            'a first descriptor outside the ring': (
                lambda ring: ring.offer(0xffff), BAD_DESCRIPTOR),
            'an index that jumps ahead': (jump(SIZE), BAD_DESCRIPTOR),
            'an index that jumps back': (jump(-2), BAD_DESCRIPTOR),
        })

    def test_packed(self):
        good = GPA + SCRATCH

        def endless(ring):
            ring.write_chain(0, [(good, 64, DESC_F_NEXT)] * SIZE)

        def around(ring):
            """From the middle of the ring around its end, every descriptor available in its lap."""
            endless(ring)
            for slot in range(SIZE):
                struct.pack_into('@H', ring.mem, ring.desc + 16 * slot + 14,
                                 DESC_F_NEXT | ring.AVAIL)
        self.all_of(True, {
            **self.common(),
            'a chain without end': (endless, TOO_LONG),
            'a chain without end that does not look at its lap': (around, TOO_LONG),
            'a table of buffers to write': (self.table(packed_descriptors(
                (good, 64, DESC_F_WRITE))), BAD_DESCRIPTOR),
            'a table with a buffer outside': (self.table(packed_descriptors(
                (good, 12, 0), (OUTSIDE, 64, 0))), INVALID_BUFFER),
        })

    def test_buffers_to_receive_into(self):
        """The same queue of a guest with one pair; it fails when a frame comes, and no sooner."""
        good = GPA + SCRATCH
        for packed in (False, True):
            self.daemon = harness.Daemon(self)
            front = vhost_user.Frontend(self.daemon.socket(), ring_size=SIZE, mem_bytes=MEM,
                                        packed=packed)
            self.front, self.number = front, 0
            front.start()
            for name, (act, kind) in {
                    'a buffer to read': (self.chain((good, 2048, 0)), BAD_DESCRIPTOR),
                    'a buffer outside of memory':
                        (self.chain((OUTSIDE, 2048, DESC_F_WRITE)), INVALID_BUFFER),
                    'a second buffer outside of memory':
                        (self.chain((good, 20, DESC_F_WRITE), (OUTSIDE, 2048, DESC_F_WRITE)),
                         INVALID_BUFFER),
                    'no bytes': (self.chain((good, 0, DESC_F_WRITE)), BAD_DESCRIPTOR),
                    'a table outside of memory': (
                        lambda ring: self.raw(ring, OUTSIDE, 16, DESC_F_INDIRECT),
                        INVALID_BUFFER)}.items():
                with self.subTest(packed=packed, nonsense=name):
                    self.meet(act, 'virtqueue 0 went to error: ' + kind)
            front.close()
            result = self.daemon.stop()
            self.assert_clean(result, faults=False)
            self.assertNotIn('virtqueue 1 went', result.stderr)

    def meet(self, act, said):
        """Frames, until the queue stays down; then a reset."""
        front, daemon = self.front, self.daemon
        act(front.rings[0])
        front.rings[0].ring_doorbell()
        downs = len(daemon.errors(said + '.*stays down'))
        while len(daemon.errors(said + '.*stays down')) == downs:
            before = len(daemon.errors(said))
            front.send([vhost_user.frame(0)])
            daemon.wait_errors(said, before + 1)
        self.assertEqual(front.receive(1, timeout=0), [])
        front.stop()
        front.restart()
        front.fill()
        self.flows((0,))
        front.stop()
        front.restart()

    def test_packed_names(self):
        """A name is the guest's own affair: the device tells it again, whatever it is."""
        self.serve(True)
        ring = self.front.rings[self.BAD]
        for name in (SIZE, 0x7fff, 0xffff):
            packet = bytes(self.front.hdr_len) + vhost_user.frame(name)
            self.front.mem[SCRATCH:SCRATCH + len(packet)] = packet
            ring.write_chain(name, [(GPA + SCRATCH, len(packet), 0)])
            ring.ring_doorbell()
            self.assertEqual(self.front.receive(1), [vhost_user.frame(name)])
            self.assertEqual(self.wait_for(ring.pop, 'the packet is used')[0], name)
        self.flows()
        self.front.close()
        self.assert_clean(self.daemon.stop())

    def test_oversized_packets(self):
        """Longer than any packet may be, but all in memory: dropped, and nothing else happens."""
        for packed in (False, True):
            with self.subTest(packed=packed):
                self.serve(packed)
                ring = self.front.rings[self.BAD]
                for length in (9000, 70000, 1 << 20):
                    name = ring.push_chain([(GPA + SCRATCH, length, 0)])
                    ring.ring_doorbell()
                    self.assertEqual(self.wait_for(ring.pop, 'the packet is used')[0], name)
                    ring.release(name)
                while self.front.receive(1, timeout=0.1):
                    pass
                self.flows()
                self.front.close()
                result = self.daemon.stop()
                self.assert_clean(result)
                self.assertNotIn('went to error', result.stderr)


class Doorbells(harness.Case):
    """The card's page is the guest's to write to: any value, anywhere in it, without end."""

    PAIRS = 2

    def storm(self, pages):
        """Writes random words until the test ends."""
        leave = threading.Event()
        noise = os.urandom(4096)
        words = [struct.pack('<I', value) for value in
                 (0, 1, 2, 3, 4, 5, 0xffff, 0x8000, 0xffffffff, 0xffff0000, 0x30002)]

        def run():
            turn = 0
            while not leave.is_set():
                turn += 1
                for page in pages:
                    page[0:4] = words[turn % len(words)]
                    at = 4 * (turn % 1024)
                    page[at:at + 4] = noise[at:at + 4]
                time.sleep(0)
        thread = threading.Thread(target=run)
        thread.start()

        def end():
            leave.set()
            thread.join()
        self.addCleanup(end)
        return end

    def frontend(self):
        self.notifiers = vhost_user.Notifiers()
        self.addCleanup(self.notifiers.close)
        return vhost_user.Frontend(self.daemon.socket(), pairs=self.PAIRS, ring_size=SIZE,
                                   mem_bytes=MEM, packed=self.packed, notifiers=self.notifiers)

    def flows(self, front, first):
        for pair in range(self.PAIRS):
            self.assertEqual(vhost_user.ping_pong(front, 40, pair, first), (0, 0))

    def quiet(self, front):
        before = bytes(front.mem)
        time.sleep(0.1)
        self.assertEqual(before, bytes(front.mem), 'a device that does not run wrote')

    def run_all(self, packed):
        self.packed = packed
        self.daemon = harness.Daemon(self)
        front = self.frontend()
        front.start()
        front.fill()
        self.flows(front, 0)
        self.wait_for(lambda: len(self.notifiers.offers) >= 2 * self.PAIRS, 'doorbells')
        pages = [ring.doorbell for ring in front.rings]
        end = self.storm(pages)
        # Running, stopped (a ring, then all), reset; what is made available meanwhile goes out.
        for number in range(4):
            self.flows(front, 1000 * number)
            front.get_vring_base(3)
            front.send([vhost_user.frame(500 + i) for i in range(20)], 1)
            for index in (0, 1, 2):
                front.get_vring_base(index)
            front.send([vhost_user.frame(600 + i) for i in range(20)], 0)
            self.quiet(front)
            front.set_status(0)
            self.quiet(front)
            for _, step in front.restart_steps():
                step()
            front.get_u64(vhost_user.GET_FEATURES)
            got = front.receive(40)
            self.assertEqual(sorted(got), sorted(vhost_user.frame(base + i)
                                                 for base in (500, 600) for i in range(20)))
        # At a disconnect, and under the next front-end.
        front.send([vhost_user.frame(i) for i in range(20)])
        front.disconnect()
        again = self.frontend()
        again.start()
        again.fill()
        self.flows(again, 5000)
        again.stop()
        self.quiet(again)
        again.command(vhost_user.RESET_OWNER)
        self.quiet(again)
        again.close()
        end()
        self.assert_clean(self.daemon.stop())
        front.close()

    def test_split(self):
        self.run_all(False)

    def test_packed(self):
        self.run_all(True)


if __name__ == '__main__':
    harness.main()
