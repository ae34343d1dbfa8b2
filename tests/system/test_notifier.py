# SPDX-License-Identifier: BSD-3-Clause
"""Host notifiers: the guest rings the card itself, if its front-end plays along; and a front-end
that does not costs nobody anything."""
import os
import threading
import time

import harness
import vhost_user

PAIRS = 2


class Notifier(harness.Case):
    def start(self, answer=0, **devargs):
        self.daemon = harness.Daemon(self, vdevs=[harness.vdev(**devargs)])
        self.notifiers = vhost_user.Notifiers(answer)
        self.addCleanup(self.notifiers.close)
        self.front = vhost_user.Frontend(self.daemon.socket(), pairs=PAIRS,
                                         notifiers=self.notifiers)
        self.front.start()

    def traffic(self, first=0):
        for pair in range(PAIRS):
            self.assertEqual(vhost_user.ping_pong(self.front, 64, pair, first), (0, 0))

    def finish(self):
        self.front.close()
        result = self.daemon.stop()
        self.assert_clean(result)
        return result

    def wait_offers(self, count, seconds=harness.WAIT_TIMEOUT):
        deadline = time.monotonic() + seconds
        while len(self.notifiers.offers) < count and time.monotonic() < deadline:
            time.sleep(0.01)
        return sorted(self.notifiers.offers)

    def kicks(self):
        """How often each kick descriptor was written to; nobody reads them."""
        counts = []
        for ring in self.front.rings:
            fd = os.dup(ring.kick)
            try:
                count = os.eventfd_read(fd)
                os.eventfd_write(fd, count)
            except BlockingIOError:
                count = 0
            finally:
                os.close(fd)
            counts.append(count)
        return counts


class Accepted(Notifier):
    def test_guest_rings_the_card(self):
        self.start()
        self.front.fill()
        self.traffic()
        self.assertEqual(self.wait_offers(2 * PAIRS), list(range(2 * PAIRS)))
        before = self.kicks()
        self.traffic(first=1000)
        self.assertEqual(self.kicks(), before)
        self.finish()

    def test_a_ring_that_never_kicks_needs_none(self):
        self.start()
        self.assertEqual(self.wait_offers(1, seconds=0.3), [])
        for ring in self.front.rings[:2]:
            ring.ring_doorbell()
        self.assertEqual(self.wait_offers(2), [0, 1])
        self.assertEqual(self.wait_offers(3, seconds=0.2), [0, 1])
        self.finish()

    def test_again_after_each_start(self):
        self.start()
        for number in range(1, 5):
            self.front.fill()
            self.traffic()
            self.assertEqual(len(self.wait_offers(2 * PAIRS * number)), 2 * PAIRS * number)
            self.front.stop()
            self.front.restart()
        self.finish()

    def test_stopped_device_is_quiet(self):
        """The guest has the page still, and rings it without end through stops and starts."""
        self.start()
        self.front.fill()
        self.traffic()
        self.wait_offers(2 * PAIRS)
        kept = [ring.doorbell for ring in self.front.rings]
        leave = threading.Event()

        def storm():
            while not leave.is_set():
                for index, page in enumerate(kept):
                    page[0:2] = bytes([index, 0])
                kept[0][0:4] = b'\xff\xff\xff\xff'
        thread = threading.Thread(target=storm)
        thread.start()
        try:
            for _ in range(5):
                self.front.stop()
                self.front.send([vhost_user.frame(i) for i in range(20)])
                before = bytes(self.front.mem)
                time.sleep(0.1)
                self.assertEqual(before, bytes(self.front.mem), 'a stopped device wrote')
                self.front.restart()
                self.front.fill()
                self.traffic()
        finally:
            leave.set()
            thread.join()
        self.finish()

    def test_doorbell_outlives_the_daemon(self):
        """A guest that rings a page whose device is gone."""
        self.start()
        self.front.fill()
        self.traffic()
        self.wait_offers(2 * PAIRS)
        self.assert_clean(self.daemon.stop())
        for ring in self.front.rings:
            ring.ring_doorbell()
        self.front.close()


class Unwilling(Notifier):
    def test_refused(self):
        """Once for each queue, through resets and connections: QEMU without page-per-vq=on does not
        survive a second offer."""
        self.start(answer=1)
        for _ in range(2):
            for _ in range(3):
                self.front.fill()
                self.traffic()
                self.assertEqual(self.wait_offers(2 * PAIRS), list(range(2 * PAIRS)))
                self.front.stop()
                self.front.restart()
            self.front.disconnect()
            self.front.start()
        self.front.fill()
        self.traffic()
        self.assertEqual(len(self.notifiers.offers), 2 * PAIRS)
        result = self.finish()
        self.assertNotIn('mlx5_persist:', result.stderr)

    def test_not_offered_to_who_takes_none(self):
        daemon = harness.Daemon(self)
        front = vhost_user.Frontend(daemon.socket(), pairs=PAIRS)
        front.start()
        front.fill()
        self.assertEqual(vhost_user.ping_pong(front, 64), (0, 0))
        front.close()
        result = daemon.stop()
        self.assert_clean(result)
        self.assertNotIn('mlx5_persist:', result.stderr)

    def test_no_answer(self):
        """Packets flow, a stop is not held up, one line tells, this connection is left alone."""
        self.start(answer=None)
        for number in range(3):
            self.front.fill()
            self.traffic()
            self.assertEqual(len(self.wait_offers(1)), 1, 'after %d stops' % number)
            self.front.stop()
            self.front.restart()
        result = self.finish()
        self.assertEqual(result.stderr.count('the front-end does not answer'), 1, result)

    def test_no_answer_then_reset_owner(self):
        """The offer that was broken off keeps the vhost library's lock for as long as the connection
        lives: another one would never come back, nor would the stop that waits for it."""
        self.start(answer=None)
        self.front.fill()
        self.traffic()
        self.wait_offers(1)
        self.front.stop()
        self.front.command(vhost_user.RESET_OWNER)
        self.front.notifiers = vhost_user.Notifiers()
        self.addCleanup(self.front.notifiers.close)
        self.front.start()
        self.front.fill()
        self.traffic()
        self.front.stop()
        self.front.restart()
        self.front.fill()
        self.traffic()
        self.assertEqual(self.front.notifiers.offers, [])
        self.finish()

    def test_next_connection(self):
        """Of a front-end that answers, after one that did not and was gone without closing its
        channel."""
        self.start(answer=None)
        self.front.fill()
        self.traffic()
        self.wait_offers(1)
        self.front.disconnect()
        self.front.notifiers = vhost_user.Notifiers()
        self.addCleanup(self.front.notifiers.close)
        self.front.start()
        self.front.fill()
        self.traffic()
        self.notifiers, old = self.front.notifiers, self.notifiers
        self.assertEqual(self.wait_offers(2 * PAIRS), list(range(2 * PAIRS)))
        old.close()
        self.finish()

    def test_channel_closed(self):
        self.start(answer=None)
        self.notifiers.close()
        self.front.fill()
        self.traffic()
        self.front.stop()
        self.front.restart()
        self.front.fill()
        self.traffic()
        self.finish()

    def test_daemon_leaves_unanswered(self):
        self.start(answer=None)
        self.front.fill()
        self.traffic()
        self.wait_offers(1)
        self.assert_clean(self.daemon.stop())
        self.front.close()


if __name__ == '__main__':
    harness.main()
