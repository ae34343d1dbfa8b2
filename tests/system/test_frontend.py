# SPDX-License-Identifier: BSD-3-Clause
"""A front-end that dies at any message of its start: the next one finds a whole device."""
import contextlib
import multiprocessing
import os
import signal

import harness
import vhost_user


class Killed(harness.Case):
    PAIRS = 2

    def setUp(self):
        super().setUp()
        self.daemon = harness.Daemon(self)
        self.path = self.daemon.socket()

    def frontend(self):
        return vhost_user.Frontend(self.path, pairs=self.PAIRS, mem_bytes=8 << 20, ring_size=64)

    def full_start(self):
        front = self.frontend()
        front.start()
        front.fill()
        for pair in range(self.PAIRS):
            self.assertEqual(vhost_user.ping_pong(front, 20, pair), (0, 0))
        front.close()

    def each_message(self, leave):
        """@leave plays the first messages and is gone; then a whole start works."""
        front = self.frontend()
        names = [name for name, _ in front.start_steps()]
        front.close()
        for count in range(len(names) + 1):
            with self.subTest(last=names[count - 1] if count else 'connect'):
                leave(count)
                self.full_start()
        self.assert_clean(self.daemon.stop())

    def test_leaves_after_the_answer(self):
        def leave(count):
            front = self.frontend()
            front.play(count)
            front.close()
        self.each_message(leave)

    def test_leaves_at_once(self):
        """Gone while the daemon works on its last message."""
        def leave(count):
            front = self.frontend()
            front.play(count, wait=False)
            front.close()
        self.each_message(leave)

    def test_killed(self):
        """Its process is killed, with traffic under way where it came that far."""
        def live_and_die(count):
            front = self.frontend()
            front.connect()
            steps = front.start_steps()
            for _, step in steps[:count]:
                step()
            if count == len(steps):
                front.fill()
                front.send([vhost_user.frame(i) for i in range(32)])
            os.kill(os.getpid(), signal.SIGKILL)

        def leave(count):
            child = multiprocessing.get_context('fork').Process(target=live_and_die, args=(count,))
            child.start()
            child.join()
            self.assertEqual(child.exitcode, -signal.SIGKILL)
        self.each_message(leave)


class Offered(harness.Case):
    """Features that need nothing of the device, and those that its capabilities decide on."""

    def offers(self, devices=()):
        daemon = harness.Daemon(self, devices)
        front = vhost_user.Frontend(daemon.socket())
        front.connect()
        features = front.get_u64(vhost_user.GET_FEATURES)
        protocol = front.get_u64(vhost_user.GET_PROTOCOL_FEATURES)
        front.close()
        self.assert_clean(daemon.stop())
        return features, protocol

    def test_features(self):
        always = (vhost_user.F_MTU | vhost_user.F_GUEST_ANNOUNCE | vhost_user.F_MQ |
                  vhost_user.F_LOG_ALL | vhost_user.F_PROTOCOL_FEATURES)
        features, protocol = self.offers()
        self.assertEqual(features & always, always)
        for feature in (vhost_user.F_VERSION_1, vhost_user.F_RING_PACKED, vhost_user.F_CSUM,
                        vhost_user.F_GUEST_CSUM, vhost_user.F_HOST_TSO4, vhost_user.F_HOST_TSO6):
            self.assertTrue(features & feature, hex(feature))
        wanted = (vhost_user.PROTOCOL_F_MQ | vhost_user.PROTOCOL_F_LOG_SHMFD |
                  vhost_user.PROTOCOL_F_REPLY_ACK | vhost_user.PROTOCOL_F_NET_MTU |
                  vhost_user.PROTOCOL_F_STATUS | vhost_user.Notifiers.PROTOCOL_FEATURES)
        self.assertEqual(protocol & wanted, wanted)

    def test_capabilities(self):
        """Segmentation needs checksums."""
        for caps, gone in (
                ('-tso_ipv4', vhost_user.F_HOST_TSO4), ('-tso_ipv6', vhost_user.F_HOST_TSO6),
                ('-rx_csum', vhost_user.F_GUEST_CSUM),
                ('-tx_csum', vhost_user.F_CSUM | vhost_user.F_HOST_TSO4 | vhost_user.F_HOST_TSO6)):
            with self.subTest(caps=caps):
                features, _ = self.offers(['caps=' + caps])
                self.assertEqual(features & gone, 0)

    def test_mtu(self):
        """An emulated device has no network interface of the kernel: it goes without."""
        daemon = harness.Daemon(self)
        front = vhost_user.Frontend(daemon.socket(), features=vhost_user.F_MTU)
        front.connect()
        for name, step in front.start_steps():
            if name == 'SET_MEM_TABLE':
                front.set_u64(vhost_user.NET_SET_MTU, 9000)
            step()
        front.get_u64(vhost_user.GET_FEATURES)
        front.fill()
        self.assertEqual(vhost_user.ping_pong(front, 50), (0, 0))
        front.close()
        result = daemon.stop()
        self.assert_clean(result)
        self.assertNotIn('mlx5_persist:', result.stderr)


class Second(harness.Case):
    """A second connection on the socket of a device that serves one."""

    def setUp(self):
        super().setUp()
        self.daemon = harness.Daemon(self)
        self.first = self.frontend()
        self.first.start()
        self.first.fill()

    def frontend(self):
        return vhost_user.Frontend(self.daemon.socket(), pairs=2, mem_bytes=8 << 20, ring_size=64)

    def works(self, front, first=0):
        for pair in range(2):
            self.assertEqual(vhost_user.ping_pong(front, 40, pair, first), (0, 0))

    def test_does_not_touch_the_first(self):
        for number in range(3):
            second = self.frontend()
            second.start()
            second.enable(0, False)
            self.works(self.first, 100 * number)
            second.stop()
            self.works(self.first, 100 * number + 40)
            second.close()
            self.first.stop()
            self.first.restart()
            self.first.fill()
        self.works(self.first)
        self.first.close()
        result = self.daemon.stop()
        self.assert_clean(result)
        # One line for each: the library starts the device again and again.
        lines = [line for line in result.stderr.splitlines() if line.startswith('mlx5_persist:')]
        self.assertEqual(len(lines), 3, lines)
        for line in lines:
            self.assertRegex(line, r'connection \d+ is refused: the device serves another one')

    def test_takes_over(self):
        """What it said while it was refused counts when the first has gone."""
        second = self.frontend()
        second.start()
        self.works(self.first)
        self.first.close()
        second.fill()
        early = vhost_user.frame(0)

        def served():
            second.get_u64(vhost_user.GET_FEATURES)
            if second.rings[1].free:
                second.send([early])
            return second.receive(1, timeout=0.2)
        self.wait_for(served, 'the second is served')
        # More of those may be under way.
        frames = {vhost_user.frame(100 + i) for i in range(40)}
        second.send(frames)
        got = set()
        while not frames <= got:
            more = second.receive(1)
            self.assertTrue(more, 'lost: %d' % len(frames - got))
            got.update(more)
        self.assertLessEqual(got, frames | {early})
        second.close()
        self.assert_clean(self.daemon.stop())


class Hostile(harness.Case):
    """Nonsense from a front-end costs it its own device at most."""

    def test_rings_outside_memory(self):
        daemon = harness.Daemon(self)
        bad = vhost_user.Frontend(daemon.socket(), mem_bytes=8 << 20)
        for ring in bad.rings:
            ring.clear()
        bad.connect()
        bad.rings[1].avail = 64 << 20
        with contextlib.suppress(vhost_user.FrontendError):
            for _, step in bad.start_steps():
                step()
        bad.close()
        front = vhost_user.Frontend(daemon.socket())
        front.start()
        front.fill()
        self.assertEqual(vhost_user.ping_pong(front, 20), (0, 0))
        front.close()
        self.assert_clean(daemon.stop(), faults=False)

    def test_buffers_outside_memory(self):
        """The device faults, the queue goes into error, and a reset heals it."""
        daemon = harness.Daemon(self)
        front = vhost_user.Frontend(daemon.socket())
        front.start()
        front.fill()
        front.rings[1].buffers += 1 << 40
        front.rings[1].push(0, 64, 0)
        front.rings[1].buffers -= 1 << 40
        front.rings[1].ring_doorbell()
        self.assertEqual(front.receive(1, timeout=0.5), [])
        front.stop()
        front.restart()
        front.fill()
        self.assertEqual(vhost_user.ping_pong(front, 20), (0, 0))
        front.close()
        result = daemon.stop()
        self.assert_clean(result, faults=False)
        self.assertGreaterEqual(result.report['dma']['faults'], 1)


if __name__ == '__main__':
    harness.main()
