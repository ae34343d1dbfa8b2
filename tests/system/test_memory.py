# SPDX-License-Identifier: BSD-3-Clause
"""Memory tables as no front-end in its right mind sends them, but as it may: regions at odd offsets
of files that they share, of odd sizes, side by side, in any order and far apart. Frames say what the
device sees where."""
import mmap
import os
import random
import re
import struct

import harness
import vhost_user

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30
GPA = vhost_user.GPA
RINGS = MIB                        # what the first region shows: rings and their buffers
FILE = 8 * MIB
MOST = 8                           # regions


class Region:
    """What a region shows: @size bytes of a file (descriptor, mapping) from @offset on."""

    def __init__(self, gpa, size, file, offset):
        self.gpa, self.size, self.offset = gpa, size, offset
        self.fd, self.mem = file


class Frontend(vhost_user.Frontend):
    """Rings in a region of their own; what else is in the table is the test's affair."""

    def __init__(self, path, rnd):
        super().__init__(path, mem_bytes=RINGS, ring_size=16)
        self.rnd = rnd
        self.more = []

    def set_mem_table(self, dimms=()):
        """All regions, in no order. Their userspace addresses have nothing to do with the guest's."""
        regions = [(struct.pack('<QQQQ', GPA, RINGS, self.hva, 0), self.fd)]
        for number, region in enumerate(self.more, 1):
            regions.append((struct.pack('<QQQQ', region.gpa, region.size,
                                        self.hva + (number << 36), region.offset), region.fd))
        self.rnd.shuffle(regions)
        payload = struct.pack('<II', len(regions), 0) + b''.join(r for r, _ in regions)
        self.command(vhost_user.SET_MEM_TABLE, payload, [fd for _, fd in regions])

    def send_from(self, region, at, frame):
        """Send a frame that lies at @at in a region."""
        packet = bytes(vhost_user.NET_HDR_LEN) + frame
        region.mem[region.offset + at:region.offset + at + len(packet)] = packet
        ring = self.rings[1]
        self.reap()
        ring.push(ring.free.pop(0), len(packet), 0, region.gpa + at)
        ring.ring_doorbell()


class Memory(harness.Case):
    SEED = 7

    def setUp(self):
        super().setUp()
        self.rnd = random.Random(self.SEED)
        self.number = 0

    def daemon(self, **devargs):
        return harness.Daemon(self, vdevs=[harness.vdev(**devargs)])

    def frontend(self, daemon):
        front = Frontend(daemon.socket(), self.rnd)
        self.addCleanup(front.disconnect)
        return front

    def file(self, size=FILE):
        fd = os.memfd_create('more', os.MFD_CLOEXEC)
        os.ftruncate(fd, size)
        memory = mmap.mmap(fd, size)
        self.addCleanup(os.close, fd)
        self.addCleanup(memory.close)
        return fd, memory

    def frame(self):
        self.number += 1
        return vhost_user.frame(self.number, self.rnd.randrange(60, 1400))

    def assert_seen(self, front, region):
        """The device reads at the region's first byte, at its last one, and between."""
        for where in range(3):
            frame = self.frame()
            room = region.size - len(frame) - vhost_user.NET_HDR_LEN
            front.send_from(region, (0, room, self.rnd.randrange(room + 1))[where], frame)
            self.assertEqual(front.receive(1), [frame], vars(region))

    def assert_traffic(self, front):
        front.send([self.frame()])
        self.assertEqual(len(front.receive(1)), 1)


class Tables(Memory):
    STEPS = 60

    def regions(self, files):
        """Up to seven, which may show the same bytes twice, side by side or with holes between."""
        rnd, regions, gpa = self.rnd, [], GPA + RINGS
        for _ in range(rnd.randrange(MOST)):
            size = rnd.choice((4 * KIB, 2 * MIB, 4 * KIB * rnd.randrange(1, 300),
                               rnd.randrange(1500, 3 * MIB)))
            offset = rnd.choice((0, rnd.randrange(FILE - size),
                                 rnd.randrange(FILE - size) & ~(4 * KIB - 1)))
            gpa += rnd.choice((0, 0, 1, 4 * KIB, rnd.randrange(8 * GIB)))
            regions.append(Region(gpa, size, rnd.choice(files), offset))
            gpa += size
        return regions

    def change(self, daemon, front):
        """The next table comes to a device that runs, with a reset, or with another connection."""
        way = self.rnd.random()
        if way < 0.6:
            front.set_mem_table()
            front.get_u64(vhost_user.GET_FEATURES)
            return front
        if way < 0.85:
            front.stop()
            front.restart()
        else:
            more = front.more
            front.disconnect()
            front = self.frontend(daemon)
            front.more = more
            front.start()
        front.fill()
        return front

    def live(self, **devargs):
        daemon = self.daemon(**devargs)
        files = [self.file() for _ in range(3)]
        front = self.frontend(daemon)
        front.start()
        front.fill()
        for _ in range(self.STEPS):
            front.more = self.regions(files)
            front = self.change(daemon, front)
            self.assert_traffic(front)
            for region in front.more:
                self.assert_seen(front, region)
        front.disconnect()
        result = daemon.stop()
        self.assert_clean(result)
        self.assert_steady(result)

    def test_verbs(self):
        self.live()

    def test_devx(self):
        """A key of a umem that begins or ends within a page has that page, too."""
        self.live(mr_backend='devx', persist='reconnect')


class Far(Memory):
    def test_too_far_apart(self):
        """A hole takes an entry of the key for each 2 GiB: the front-end must not choose how much
        memory that is."""
        daemon = self.daemon()
        front = self.frontend(daemon)
        front.start()
        front.fill()
        self.assert_traffic(front)
        before = self.most_memory(daemon)
        file = self.file(4 * KIB)
        for gpa in (1 << 46, 1 << 58, (1 << 64) - 4 * KIB):
            front.more = [Region(gpa, 4 * KIB, file, 0)]
            front.set_mem_table()
            front.get_u64(vhost_user.GET_FEATURES)
            front.more = []
            front.set_mem_table()
            front.get_u64(vhost_user.GET_FEATURES)
            self.assert_traffic(front)
        self.assertLess(self.most_memory(daemon) - before, 64 * MIB)
        front.disconnect()
        result = daemon.stop()
        self.assert_clean(result)
        self.assertIn('guest memory is too fragmented', result.stderr)

    @staticmethod
    def most_memory(daemon):
        """The most that the daemon had of it so far, bytes."""
        with open('/proc/%d/status' % daemon.program_pid(), encoding='ascii') as status:
            return int(re.search(r'VmHWM:\s+(\d+) kB', status.read())[1]) * KIB


if __name__ == '__main__':
    harness.main()
