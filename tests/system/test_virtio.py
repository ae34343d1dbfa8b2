# SPDX-License-Identifier: BSD-3-Clause
"""Rings as a guest's driver may have them, split and packed: sizes, chains, headers, indices that
go on, events that are suppressed, orders of enabling; and flows that spread over enabled ones."""
import itertools
import os
import random
import select
import struct
import time

import harness
import vhost_user
from vhost_user import DESC_F_WRITE, GPA

ETHER = bytes.fromhex('020000000001020000000002')
SIZES = 64, 256, 1024, 32768
# Where the device starts, as distances from the end of the ring.
BEFORE_THE_END = 1, 20


def udp(port, payload):
    """A frame of a flow of its own: IPv4 and UDP, from a port."""
    body = struct.pack('>HHHH', port, 7, 8 + len(payload), 0) + payload
    header = struct.pack('>BBHHHBBH4s4s', 0x45, 0, 20 + len(body), 1, 0, 64, 17, 0,
                         bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]))
    total = sum(struct.unpack('>10H', header))
    total = (total & 0xffff) + (total >> 16)
    total = (total & 0xffff) + (total >> 16)
    header = header[:10] + struct.pack('>H', 0xffff - total) + header[12:]
    return ETHER + b'\x08\x00' + header + body


class Split(harness.Case):
    """One daemon, and a guest after the other."""

    packed = False

    def test_all(self):
        self.daemon = harness.Daemon(self)
        for name in dir(self):
            if name.startswith('check_'):
                self.front = None
                with self.subTest(name):
                    try:
                        getattr(self, name)()
                    finally:
                        if self.front:
                            self.front.disconnect()
        self.assert_clean(self.daemon.stop())

    def frontend(self, **options):
        self.front = vhost_user.Frontend(self.daemon.socket(), packed=self.packed, **options)
        return self.front

    def play(self, front, steps=None):
        """A start sequence without clearing the rings."""
        front.protocol_features = 0
        front.connect()
        for _, step in steps or front.start_steps():
            step()
        front.get_u64(vhost_user.GET_FEATURES)

    def flows(self, front, count=100, first=0):
        for pair in range(front.pairs):
            self.assertEqual(vhost_user.ping_pong(front, count, pair, first), (0, 0), pair)

    def position(self, size, distance, lap):
        """An index near the end of the ring, in one lap or another."""
        if self.packed:
            return size - distance | (vhost_user.PACKED_WRAP if lap else 0)
        return (0x10000 if lap else 3 * size) - distance & 0xffff

    def check_sizes_and_first_indices(self):
        """Of each size, from indices at which a guest that moved may stand: near the end."""
        for size in SIZES:
            for distance, lap in zip(BEFORE_THE_END, (0, 1)):
                with self.subTest(size=size, distance=distance):
                    mem = 2 * size * vhost_user.BUFFER_LEN + (4 << 20)
                    front = self.frontend(ring_size=size, mem_bytes=mem)
                    for ring in front.rings:
                        ring.start_at(self.position(size, distance, lap))
                    self.play(front)
                    self.give(front, min(size, 64))
                    self.flows(front, min(size + 80, 200))
                    front.reap()
                    bases = front.stop()
                    self.assertEqual(bases, [ring.next_used for ring in front.rings])
                    front.close()

    def give(self, front, count):
        """Some receive buffers, where all would take long."""
        for ring in front.rings[0::2]:
            for _ in range(count):
                ring.push(ring.free.pop(0), vhost_user.BUFFER_LEN, DESC_F_WRITE)
            ring.ring_doorbell()

    def check_legacy_header(self):
        """A guest from before virtio 1.0 has no packed rings, and a header of two bytes less."""
        if self.packed:
            return
        front = self.frontend(legacy=True)
        front.start()
        for _ in range(2):
            front.fill()
            self.flows(front)
            front.stop()
            front.restart()
        front.close()

    def check_indices_go_on(self):
        """Through resets that clear the rings, stops that do not, and rings that are disabled."""
        front = self.frontend(ring_size=64, pairs=2)
        front.start()
        front.fill()
        for number in range(6):
            # Odd numbers: the wrap counters stand differently each time.
            self.flows(front, 37 + 10 * number, 1000 * number)
            for index in (2, 3):
                front.enable(index, False)
            self.assertEqual(vhost_user.ping_pong(front, 11, 0, 1000 * number + 500), (0, 0))
            for index in (3, 2) if number % 2 else (2, 3):
                front.enable(index, True)
            self.flows(front, 13, 1000 * number + 600)
            bases = [front.get_vring_base(ring.index) for ring in front.rings]
            for pair in range(2):
                front.reap(pair)
            self.assertEqual(bases, [ring.next_used for ring in front.rings], number)
            if number % 3 == 2:
                front.restart()
                front.fill()
            else:
                for _, step in front.restart_steps():
                    step()
                front.get_u64(vhost_user.GET_FEATURES)
        front.close()

    def send_chain(self, front, pair, packet, cuts, table):
        """A packet in pieces, until it was used."""
        ring = front.rings[2 * pair + 1]
        front.mem[self.scratch:self.scratch + len(packet)] = packet
        edges = [0, *cuts, len(packet)]
        ring.push_chain([(GPA + self.scratch + a, b - a, 0) for a, b in zip(edges, edges[1:])],
                        self.table if table else None)
        ring.ring_doorbell()
        name = self.wait_for(ring.pop, 'the chain is used')[0]
        ring.release(name)

    def check_chains_to_send(self):
        """Up to the longest that the ring takes; in the ring and in indirect tables. No card is
        known to say that it takes the latter, and no driver offers them; a guest that uses them
        nevertheless gets what virtio says."""
        chooser = random.Random(4)
        for size in (64, 256):
            front = self.frontend(ring_size=size, mem_bytes=8 << 20)
            self.scratch, self.table = 6 << 20, 7 << 20
            front.start()
            self.assertEqual(front.get_u64(vhost_user.GET_FEATURES) & vhost_user.F_INDIRECT_DESC, 0)
            front.fill()
            for table in (False, True):
                for count in (1, 2, 3, 17, size // 2 + 1, size):
                    with self.subTest(size=size, descriptors=count, indirect=table):
                        frame = vhost_user.frame(count, size + 200)
                        packet = bytes(front.hdr_len) + frame
                        cuts = sorted(chooser.sample(range(1, len(packet)), count - 1))
                        self.send_chain(front, 0, packet, cuts, table)
                        self.assertEqual(front.receive(1), [frame])
            front.close()

    def check_chains_to_receive(self):
        """Buffers in many pieces: a frame fills them in their order and nothing behind it."""
        front = self.frontend(ring_size=64, mem_bytes=8 << 20)
        table, area, piece = 7 << 20, 6 << 20, 40
        front.start()
        ring = front.rings[0]
        for indirect in (False, True):
            for number in range(70):
                count = 4 + number % 16
                front.mem[area:area + 4096] = b'\xaa' * 4096
                # From the back to the front of the area, so that order tells.
                places = [area + piece * (count - 1 - i) for i in range(count)]
                ring.push_chain([(GPA + place, piece, DESC_F_WRITE) for place in places],
                                table if indirect else None)
                ring.ring_doorbell()
                frame = vhost_user.frame(number, piece * (count - 1) - front.hdr_len + 7)
                front.send([frame])
                name, length = self.wait_for(ring.pop, 'a frame')
                ring.release(name)
                self.assertEqual(length, front.hdr_len + len(frame))
                got = b''.join(bytes(front.mem[place:place + piece]) for place in places)
                self.assertEqual(got[front.hdr_len:length], frame)
                self.assertEqual(set(got[length:]), {0xaa})
        front.close()

    def check_calls_that_nobody_wants(self):
        """A guest that polls is not called; no capability of a card lets it say when to call it."""
        front = self.frontend()
        front.start()
        self.assertEqual(front.get_u64(vhost_user.GET_FEATURES) & vhost_user.F_EVENT_IDX, 0)
        front.fill()
        self.flows(front)
        for _ in range(3):
            for ring in front.rings:
                ring.want_calls(False)
            time.sleep(0.1)
            for ring in front.rings:
                self.drain(ring.call)
            for number in range(100):
                front.send([vhost_user.frame(number)])
                self.wait_for(lambda: front._receive_ring(front.rings[0]), 'a frame')
            time.sleep(0.1)
            for ring in front.rings:
                self.assertEqual(self.drain(ring.call), 0)
                ring.want_calls(True)
            front.send([vhost_user.frame(0)])
            self.assertTrue(select.select([front.rings[0].call], [], [], harness.WAIT_TIMEOUT)[0])
            self.assertEqual(front.receive(1), [vhost_user.frame(0)])
        front.close()

    @staticmethod
    def drain(call):
        try:
            return os.eventfd_read(call)
        except BlockingIOError:
            return 0

    def check_orders_of_enabling(self):
        """Backwards, mixed, and most of them when the device runs."""
        chooser = random.Random(5)
        for number in range(4):
            front = self.frontend(pairs=4, ring_size=64)
            for ring in front.rings:
                ring.clear()
            steps = front.start_steps()
            enables = [step for step in steps if step[0].startswith('SET_VRING_ENABLE')]
            late = enables[2:] if number == 3 else []
            chooser.shuffle(late)
            order = [enables[::-1], enables[1::2] + enables[::2],
                     chooser.sample(enables, len(enables)), enables[:2]][number]
            first = steps.index(enables[0])
            rest = [step for step in steps[first:] if step not in enables]
            with self.subTest(order=[name for name, _ in order + late]):
                self.play(front, steps[:first] + order + rest + late)
                front.fill()
                self.flows(front, 40)
                front.stop()
                front.restart()
                front.fill()
                self.flows(front, 40)
            front.close()

    def arrivals(self, front, flows, first):
        """Send a frame of each flow; returns the receive ring of each, by port."""
        frames = {udp(port, struct.pack('<QI', first, port) + bytes(20)): port for port in flows}
        where = {}
        batch = list(frames)
        for start in range(0, len(batch), 16):
            part = batch[start:start + 16]
            front.send(part)
            due = set(part)

            def some():
                for ring in front.rings[0::2]:
                    for packet in front._receive_ring(ring):
                        frame = packet[front.hdr_len:]
                        self.assertIn(frame, due)
                        due.discard(frame)
                        where[frames[frame]] = ring.index
                return not due
            try:
                self.wait_for(some, 'frames of all flows')
            except AssertionError:
                # Which end is it at, and was a doorbell lost?
                state = [(ring.index, ring.next_avail, ring.next_used) for ring in front.rings]
                for ring in front.rings:
                    ring.ring_doorbell()
                self.fail('ports %s of %s: rings %s; rung once more: %d frames' % (
                    [frames[frame] for frame in due], [frames[frame] for frame in part], state,
                    len(front.receive(len(due), timeout=1))))
        return where

    def check_flows_spread_over_enabled_rings(self):
        """Each flow keeps to a ring; rings that are disabled get none, the others all; then all is
        as it was."""
        front = self.frontend(pairs=4, ring_size=64)
        front.start()
        front.fill()
        ports = range(1000, 1064)
        # Packets are led to a ring that is enabled some time after that.
        numbers = itertools.count()

        def everywhere():
            where = self.arrivals(front, ports, next(numbers))
            return where if set(where.values()) == {0, 2, 4, 6} else None
        before = self.wait_for(everywhere, 'flows on all rings')
        self.assertEqual(self.arrivals(front, ports, next(numbers)), before)
        for off in ([2], [2, 6], [2, 4, 6]):
            for index in off:
                front.enable(index, False)
            left = self.arrivals(front, ports, next(numbers))
            self.assertEqual(set(left.values()), {0, 2, 4, 6} - set(off))
            for index in off:
                front.enable(index, True)
        self.wait_for(lambda: self.arrivals(front, ports, next(numbers)) == before,
                      'flows are where they were')
        front.close()

    def check_announcements(self):
        """The front-end has the control queue, the link's state and the announcing to itself: the
        device need do nothing, and a request for it does no harm."""
        front = self.frontend()
        front.start()
        features = front.get_u64(vhost_user.GET_FEATURES)
        self.assertTrue(features & vhost_user.F_GUEST_ANNOUNCE)
        self.assertEqual(features & vhost_user.F_STATUS, 0)
        front.fill()
        self.flows(front)
        for _ in range(3):
            front._send(vhost_user.SEND_RARP, struct.pack('<Q', 0x0200_0000_0001), (), 0)
            front.get_u64(vhost_user.GET_FEATURES)
            self.flows(front)
        front.close()


class Packed(Split):
    packed = True


if __name__ == '__main__':
    harness.main()
