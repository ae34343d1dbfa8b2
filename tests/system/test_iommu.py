# SPDX-License-Identifier: BSD-3-Clause
"""iommu=on: a front-end that negotiated ACCESS_PLATFORM says by IOTLB messages what the device may
reach, at addresses of its own. The memory table only says what is behind them."""
import contextlib
import os
import random
import re
import struct
import time

import harness
import vhost_user
from vhost_user import (IOTLB_ACCESS_FAIL, IOTLB_BATCH_BEGIN, IOTLB_BATCH_END, IOTLB_INVALIDATE,
                        IOTLB_MISS, IOTLB_MSG, IOTLB_RO, IOTLB_RW, IOTLB_UPDATE, IOTLB_WO)

MIB = 1 << 20
IOVA = 0xfeed_0000_0000            # of the first byte of memory
WINDOW = IOVA + (5 << 30)          # where buffers of some tests are
FAR = 0x12_3400_0000               # from all of these
PAGE = vhost_user.PAGE


class Frontend(vhost_user.Frontend):
    """Its rings and buffers lie in the first part of memory, @mapped bytes long, and are mapped."""

    def __init__(self, path, mapped, mem_bytes=4 * MIB, **kwargs):
        super().__init__(path, ring_size=64, mem_bytes=mem_bytes,
                         features=vhost_user.F_ACCESS_PLATFORM, **kwargs)
        self.mapped = mapped
        for ring in self.rings:
            ring.memory = IOVA
        if self.rings[-1].end > mapped:
            raise ValueError('rings need %d bytes' % self.rings[-1].end)

    def iotlb(self, kind, iova=0, size=0, uaddr=0, perm=0):
        self.command(IOTLB_MSG, struct.pack('<QQQBB6x', iova, size, uaddr, perm, kind))

    def map(self, iova, size, offset, perm=IOTLB_RW):
        self.iotlb(IOTLB_UPDATE, iova, size, self.hva + offset, perm)

    def unmap(self, iova, size):
        self.iotlb(IOTLB_INVALIDATE, iova, size)

    def map_all(self):
        self.map(IOVA, self.mapped, 0)

    def restart_steps(self):
        """Rings are announced before the maps come: the vhost library has a cache for each ring."""
        steps = super().restart_steps()
        first = [s for s in steps if s[0].startswith(('SET_VRING_NUM', 'SET_VRING_BASE',
                                                      'SET_VRING_ADDR'))]
        later = [s for s in steps if s not in first]
        at = [name for name, _ in later].index('SET_MEM_TABLE') + 1
        return later[:at] + first + [('IOTLB', self.map_all)] + later[at:]

    def _set_vring_addr(self, ring):
        self.command(vhost_user.SET_VRING_ADDR, struct.pack(
            '<IIQQQQ', ring.index, 0, IOVA + ring.desc, IOVA + ring.used, IOVA + ring.avail, 0))

    def send_from(self, iova, offset, frame, pair=0):
        """Send a frame that lies at @offset in memory, and at @iova for the device."""
        ring = self.rings[2 * pair + 1]
        packet = bytes(vhost_user.NET_HDR_LEN) + frame
        self.mem[offset:offset + len(packet)] = packet
        self.reap(pair)
        desc = ring.free.pop(0)
        ring.push(desc, len(packet), 0, iova)
        ring.ring_doorbell()


class Iommu(harness.Case):
    PAIRS = 1
    MAPPED = MIB
    DEVARGS = {}

    def setUp(self):
        super().setUp()
        self.daemon = harness.Daemon(
            self, vdevs=[harness.vdev(iommu='on', **self.DEVARGS)],
            eal_args=harness.eal('--log-level=lib.vhost.iotlb:info', cores='0'))
        self.path = self.daemon.socket()
        self.number = 0

    def frontend(self, **kwargs):
        front = Frontend(self.path, self.MAPPED, pairs=self.PAIRS, **kwargs)
        self.addCleanup(front.disconnect)
        return front

    def started(self):
        front = self.frontend()
        front.start()
        front.fill()
        self.traffic(front)
        return front

    def log(self):
        return (self.dir / 'daemon.err').read_text(errors='replace')

    def traffic(self, front, count=20, pair=0):
        self.number += count
        self.assertEqual(vhost_user.ping_pong(front, count, pair, self.number), (0, 0), self.log())

    def until_it_works(self, front):
        """Rings that come one by one are led packets to in the background."""
        deadline = time.monotonic() + harness.WAIT_TIMEOUT
        while True:
            front.send([self.frame()])
            if front.receive(1, timeout=0.3):
                break
            self.assertLess(time.monotonic(), deadline, self.log())
        front.receive(64, timeout=0.3)

    def frame(self, length=600):
        self.number += 1
        return vhost_user.frame(self.number, length)

    def finish(self, faults=True):
        result = self.daemon.stop()
        self.assert_clean(result, faults)
        return result


class Remapped(Iommu):
    DEVARGS = harness.NOTHING_AHEAD

    def test_remap_in_traffic(self):
        """The same addresses show other memory, one time after the other, and frames come from
        there. Maps come and go in halves, in pages, and in batches."""
        front = self.started()
        for i in range(8):
            offset = (1 + i % 3) * MIB
            front.send([vhost_user.frame(5000 + i)])
            if i % 2:
                front.iotlb(IOTLB_BATCH_BEGIN)
            front.map(WINDOW, PAGE, offset)
            front.map(WINDOW + PAGE, MIB - PAGE, offset + PAGE)
            if i % 2:
                front.iotlb(IOTLB_BATCH_END)
            # Across both maps.
            frames = [vhost_user.frame(5000 + i)]
            frames.append(self.frame())
            front.send_from(WINDOW + PAGE - 100, offset + PAGE - 100, frames[-1])
            self.assertEqual(front.receive(2), frames, self.log())
            # A hole in the middle leaves both ends.
            front.unmap(WINDOW + PAGE // 2, 8 * PAGE)
            for at in (0, MIB - PAGE):
                frame = self.frame()
                front.send_from(WINDOW + at, offset + at, frame)
                self.assertEqual(front.receive(1), [frame], self.log())
            front.unmap(WINDOW, MIB)
            self.traffic(front, 4)
        front.close()
        result = self.finish()
        err = result.stderr
        # Two queues and their counters: objects stay, their memory key changes.
        self.assertEqual(result.count('CREATE_GENERAL_OBJECT'), 4, result)
        # The start; and in each round two maps, which are one change in a batch, a hole, and none.
        self.assertEqual(len(re.findall(r'IOTLB: \d maps', err)), 1 + 4 * 4 + 4 * 3, err)


class Maps(Iommu):
    def test_traffic_and_resets(self):
        """What is mapped is pinned, and no more; a reset changes no map."""
        front = self.started()
        for _ in range(3):
            front.stop()
            front.restart()
            front.fill()
            self.traffic(front)
        front.close()
        result = self.finish()
        self.assertEqual(result.report['pins']['bytes_total'] // MIB, self.MAPPED // MIB, result)
        self.assertEqual(result.stderr.count('1 of 1 maps kept'), 4)
        self.assertEqual(result.stderr.count('0 changes: the maps stay'), 3)

    def open_memory(self):
        """How many descriptors of guest memory the daemon has."""
        folder, count = '/proc/%d/fd' % self.daemon.program_pid(), 0
        for entry in os.listdir(folder):
            with contextlib.suppress(FileNotFoundError):
                count += 'memfd:guest' in os.readlink(os.path.join(folder, entry))
        return count

    def test_everything_unmapped(self):
        """The device stands, nothing is pinned, and it goes on when its maps are back."""
        front = self.started()
        for _ in range(3):
            self.assertEqual(self.open_memory(), 2)    # the vhost library's, and that of the pins
            front.unmap(0, 2**64 - 1)
            self.assertEqual(self.open_memory(), 1)
            front.map_all()
            front.get_u64(vhost_user.GET_FEATURES)
            self.until_it_works(front)
            self.traffic(front)
        front.unmap(0, 2**64 - 1)
        front.close()
        self.finish()

    def test_rings_before_their_maps(self):
        """In a batch, the vhost library knows of a map before the device does. Rings that it finds in
        memory by then wait for the end of the batch, whether there is a key meanwhile or not."""
        front = self.started()
        front.map(WINDOW, MIB, MIB)
        for first, size in ((0, 2**64 - 1), (IOVA, self.MAPPED)):
            front.unmap(first, size)
            front.iotlb(IOTLB_BATCH_BEGIN)
            front.map_all()
            front.map(WINDOW, MIB, MIB)
            front.get_u64(vhost_user.GET_FEATURES)
            front.iotlb(IOTLB_BATCH_END)
            front.get_u64(vhost_user.GET_FEATURES)
            self.until_it_works(front)
            self.traffic(front)
        front.close()
        result = self.finish()
        self.assertEqual(result.report['commands']['failed'], 0, result)
        self.assert_steady(result)

    def test_batch_over_a_reset(self):
        """It is open until its end, and what it says is there behind it."""
        front = self.started()
        front.iotlb(IOTLB_BATCH_BEGIN)
        front.map(WINDOW, MIB, 2 * MIB)
        front.stop()
        front.restart()
        front.fill()
        front.map(WINDOW + MIB, MIB, 3 * MIB)
        front.iotlb(IOTLB_BATCH_END)
        frame = self.frame()
        front.send_from(WINDOW + MIB - 100, 3 * MIB - 100, frame)
        self.assertEqual(front.receive(1), [frame], self.log())
        self.traffic(front)
        front.close()
        self.finish()

    def test_other_memory_table(self):
        """Memory is added, and goes: maps stay with the memory that they show."""
        front = self.started()
        dimm = os.memfd_create('dimm')
        os.ftruncate(dimm, MIB)
        front.set_mem_table([(dimm, MIB)])
        front.get_u64(vhost_user.GET_FEATURES)
        front.map_all()            # the vhost library has forgotten it
        front.get_u64(vhost_user.GET_FEATURES)
        self.until_it_works(front)
        self.traffic(front)
        front.map(WINDOW, MIB, 4 * MIB)
        self.traffic(front)
        front.set_mem_table()
        front.map_all()
        front.get_u64(vhost_user.GET_FEATURES)
        self.until_it_works(front)
        self.traffic(front)
        front.close()
        os.close(dimm)
        self.assertIn('IOTLB: %d bytes left with the old memory table' % MIB,
                      self.finish().stderr)


class Model:
    """What a window shows, in units of an odd size; a batch shows at its end."""

    UNIT = 100

    def __init__(self):
        self.maps, self.batch = {}, None

    def open(self):
        return self.maps if self.batch is None else self.batch

    def map(self, start, count, offset, perm):
        """Is it possible? Whatever else is there must be the same."""
        now = self.open()
        new = {start + i: (offset + i * self.UNIT, perm) for i in range(count)}
        there = [unit for unit in new if unit in now]
        if there and (len(there) < count or any(now[unit] != new[unit] for unit in there)):
            return False
        now.update(new)
        return True

    def unmap(self, start, count):
        for unit in range(start, start + count):
            self.open().pop(unit, None)

    def end(self):
        self.maps, self.batch = self.batch, None

    def run(self, start, most):
        """How many units from there on are mapped."""
        count = 0
        while count < most and start + count in self.maps:
            count += 1
        return count


class Lockstep(Iommu):
    """A front-end without manners beside a model."""

    STEPS = 200
    UNITS = 400

    def map(self, front, model, rnd):
        start, count = rnd.randrange(self.UNITS), rnd.choice((1, 2, 41, 82, rnd.randrange(1, 200)))
        offset = MIB + rnd.choice((rnd.randrange(2 * MIB), PAGE * rnd.randrange(500)))
        perm = rnd.choice((IOTLB_RW, IOTLB_RW, IOTLB_RO))
        possible = model.map(start, count, offset, perm)
        try:
            front.map(WINDOW + start * model.UNIT, count * model.UNIT, offset, perm)
            self.assertTrue(possible, self.log())
        except vhost_user.FrontendError:
            self.assertFalse(possible, self.log())

    def step(self, front, model, rnd):
        way = rnd.random()
        if way < 0.5:
            self.map(front, model, rnd)
        elif way < 0.85:
            start, count = rnd.randrange(self.UNITS), rnd.choice((1, 3, rnd.randrange(1, 300)))
            model.unmap(start, count)
            front.unmap(WINDOW + start * model.UNIT, count * model.UNIT)
        elif way < 0.95 and model.batch is None:
            front.iotlb(IOTLB_BATCH_BEGIN)
            model.batch = dict(model.maps)
        elif way < 0.95:
            front.iotlb(IOTLB_BATCH_END)
            model.end()
        else:
            front.stop()
            front.restart()
            front.fill()

    def assert_seen(self, front, model, start):
        """The device reads there what the model says. Maps may show the same bytes twice."""
        count = model.run(start, 14)
        frame = self.frame(1400)[:count * model.UNIT - vhost_user.NET_HDR_LEN]
        packet = bytes(vhost_user.NET_HDR_LEN) + frame
        places = [model.maps[start + i][0] for i in range(count)]
        for i, at in enumerate(places):
            part = packet[i * model.UNIT:(i + 1) * model.UNIT]
            front.mem[at:at + len(part)] = part
        packet = b''.join(bytes(front.mem[at:at + model.UNIT]) for at in places)[:len(packet)]
        if len(frame) < 60 or any(packet[:vhost_user.NET_HDR_LEN]):
            return
        ring = front.rings[1]
        front.reap()
        ring.push(ring.free.pop(0), len(packet), 0, WINDOW + start * model.UNIT)
        ring.ring_doorbell()
        self.assertEqual(front.receive(1), [packet[vhost_user.NET_HDR_LEN:]], self.log())

    def test_random(self):
        rnd, model, front = random.Random(5), Model(), self.started()
        for _ in range(self.STEPS):
            self.step(front, model, rnd)
            if model.maps:
                self.assert_seen(front, model, rnd.choice(sorted(model.maps)))
        self.traffic(front)
        front.close()
        self.assert_steady(self.finish())


class Faults(Iommu):
    PAIRS = 2

    def test_unmapped_buffer(self):
        """It is its queue's affair alone."""
        front = self.started()
        self.traffic(front, pair=1)
        for address in (vhost_user.GPA, IOVA + self.MAPPED):
            front.send_from(address, 2 * MIB, self.frame())
            self.traffic(front, pair=1)
        deadline = time.monotonic() + harness.WAIT_TIMEOUT
        while 'virtqueue 1 went to error' not in self.log():
            self.assertLess(time.monotonic(), deadline, self.log())
            time.sleep(0.02)
        self.traffic(front, pair=1)
        front.close()
        result = self.finish(faults=False)
        self.assertGreaterEqual(result.report['dma']['faults'], 1)
        self.assertNotIn('virtqueue 3 went to error', result.stderr)


class ReadOnly(Iommu):
    PAIRS = 2

    def test_read_only(self):
        """The device reads there and does not write: a receive buffer is its queue's error."""
        front = self.started()
        front.map(WINDOW, MIB, 2 * MIB, IOTLB_RO)
        front.map(WINDOW + MIB, MIB, 3 * MIB, IOTLB_WO)
        frame = self.frame()
        front.send_from(WINDOW + 64, 2 * MIB + 64, frame)
        self.assertEqual(front.receive(1), [frame], self.log())
        # Pair 1 gets the next frames where it can write, then where it can't.
        ring = front.rings[2]
        front.stop()
        for each in front.rings:
            each.clear()
        for _, step in front.restart_steps():
            step()
        front.get_u64(vhost_user.GET_FEATURES)
        before = bytes(front.mem[2 * MIB:3 * MIB])
        for address in (WINDOW + MIB, WINDOW):
            for each in (front.rings[0], ring):
                desc = each.free.pop(0)
                each.push(desc, vhost_user.BUFFER_LEN, vhost_user.DESC_F_WRITE, address)
                each.ring_doorbell()
        deadline = time.monotonic() + 20
        while 'went to error' not in self.log():
            self.assertLess(time.monotonic(), deadline, self.log())
            front.send([self.frame()], pair=1)
            time.sleep(0.05)
        self.assertEqual(bytes(front.mem[2 * MIB:3 * MIB]), before)
        self.assertNotEqual(bytes(front.mem[3 * MIB:4 * MIB]), bytes(MIB))
        front.close()
        result = self.finish(faults=False)
        self.assertGreaterEqual(result.report['dma']['faults'], 1)


class ReadOnlyDevx(ReadOnly):
    DEVARGS = {'mr_backend': 'devx'}


class Refused(Iommu):
    def refused(self, front, kind, line, **fields):
        count = self.log().count(line)
        with self.assertRaises(vhost_user.FrontendError, msg=line):
            front.iotlb(kind, **fields)
        self.assertEqual(self.log().count(line), count + 1, line)

    def test_messages(self):
        front = self.started()
        good = dict(iova=WINDOW, size=MIB, uaddr=front.hva, perm=IOTLB_RW)
        for kind, line, fields in (
                (IOTLB_UPDATE, 'its size is 0', dict(good, size=0)),
                (IOTLB_UPDATE, 'it runs past the last address', dict(good, iova=2**64 - MIB + 1)),
                (IOTLB_UPDATE, 'its permission is none', dict(good, perm=0)),
                (IOTLB_UPDATE, 'its permission is none', dict(good, perm=4)),
                (IOTLB_UPDATE, 'not within one region', dict(good, uaddr=front.hva - 1)),
                (IOTLB_UPDATE, 'not within one region', dict(good, size=4 * MIB + 1)),
                (IOTLB_UPDATE, 'not within one region', dict(good, uaddr=front.hva + 4 * MIB)),
                (IOTLB_UPDATE, 'it overlaps a map', dict(good, iova=IOVA + MIB - 1)),
                (IOTLB_UPDATE, 'it overlaps a map', dict(good, iova=IOVA, perm=IOTLB_WO)),
                (IOTLB_INVALIDATE, 'its size is 0', dict(good, size=0)),
                (IOTLB_MISS, "the back-end's to send", good),
                (IOTLB_ACCESS_FAIL, "the back-end's to send", good),
                (IOTLB_BATCH_END, 'no batch is open', {}),
                (0, 'its type is unknown', good), (255, 'its type is unknown', good)):
            with self.subTest(line=line, fields=fields):
                self.refused(front, kind, line, **fields)
        # A key says what is in a hole, too.
        self.refused(front, IOTLB_UPDATE, 'refused by the device', **dict(good, iova=FAR))
        self.traffic(front)
        front.iotlb(IOTLB_BATCH_BEGIN)
        self.refused(front, IOTLB_BATCH_BEGIN, 'a batch is open')
        front.map(WINDOW, MIB, 0)
        self.refused(front, IOTLB_UPDATE, 'it overlaps a map', **dict(good, uaddr=front.hva + 1))
        front.map_all()            # said twice is said once
        self.traffic(front)
        front.close()              # with a batch open
        front = self.started()
        front.close()
        self.finish()

    def test_features(self):
        """Not with a dirty log, and no more after RESET_OWNER; a front-end that does not negotiate
        it has the memory table."""
        front = self.started()
        with self.assertRaises(vhost_user.FrontendError):
            front.set_u64(vhost_user.SET_FEATURES, front.features | vhost_user.F_LOG_ALL)
        self.assertIn('dirty pages are not logged with an IOTLB', self.log())
        self.traffic(front)
        front._send(vhost_user.RESET_OWNER, b'', (), 0)
        front.protocol_features = 0
        front.get_u64(vhost_user.GET_FEATURES)
        with self.assertRaises((vhost_user.FrontendError, OSError)):
            front.set_u64(vhost_user.SET_FEATURES, front.features)
            front.get_u64(vhost_user.GET_FEATURES)
        self.assertIn('after RESET_OWNER the vhost library has no IOTLB', self.log())
        front.close()
        plain = vhost_user.Frontend(self.path, mem_bytes=4 * MIB, ring_size=64)
        plain.start()
        plain.fill()
        self.traffic(plain)
        with self.assertRaises(vhost_user.FrontendError):
            plain.command(IOTLB_MSG, struct.pack('<QQQBB6x', IOVA, MIB, plain.hva, 3, 2))
        self.traffic(plain)
        plain.close()
        self.started().close()
        self.assertIn('IOTLB_MSG refused: the IOTLB is not in use', self.finish().stderr)


if __name__ == '__main__':
    harness.main()
