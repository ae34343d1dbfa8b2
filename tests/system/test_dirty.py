# SPDX-License-Identifier: BSD-3-Clause
"""Dirty logging: what the device writes while a guest is migrated is marked in the log, page by
page, and nothing else is."""
import re
import struct
import threading

import harness
import vhost_user
from vhost_user import BUFFER_LEN, PAGE

PAIRS = 2
MEM = 16 << 20
RULES = 7                      # of steering


def pages(start, length):
    """Pages that an interval touches."""
    return set(range(start // PAGE * PAGE, start + length, PAGE))


class Logged(harness.Case):
    def start(self, fail=(), devices=(), packed=False, latency=None, **devargs):
        self.daemon = harness.Daemon(self, devices, vdevs=[harness.vdev(**devargs)], fail=fail,
                                     latency=latency)
        self.front = vhost_user.Frontend(self.daemon.socket(), pairs=PAIRS, mem_bytes=MEM,
                                         features=vhost_user.F_LOG_ALL, packed=packed)
        self.log = self.new_log()
        self.connect()

    def new_log(self):
        log = vhost_user.DirtyLog(MEM)
        self.addCleanup(log.close)
        return log

    def connect(self):
        """A start without logging, on a device that offers it."""
        front = self.front
        front.begin()
        for name, step in front.start_steps():
            step()
            if name == 'GET_FEATURES':
                front.features &= ~vhost_user.F_LOG_ALL
        front.get_u64(vhost_user.GET_FEATURES)
        front.fill()

    def finish(self, faults=True, steady=True):
        self.front.close()
        result = self.daemon.stop()
        self.assert_clean(result, faults)
        if steady:
            self.assert_steady(result)
        return result

    def traffic(self, count=100, first=0):
        for pair in range(PAIRS):
            self.assertEqual(vhost_user.ping_pong(self.front, count, pair, first), (0, 0))

    def rings_pages(self):
        return set().union(*(pages(ring.used, 6 + 8 * ring.size) for ring in self.front.rings))

    def device_writes(self):
        """All that a device may write: used rings and receive buffers."""
        return self.rings_pages().union(*(pages(ring.buffers, BUFFER_LEN * ring.size)
                                          for ring in self.front.rings[0::2]))

    def changed(self, before):
        """Pages that differ from @before, without those that the guest alone writes to."""
        now = bytes(self.front.mem)
        differ = {start for start in range(0, MEM, PAGE)
                  if now[start:start + PAGE] != before[start:start + PAGE]}
        for ring in self.front.rings[1::2]:
            differ -= pages(ring.buffers, BUFFER_LEN * ring.size)
        for ring in self.front.rings:
            differ -= pages(ring.desc, ring.used - ring.desc) - self.rings_pages()
        return differ

    def complete(self, before, marked):
        self.assertEqual(self.changed(before) - marked, set(), 'written and not marked')
        self.assertEqual(marked - self.device_writes(), set(), 'marked and not written')


class Running(Logged):
    """Logging comes and goes while packets flow."""

    def test_marks(self):
        for args in ({}, {'reuse_queues': 0}, {'mr_backend': 'devx'}, {'event_mode': 1}):
            with self.subTest(**args):
                self.start(**args)
                front = self.front
                self.traffic()
                self.assertEqual(self.log.take(), set())
                before = bytes(front.mem)
                front.set_log(self.log)
                self.assertEqual(self.log.take(), set())
                front.logging(True)
                self.traffic(first=1000)
                marked = self.log.take()
                self.assertGreater(len(marked), 50)
                self.traffic(first=2000)
                bases = front.stop()
                marked |= self.log.take()
                self.complete(before, marked)
                self.assertLessEqual(self.rings_pages(), marked)
                for ring, base in zip(front.rings, bases):
                    self.assertEqual(base, struct.unpack_from('<H', front.mem, ring.used + 2)[0])
                self.finish()

    def test_off_again(self):
        """A migration that is called off, and another one."""
        self.start()
        front = self.front
        front.set_log(self.log)
        for number in range(5):
            front.logging(True)
            self.traffic(first=200 * number)
            self.assertTrue(self.log.take())
            front.logging(False)
            self.traffic(first=200 * number + 100)
            self.assertEqual(self.log.take(), set())
        front.stop()
        self.assertEqual(self.log.take(), set())
        self.finish()

    def test_switched_under_traffic(self):
        """Again and again, and no frame is lost; what is written while it is on is marked."""
        for packed in (False, True):
            with self.subTest(packed=packed):
                self.start(packed=packed)
                front = self.front
                front.set_log(self.log)
                leave, outcome = threading.Event(), []

                def traffic():
                    while not leave.is_set():
                        outcome.append(vhost_user.ping_pong(front, 64, 0, 64 * len(outcome)))
                worker = threading.Thread(target=traffic)
                worker.start()
                try:
                    for _ in range(20):
                        front.logging(True)
                        front.logging(False)
                finally:
                    leave.set()
                    worker.join()
                self.assertLessEqual(set(outcome), {(0, 0)})
                self.log.take()
                before = bytes(front.mem)
                front.logging(True)
                self.traffic(first=1 << 20)
                front.stop()
                marked, now = self.log.take(), bytes(front.mem)
                for ring in front.rings[0::2]:
                    written = {at for at in pages(ring.buffers, BUFFER_LEN * ring.size)
                               if now[at:at + PAGE] != before[at:at + PAGE]}
                    self.assertLessEqual(written, marked)
                    if ring.next_used != ring.FIRST:
                        wrote = ring.desc if packed else ring.used
                        self.assertIn(wrote // PAGE * PAGE, marked)
                self.finish()

    def test_log_moves(self):
        """Memory that is added in a migration makes the log longer: QEMU sends another one."""
        self.start()
        front = self.front
        front.set_log(self.log)
        front.logging(True)
        self.traffic()
        before = bytes(front.mem)
        other = self.new_log()
        front.set_log(other)
        self.log.take()
        self.traffic(first=1000)
        front.stop()
        self.assertEqual(self.log.take(), set())
        self.complete(before, other.take())
        self.finish()

    def test_log_moves_under_traffic(self):
        """All queues stand meanwhile. Those that receive go on first: no frame is lost."""
        self.start(latency='cx6dx')
        front = self.front
        front.set_log(self.log)
        front.logging(True)
        for number in range(5):
            front.set_log(self.new_log())
            self.traffic(count=32, first=64 * number)
        front.stop()
        self.finish()

    def test_log_moves_past_a_queue_that_is_down(self):
        """It was given up for its errors: it stays down until the reset, which heals it."""
        self.start(rewind_ms=0)
        front, ring = self.front, self.front.rings[1]
        front.set_log(self.log)
        front.logging(True)
        ring.push_chain([(1 << 40, 64, 0)])
        ring.ring_doorbell()
        self.daemon.wait_errors('virtqueue 1 went to error: .*stays down')
        recoveries = len(self.daemon.errors('virtqueue 1 went to error: .*goes on'))
        front.set_log(self.new_log())
        self.assertEqual(vhost_user.ping_pong(front, 32, 1), (0, 0))
        front.stop()
        front.restart()
        front.fill()
        self.traffic(first=1000)
        result = self.finish(faults=False, steady=False)
        # An object for each queue and for its counters; then the recoveries, and the reset.
        self.assertEqual(result.count('CREATE_GENERAL_OBJECT'), 4 * PAIRS + recoveries + 1, result)

    def test_log_moves_and_packets_are_steered_as_before(self):
        self.start(rewind_ms=0)
        self.front.set_log(self.log)
        self.front.logging(True)
        for _ in range(3):
            self.front.set_log(self.new_log())
        self.traffic()
        self.front.stop()
        result = self.finish()
        self.assertEqual(result.count('CREATE_TIR'), RULES, result)

    def test_log_that_is_refused(self):
        """The old one stays."""
        self.start()
        front = self.front
        front.set_log(self.log)
        front.logging(True)
        before = bytes(front.mem)
        with self.assertRaises(vhost_user.FrontendError):
            front.command(vhost_user.SET_LOG_BASE, struct.pack('<QQ', self.log.size, 0))
        front.get_u64(vhost_user.GET_FEATURES)
        self.traffic()
        front.stop()
        self.complete(before, self.log.take())
        self.finish()

    def test_ring_disabled_and_enabled(self):
        """Its used ring is marked when it stops; started again, it logs again."""
        self.start()
        front = self.front
        front.set_log(self.log)
        front.logging(True)
        before = bytes(front.mem)
        self.traffic()
        front.enable(3, False)
        front.get_u64(vhost_user.GET_FEATURES)
        ring = front.rings[3]
        marked = self.log.take()
        self.assertLessEqual(pages(ring.used, 6 + 8 * ring.size), marked)
        front.enable(3, True)
        self.traffic(first=1000)
        front.stop()
        self.complete(before, marked | self.log.take())
        self.finish()

    def test_objects(self):
        """Switching leaves nothing behind while it goes on."""
        self.start()
        front = self.front
        front.set_log(self.log)
        for _ in range(200):
            front.logging(True)
            front.logging(False)
        for _ in range(50):
            front.set_log(self.log)
        self.traffic()
        result = self.finish()
        self.assertGreaterEqual(result.count('DESTROY_MKEY'), 400)


class Restarted(Logged):
    def test_reset_while_logging(self):
        self.start()
        front = self.front
        front.set_log(self.log)
        front.logging(True)
        before = bytes(front.mem)
        marked = set()
        for number in range(4):
            self.traffic(first=200 * number)
            front.stop()
            marked |= self.log.take()
            front.restart()
            front.fill()
        self.traffic()
        front.stop()
        # Rings were cleared by the guest in between.
        self.assertEqual((marked | self.log.take()) - self.device_writes(), set())
        self.assertLessEqual(self.device_writes() & self.changed(before),
                             marked | self.rings_pages())
        self.finish()

    def test_resumed_without(self):
        """Stopped with logging, started without: the objects that are used again are quiet."""
        self.start()
        front = self.front
        front.set_log(self.log)
        front.logging(True)
        self.traffic()
        front.stop()
        self.log.take()
        front.features &= ~vhost_user.F_LOG_ALL
        front.restart()
        front.fill()
        self.traffic()
        front.stop()
        self.assertEqual(self.log.take(), set())
        self.finish()

    def test_switched_on_while_stopped(self):
        self.start()
        front = self.front
        self.traffic()
        front.stop()
        front.set_log(self.log)
        front.features |= vhost_user.F_LOG_ALL
        for ring in front.rings:
            ring.clear()
        before = bytes(front.mem)
        front.restart()
        front.fill()
        self.traffic()
        front.stop()
        self.complete(before, self.log.take())
        self.finish()

    def test_connection_ends_while_logging(self):
        for _ in range(2):
            self.start()
            self.front.set_log(self.log)
            self.front.logging(True)
            self.traffic()
            self.front.disconnect()
            self.connect()
            self.log.take()
            self.traffic()
            self.front.stop()
            self.assertEqual(self.log.take(), set())
            self.finish()

    def test_queue_in_error_while_logging(self):
        """A queue that was brought back logs, too."""
        self.start()
        front = self.front
        ring = front.rings[1]
        front.set_log(self.log)
        front.logging(True)
        # A chain without end, then, mended in time for the third try or not, a reset.
        ring.push_chain([(1 << 40, 64, 0)])
        ring.ring_doorbell()
        self.assertEqual(front.receive(1, timeout=0.5), [])
        front.stop()
        self.log.take()
        front.restart()
        front.fill()
        before = bytes(front.mem)
        self.traffic()
        front.stop()
        self.complete(before, self.log.take())
        self.finish(faults=False, steady=False)


class Refused(Logged):
    """Better no network than a guest that arrives with stale pages."""

    def heals(self):
        self.front.stop()
        self.front.features &= ~vhost_user.F_LOG_ALL
        self.front.restart()
        self.front.fill()
        self.traffic()

    def silent(self):
        """Nothing is written any more."""
        front = self.front
        for ring in front.rings[1::2]:
            before = bytes(front.mem[ring.used:ring.used + 6 + 8 * ring.size])
            front.send([vhost_user.frame(7)], pair=ring.index // 2)
            self.assertEqual(front.receive(1, timeout=0.2), [])
            self.assertEqual(before, bytes(front.mem[ring.used:ring.used + 6 + 8 * ring.size]))

    def test_no_log(self):
        self.start()
        self.traffic()
        self.front.logging(True)
        self.silent()
        for ring in self.front.rings:
            self.front.enable(ring.index, False)
            self.front.get_u64(vhost_user.GET_FEATURES)
            self.front.enable(ring.index, True)
        self.front.get_u64(vhost_user.GET_FEATURES)
        self.silent()
        self.heals()
        result = self.finish()
        self.assertEqual(len(re.findall('wants dirty pages logged and gave no log', result.stderr)),
                         1, result)

    def test_log_not_registered(self):
        """CREATE_MKEY: two for memory and its space, the next is the log's."""
        for number in (3, 4):
            self.start(fail=['CREATE_MKEY:%d' % number])
            self.traffic()
            self.front.set_log(self.log)
            self.front.logging(True)
            self.silent()
            self.assertEqual(self.log.take() - self.rings_pages(), set())
            self.heals()
            result = self.finish()
            self.assertIn('its queues stop', result.stderr)

    def test_queue_does_not_log(self):
        """One is refused, whichever asks first; the others log."""
        self.start(fail=['MODIFY_GENERAL_OBJECT:%d' % (2 * PAIRS + 1)])
        front = self.front
        self.traffic()
        before = bytes(front.mem)
        front.set_log(self.log)
        front.logging(True)
        refused = self.daemon.errors(r"virtqueue (\d+) can't log what it writes")
        self.assertEqual(len(refused), 1)
        for pair in range(PAIRS):
            if int(refused[0]) != 2 * pair + 1:
                self.assertEqual(vhost_user.ping_pong(front, 100, pair, 1000), (0, 0))
        front.stop()
        self.complete(before, self.log.take())
        front.restart()
        front.fill()
        self.traffic()
        result = self.finish()
        self.assertEqual(result.stderr.count("can't log what it writes"), 1, result)


if __name__ == '__main__':
    harness.main()
