# SPDX-License-Identifier: BSD-3-Clause
"""Memory is registered on several threads from the moment that its table arrives: what never comes into
force leaves nothing, and what fails fails its table alone."""
import os
import re
import time

import harness
import vhost_user

MEM = 8 << 20
DIMM = 4 << 20
RING = 64


class Register(harness.Case):
    def daemon(self, fail=(), **devargs):
        vdev = harness.vdev(max_conf_threads=2, **devargs)
        return harness.Daemon(self, vdevs=[vdev], fail=fail, trace=True)

    def frontend(self, daemon):
        front = vhost_user.Frontend(daemon.socket(), mem_bytes=MEM, ring_size=RING)
        self.addCleanup(front.close)
        return front

    def dimm(self, length=DIMM):
        fd = os.memfd_create('dimm', os.MFD_CLOEXEC)
        self.addCleanup(os.close, fd)
        os.ftruncate(fd, length)
        return fd, length

    def until_table(self, front):
        """The start up to its memory table. Returns the steps behind it."""
        front.connect()
        for ring in front.rings:
            ring.clear()
        steps = front.start_steps()
        names = [name for name, _ in steps]
        at = names.index('SET_MEM_TABLE') + 1
        for _, step in steps[:at]:
            step()
        return steps[at:]

    def rest(self, front, steps):
        for _, step in steps:
            step()
        front.get_u64(vhost_user.GET_FEATURES)
        front.fill()
        self.assertEqual(vhost_user.ping_pong(front, 50), (0, 0))

    def serve(self, front):
        self.rest(front, self.until_table(front))
        front.disconnect()

    def keys(self):
        """Memory keys that were created, and that were destroyed."""
        trace = (self.dir / 'trace.txt').read_text(errors='replace')
        return [len(re.findall(r'\b%s_MKEY\b' % verb, trace)) for verb in ('CREATE', 'DESTROY')]

    def wait_keys(self, created, destroyed):
        deadline = time.monotonic() + harness.EXIT_TIMEOUT
        while self.keys() != [created, destroyed]:
            if time.monotonic() > deadline:
                self.fail('keys created, destroyed: %s' % self.keys())
            time.sleep(0.02)

    def test_begins_with_the_table(self):
        """And ends with the connection, if that is sooner."""
        daemon = self.daemon()
        front = self.frontend(daemon)
        self.until_table(front)
        self.wait_keys(1, 0)
        front.disconnect()
        self.wait_keys(1, 1)
        self.serve(front)
        result = daemon.stop()
        self.assert_clean(result)

    def test_another_table(self):
        """What both tables have is pinned once, what the first alone has is unpinned."""
        daemon = self.daemon()
        front = self.frontend(daemon)
        first, second = self.dimm(), self.dimm(2 * DIMM)
        steps = self.until_table(front)
        self.wait_keys(1, 0)
        front.set_mem_table([first])
        self.wait_keys(2, 0)
        front.set_mem_table([second])
        self.wait_keys(3, 1)
        front.set_mem_table()
        self.wait_keys(3, 2)
        self.rest(front, steps)
        front.disconnect()
        self.assert_clean(daemon.stop())

    def test_taken_over_and_withdrawn(self):
        """What one table began for the next, and none ever had in force, goes with the last one."""
        daemon = self.daemon(persist='reconnect')
        front = self.frontend(daemon)
        self.rest(front, self.until_table(front))
        front.stop()
        self.wait_keys(2, 0)
        first, second = self.dimm(), self.dimm()
        front.set_mem_table([first])
        self.wait_keys(3, 0)
        front.set_mem_table([first, second])
        self.wait_keys(4, 0)
        front.set_mem_table()
        self.wait_keys(4, 2)
        front.restart()
        front.fill()
        self.assertEqual(vhost_user.ping_pong(front, 50), (0, 0))
        front.disconnect()
        self.assert_clean(daemon.stop())

    def test_one_part_fails(self):
        """The second of four registrations that are under way: one line, and the next try works."""
        daemon = self.daemon(fail=['CREATE_MKEY:2'])
        front = self.frontend(daemon)
        steps = self.until_table(front)
        self.wait_keys(1, 0)
        front.set_mem_table([self.dimm() for _ in range(3)])
        for _, step in steps:
            step()
        front.get_u64(vhost_user.GET_FEATURES)
        front.disconnect()
        self.serve(front)
        result = daemon.stop()
        self.assert_clean(result)
        said = re.findall(r'cannot register guest memory .*', result.stderr)
        self.assertEqual(len(said), 1, result)
        self.assertRegex(said[0], r'\(guest address 0x\w+, %d bytes, inode \d+, offset 0x0\): ' % DIMM)
        where = int(re.search('0x[0-9a-f]+', said[0])[0], 16)
        self.assertIn(where, [vhost_user.GPA + MEM + i * DIMM for i in range(3)], said[0])
        self.assertEqual(len(re.findall('cannot configure the device', result.stderr)), 1, result)

    def now_and_then(self, **devargs):
        """Every fifth memory key is refused, in whatever place that is: of a part of the memory or of
        the whole, at the first start, when memory comes or goes, and after a reset."""
        specs = range(1, 60, 5)
        daemon = self.daemon(['CREATE_MKEY:%d' % n for n in specs], **devargs)
        front = self.frontend(daemon)
        dimms = [self.dimm() for _ in range(3)]
        front.start()
        front.fill()
        self.until_it_works(front)
        for count in (1, 3, 2, 0, 2, 1, 3):
            front.set_mem_table(dimms[:count])
            self.until_it_works(front)
            front.stop()
            front.restart()
            front.fill()
            self.until_it_works(front)
        front.disconnect()
        front.start()
        front.fill()
        self.until_it_works(front)
        front.disconnect()
        result = daemon.stop()
        self.assert_clean(result)
        failed = result.report['commands']['failed']
        self.assertGreaterEqual(failed, 3, result)
        self.assertEqual(len(re.findall('cannot (?:register guest memory|create indirect mkey)',
                                        result.stderr)), failed, result)
        self.assertEqual(len(re.findall('cannot configure the device', result.stderr)), failed, result)

    def until_it_works(self, front):
        """The vhost library starts a device that could not be started with the next message. Two
        refusals in a row are the most."""
        for _ in range(3):
            front.get_u64(vhost_user.GET_FEATURES)
        self.assertEqual(vhost_user.ping_pong(front, 20), (0, 0))

    def test_now_and_then(self):
        self.now_and_then()

    def test_now_and_then_devx(self):
        self.now_and_then(mr_backend='devx', persist='reconnect')


if __name__ == '__main__':
    harness.main()
