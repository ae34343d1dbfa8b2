# SPDX-License-Identifier: BSD-3-Clause
"""persist=reconnect: what is pinned waits for a front-end to come back with the same memory, and is
gone before one with other memory starts."""
import os
import re
import struct
import time

import harness
import vhost_user

MEM = 16 << 20
RING = 64
LOG = '--log-level=pmd.vdpa.mlx5_persist:info'
NEVER = 3600 * 1000
KEYS = 2                   # of a life: a direct and an indirect one


class Sliced(vhost_user.Frontend):
    """The same memory, in regions that are cut elsewhere and mapped elsewhere."""
    cut = 5 << 20

    def set_mem_table(self, dimms=()):
        self.hva += 1 << 36
        regions = struct.pack('<QQQQ', vhost_user.GPA, self.cut, self.hva, 0)
        regions += struct.pack('<QQQQ', vhost_user.GPA + self.cut, self.mem_bytes - self.cut,
                               self.hva + self.cut, self.cut)
        self.command(vhost_user.SET_MEM_TABLE, struct.pack('<II', 2, 0) + regions,
                     [self.fd, self.fd])


class Reconnect(harness.Case):
    def daemon(self, timeout_ms=NEVER, trace=False, **devargs):
        vdev = harness.vdev(persist='reconnect', persist_timeout_ms=timeout_ms, **devargs)
        return harness.Daemon(self, vdevs=[vdev], trace=trace,
                              eal_args=harness.eal(LOG, cores='0'))

    def frontend(self, daemon, kind=vhost_user.Frontend, **kwargs):
        front = kind(daemon.socket(), mem_bytes=MEM, ring_size=RING, **kwargs)
        self.addCleanup(front.close)
        return front

    def serve(self, front):
        """A connection from start to end, with traffic."""
        front.start()
        front.fill()
        self.assertEqual(vhost_user.ping_pong(front, 50), (0, 0))
        front.disconnect()

    def wait(self, what, condition):
        deadline = time.monotonic() + harness.EXIT_TIMEOUT
        while not condition():
            if time.monotonic() > deadline:
                self.fail('not within %d s: %s' % (harness.EXIT_TIMEOUT, what))
            time.sleep(0.02)

    def wait_log(self, daemon, pattern):
        """Until the daemon says it."""
        log = self.dir / 'daemon.err'
        self.wait(pattern, lambda: re.search(pattern, log.read_text(errors='replace')))

    @staticmethod
    def open_memory(daemon):
        """How many descriptors of guest memory the daemon has."""
        folder = '/proc/%d/fd' % daemon.program_pid()
        count = 0
        for entry in os.listdir(folder):
            try:
                count += 'memfd:guest' in os.readlink(os.path.join(folder, entry))
            except FileNotFoundError:
                pass
        return count

    def pinned(self, connections, **devargs):
        """Bytes pinned in a daemon's life with a connection and @connections behind it, which have the
        same memory."""
        daemon = self.daemon(**devargs)
        first = self.frontend(daemon)
        self.serve(first)
        for kind in connections:
            self.serve(self.frontend(daemon, kind, memory=first.fd))
        result = daemon.stop()
        self.assert_clean(result)
        return result.report['pins']['bytes_total']

    def test_same_memory(self):
        """However it is mapped and sliced, nothing is pinned again."""
        once = self.pinned([])
        again = [vhost_user.Frontend, Sliced, vhost_user.Frontend]
        self.assertEqual(self.pinned(again), once)
        self.assertEqual(self.pinned(again, mr_backend='devx'), once)
        self.assertEqual(self.pinned(again, timeout_ms=0), once + len(again) * MEM)

    def test_other_memory(self):
        """Old pins go before the new device starts, and nobody writes there any more."""
        daemon = self.daemon(trace=True)
        old = self.frontend(daemon)
        self.serve(old)
        self.wait_log(daemon, 'is gone: %d bytes' % MEM)
        before = bytes(old.mem)
        new = self.frontend(daemon)
        new.start()
        new.fill()
        self.assertEqual(vhost_user.ping_pong(new, 200), (0, 0))
        self.wait_log(daemon, 'were not; %d bytes that waited were other memory' % MEM)
        self.assertEqual(self.open_memory(daemon), 2)  # the vhost library's and the driver's
        new.disconnect()
        self.assertEqual(bytes(old.mem), before)
        self.serve(old)  # which is a stranger again
        result = daemon.stop()
        self.assert_clean(result)
        self.assert_order((self.dir / 'trace.txt').read_text())

    def assert_order(self, trace):
        """One direct and one indirect key a life; the old ones are gone before the next life has
        any, and so before it has a queue."""
        alive = most = 0
        for name in re.findall(r'\b(CREATE_MKEY|DESTROY_MKEY)\b', trace):
            alive += 1 if name == 'CREATE_MKEY' else -1
            most = max(most, alive)
        self.assertEqual(most, KEYS)

    def test_partly_the_same(self):
        """A DIMM that is gone is unpinned, the rest is found."""
        daemon = self.daemon()
        front = self.frontend(daemon)
        dimm = os.memfd_create('guest', os.MFD_CLOEXEC)
        self.addCleanup(os.close, dimm)
        os.ftruncate(dimm, 2 << 20)
        whole = front.set_mem_table
        front.set_mem_table = lambda: whole([(dimm, 2 << 20)])
        self.serve(front)
        front.set_mem_table = whole
        self.serve(front)
        self.wait_log(daemon, '%d bytes were pinned still, 0 were not; %d bytes that waited' %
                      (MEM, 2 << 20))
        self.assert_clean(daemon.stop())

    def test_timeout(self):
        daemon = self.daemon(timeout_ms=200)
        front = self.frontend(daemon)
        for _ in range(2):
            self.serve(front)
            self.wait_log(daemon, 'nobody came back with the same memory: %d bytes' % MEM)
            (self.dir / 'daemon.err').write_text('')
            self.wait('memory is let go of', lambda: self.open_memory(daemon) == 0)
        self.assert_clean(daemon.stop())

    def test_timeout_spares_who_is_back(self):
        """It judges what waits, not what is in use."""
        daemon = self.daemon(timeout_ms=300)
        front = self.frontend(daemon)
        self.serve(front)
        front.start()
        front.fill()
        time.sleep(0.5)
        self.assertEqual(vhost_user.ping_pong(front, 100), (0, 0))
        front.disconnect()
        self.assert_clean(daemon.stop())

    def test_next_before_the_end(self):
        """The next connection begins before the last one's end."""
        daemon = self.daemon()
        old = self.frontend(daemon)
        old.start()
        old.fill()
        self.assertEqual(vhost_user.ping_pong(old, 50), (0, 0))
        old.stop()
        new = self.frontend(daemon, Sliced, memory=old.fd)
        new.connect()
        for ring in new.rings:
            ring.clear()
        steps = new.start_steps()
        for _, step in steps[:-1]:
            step()
        old.disconnect()
        self.wait_log(daemon, 'is gone: %d bytes' % MEM)
        steps[-1][1]()
        new.get_u64(vhost_user.GET_FEATURES)
        new.fill()
        self.assertEqual(vhost_user.ping_pong(new, 50), (0, 0))
        self.wait_log(daemon, '%d bytes were pinned still, 0 were not' % MEM)
        new.disconnect()
        self.assert_clean(daemon.stop())

    def dies_at_each_message(self, same):
        daemon = self.daemon()
        front = self.frontend(daemon)
        self.serve(front)
        for count in range(len(front.start_steps()) + 1):
            for wait in (True, False):
                other = self.frontend(daemon, memory=front.fd if same else None)
                other.play(count, wait)
                with self.subTest(messages=count, wait=wait):
                    self.serve(front)
        result = daemon.stop()
        self.assert_clean(result)
        return result.report['pins']['bytes_total']

    def test_dies_on_its_way_back(self):
        """After any message: its memory is still there for the next one."""
        self.assertEqual(self.dies_at_each_message(True), self.pinned([]))

    def test_stranger_dies(self):
        """After any message of one with other memory: the device is whole for the next one."""
        self.dies_at_each_message(False)


if __name__ == '__main__':
    harness.main()
