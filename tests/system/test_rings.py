# SPDX-License-Identifier: BSD-3-Clause
"""What happens to a running guest without a reset: rings that are disabled (ethtool -L) and enabled, and
memory that comes and goes. Indices survive, and no frame is lost."""
import os
import threading

import harness
import vhost_user


class Running(harness.Case):
    """A guest with two queue pairs."""

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


class RingState(Running):
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


class MemoryTable(Running):
    """A DIMM is plugged in and out: the vhost library closes and configures the device meanwhile."""

    DIMM = 16 << 20

    def test_hotplug(self):
        front = self.front
        dimm = os.memfd_create('dimm', os.MFD_CLOEXEC)
        self.addCleanup(os.close, dimm)
        os.ftruncate(dimm, self.DIMM)
        rounds, count = 4, 40
        for number in range(rounds):
            front.set_mem_table([(dimm, self.DIMM)] if number % 2 == 0 else [])
            for pair in range(2):
                self.assertEqual(vhost_user.ping_pong(front, count, pair), (0, 0), number)
        bases = front.stop()
        self.assertEqual(bases[1::2], [rounds * count] * 2)
        result = self.finish()
        # The guest's own memory was pinned once, and each time the DIMM alone.
        self.assertLess(result.report['pins']['bytes_total'],
                        front.mem_bytes + rounds // 2 * self.DIMM + (2 << 20))


if __name__ == '__main__':
    harness.main()
