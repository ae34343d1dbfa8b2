# SPDX-License-Identifier: BSD-3-Clause
"""A front-end that dies at every step of adding memory and of removing it, and memory that can't be
had: the device serves the next table, or the next front-end, and keeps nothing."""
import mmap
import os

import harness
import vhost_user

MEM = 16 << 20
DIMM = 4 << 20
RING = 64
POISON = b'\x5a'


class Hotplug(harness.Case):
    def setUp(self):
        super().setUp()
        self.dimm = self.file(DIMM)
        self.shown = mmap.mmap(self.dimm, DIMM)
        self.addCleanup(self.shown.close)
        self.shown[:] = POISON * DIMM

    def file(self, length):
        fd = os.memfd_create('dimm', os.MFD_CLOEXEC)
        self.addCleanup(os.close, fd)
        os.ftruncate(fd, length)
        return fd

    def serve(self, daemon):
        """A front-end at work."""
        front = vhost_user.Frontend(daemon.socket(), pairs=2, mem_bytes=MEM, ring_size=RING)
        self.addCleanup(front.close)
        front.start()
        front.fill()
        self.assert_traffic(front)
        return front

    def assert_traffic(self, front, pairs=2):
        for pair in range(pairs):
            self.assertEqual(vhost_user.ping_pong(front, RING // 2, pair), (0, 0))

    def change(self, front, add, step):
        """Add the region or remove it, and be gone when that step is done."""
        front.send([vhost_user.frame(n) for n in range(8)])
        front.hang_up = step == 'sent'
        try:
            front.set_mem_table([(self.dimm, DIMM)] if add else [])
            if step == 'started':
                front.get_u64(vhost_user.GET_FEATURES)
            if step == 'traffic':
                front.receive(8)
                self.assert_traffic(front)
                front.send([vhost_user.frame(n) for n in range(8)], 1)
        except vhost_user.HungUp:
            pass
        front.hang_up = False
        front.disconnect()

    def test_front_end_dies(self):
        for persist in ('reset', 'reconnect'):
            daemon = harness.Daemon(self, vdevs=[harness.vdev(persist=persist)])
            for add in (True, False):
                for step in ('sent', 'taken', 'started', 'traffic'):
                    with self.subTest(persist=persist, add=add, step=step):
                        front = self.serve(daemon)
                        if not add:
                            front.set_mem_table([(self.dimm, DIMM)])
                            self.assert_traffic(front)
                        self.change(front, add, step)
            self.serve(daemon).disconnect()
            self.assert_clean(daemon.stop())
            self.assertEqual(self.shown[:], POISON * DIMM)

    def test_memory_that_is_not_there(self):
        """A region behind the end of its file, or of no file, is refused, with the connection or
        without it; the next table works."""
        null = os.open('/dev/null', os.O_RDWR)
        self.addCleanup(os.close, null)
        daemon = harness.Daemon(self)
        front = self.serve(daemon)
        for fd in (null, self.file(DIMM // 2)):
            try:
                front.set_mem_table([(fd, DIMM)])
                front.get_u64(vhost_user.GET_FEATURES)
            except vhost_user.FrontendError:
                front.disconnect()
                front = self.serve(daemon)
        front.set_mem_table([(self.dimm, DIMM)])
        self.assert_traffic(front)
        front.disconnect()
        result = daemon.stop()
        self.assert_clean(result)
        self.assertIn('it lies beyond the end of its file', result.stderr)


if __name__ == '__main__':
    harness.main()
