# SPDX-License-Identifier: BSD-3-Clause
"""Disabling a ring (ethtool -L in the guest) is no reset: its indices survive."""
import threading

import harness
import vhost_user


class RingState(harness.Case):
    def setUp(self):
        super().setUp()
        self.daemon = harness.Daemon(self)
        self.front = vhost_user.Frontend(self.daemon.socket(), pairs=2)
        self.front.start()
        self.front.fill()

    def finish(self):
        self.front.close()
        result = self.daemon.stop()
        self.assert_clean(result)
        return result

    def enable_pair(self, pair, on):
        for index in (2 * pair, 2 * pair + 1):
            self.front.enable(index, on)

    def test_indices_survive(self):
        front = self.front
        rounds, count = 5, 40
        for number in range(rounds):
            for pair in range(2):
                self.assertEqual(vhost_user.ping_pong(front, count, pair), (0, 0), number)
            self.enable_pair(1, False)
            self.assertEqual(vhost_user.ping_pong(front, count, 0), (0, 0), number)
            self.enable_pair(1, True)
        bases = front.stop()
        self.assertEqual(bases[1::2], [2 * rounds * count, rounds * count])
        self.assertEqual(sum(bases[0::2]), 3 * rounds * count)
        self.finish()

    def test_frames_wait_for_enable(self):
        """What is made available on a disabled ring is sent when it is enabled, not before."""
        front = self.front
        self.assertEqual(vhost_user.ping_pong(front, 40, 1), (0, 0))
        self.enable_pair(1, False)
        waiting = [vhost_user.frame(1000 + i) for i in range(20)]
        front.send(waiting, 1)
        self.assertEqual(front.receive(1, timeout=0.5), [])
        self.enable_pair(1, True)
        self.assertEqual(sorted(front.receive(len(waiting))), waiting)
        self.assertEqual(vhost_user.ping_pong(front, 40, 1), (0, 0))
        self.finish()

    def test_under_traffic(self):
        """The second pair comes and goes while the first one works without a loss."""
        front = self.front
        stop = threading.Event()
        outcome = []

        def traffic():
            first = 0
            while not stop.is_set():
                outcome.append(vhost_user.ping_pong(front, 64, 0, first))
                first += 64

        worker = threading.Thread(target=traffic)
        worker.start()
        try:
            for _ in range(25):
                self.enable_pair(1, False)
                self.enable_pair(1, True)
        finally:
            stop.set()
            worker.join()
        self.assertEqual(set(outcome), {(0, 0)})
        self.assertEqual(vhost_user.ping_pong(front, 64, 1, 1 << 32), (0, 0))
        self.finish()


if __name__ == '__main__':
    harness.main()
