# SPDX-License-Identifier: BSD-3-Clause
"""A queue in error: the driver brings it back where it stood, a few times; then it stays down until
the guest's reset, and nothing else is touched."""
import re
import struct
import time

import harness
import vhost_user

RETRIES, WINDOW = 3, 3.0
OUTSIDE = 1 << 40


def put_buffer(ring, address):
    """Make one receive buffer available, at a guest address of our choice."""
    desc = ring.free.pop(0)
    ring.push(desc, vhost_user.BUFFER_LEN, vhost_user.DESC_F_WRITE, address)
    return desc


def mend_buffer(ring, desc):
    struct.pack_into('<Q', ring.mem, ring.desc + 16 * desc, vhost_user.GPA + ring.buffer(desc))


class Recovery(harness.Case):
    """A receive queue meets a buffer outside of memory when a packet comes, and not again before
    the next one: so it is the test that decides when it fails."""

    def start(self, pairs=1, **devargs):
        """A daemon with a shell, and a guest."""
        self.failures = 0
        self.daemon = harness.Daemon(self, vdevs=[harness.vdev(**devargs)],
                                     options=['--interactive'])
        self.front = vhost_user.Frontend(self.daemon.socket(), pairs=pairs)
        self.front.start()

    def command(self, line):
        self.daemon.process.stdin.write(line + '\n')
        self.daemon.process.stdin.flush()

    def finish(self):
        """Returns all messages, and counters by queue and name."""
        for ring in self.front.rings:
            self.command('stats vdpa_mlx5_persist0 %d' % ring.index)
        self.command('quit')
        self.daemon.process.wait(harness.EXIT_TIMEOUT)
        self.front.close()
        result = self.daemon.result()
        self.assert_status(result, 0)
        self.assert_clean(result, faults=False)
        counters, queue = {}, None
        for line in result.stdout.splitlines():
            if m := re.match(r'\s*Virtq (\d+):', line):
                queue = int(m.group(1))
            elif m := re.match(r'\s*(.*?)\s+(\d+)\s*$', line):
                counters[(queue, m.group(1))] = int(m.group(2))
        return result.stderr, counters

    def errors(self, err, queue):
        return re.findall(r'virtqueue %d went to error: .*' % queue, err)

    def fail_once(self, number=0):
        """A packet for the buffer outside: the driver has dealt with what comes of it."""
        self.failures += 1
        self.front.send([vhost_user.frame(number)])
        self.daemon.wait_errors('virtqueue 0 went to error', self.failures)
        self.assertEqual(self.front.receive(1, timeout=0), [])

    def test_goes_on(self):
        self.start()
        ring = self.front.rings[0]
        desc = put_buffer(ring, OUTSIDE)
        self.fail_once()
        mend_buffer(ring, desc)
        self.front.send([vhost_user.frame(1)])
        self.assertEqual(self.front.receive(1), [vhost_user.frame(1)])
        self.front.fill()
        self.assertEqual(vhost_user.ping_pong(self.front, 100, first=2), (0, 0))
        err, counters = self.finish()
        lines = self.errors(err, 0)
        self.assertEqual(len(lines), 1, err)
        self.assertRegex(lines[0], r'INVALID_BUFFER \(3\): it goes on at index 0$')
        self.assertEqual(counters[(0, 'queue errors')], 1)
        self.assertEqual(counters[(0, 'queue recoveries')], 1)
        self.assertEqual(counters[(1, 'queue errors')], 0)

    def test_index(self):
        """It goes on where it stood, not where it started."""
        self.start()
        front, ring = self.front, self.front.rings[0]
        desc = ring.free.pop(0)
        ring.push(desc, vhost_user.BUFFER_LEN, vhost_user.DESC_F_WRITE)
        for number in range(300):
            front.send([vhost_user.frame(number)])
            self.assertEqual(front.receive(1), [vhost_user.frame(number)])
        # The good buffer is the next; after this it lies behind the bad one.
        bad = put_buffer(ring, OUTSIDE)
        front.send([vhost_user.frame(300)])
        self.assertEqual(len(front.receive(1)), 1)
        self.fail_once()
        mend_buffer(ring, bad)
        self.assertEqual(vhost_user.ping_pong(front, 2, first=301), (0, 0))
        self.assertEqual(front.get_vring_base(0), 303)
        err, _ = self.finish()
        self.assertRegex(self.errors(err, 0)[0], r'goes on at index 301$')

    def test_bound(self):
        """One more than the bound is one too many; the reset heals it, not the bound. On a machine
        that was held up for longer than the bound holds, that is no proof: once more."""
        self.assertTrue(any(self.bound() for _ in range(5)), 'each time the machine was held up')

    def bound(self):
        """Whether it came to an end while the bound held."""
        self.start()
        ring = self.front.rings[0]
        put_buffer(ring, OUTSIDE)
        began = time.monotonic()
        for number in range(RETRIES + 1):
            self.fail_once(number)
        # Down: packets are lost, the transmit queue goes on, and the index is known.
        self.front.send([vhost_user.frame(99)])
        self.assertEqual(self.front.receive(1, timeout=0.2), [])
        self.assertEqual(self.front.get_vring_base(0), 0)
        self.front.get_vring_base(1)
        self.front.restart()
        put_buffer(ring, OUTSIDE)
        self.fail_once()
        self.front.stop()
        if time.monotonic() - began > WINDOW:
            self.finish()
            return False
        time.sleep(WINDOW)
        self.front.restart()
        desc = put_buffer(ring, OUTSIDE)
        self.fail_once()
        mend_buffer(ring, desc)
        self.front.fill()
        self.assertEqual(vhost_user.ping_pong(self.front, 100), (0, 0))
        err, counters = self.finish()
        lines = self.errors(err, 0)
        self.assertEqual(len(lines), RETRIES + 3, err)
        down = ['stays down' in line for line in lines]
        self.assertEqual(down, [False] * RETRIES + [True, True, False], err)
        self.assertEqual(counters[(0, 'queue errors')], RETRIES + 3)
        self.assertEqual(counters[(0, 'queue recoveries')], RETRIES + 1)
        return True

    def test_bad_chain_to_send(self):
        """It is met again after every recovery: the bound is reached at once, and that is quiet."""
        self.start(pairs=2)
        self.front.fill()
        ring = self.front.rings[1]
        ring.push_chain([(OUTSIDE, 64, 0)])
        ring.ring_doorbell()
        self.daemon.wait_errors('virtqueue 1 went to error', RETRIES + 1)
        # The other pair does not notice, and what it sends arrives at both.
        self.assertEqual(vhost_user.ping_pong(self.front, 200, 1), (0, 0))
        self.assertEqual(self.front.get_vring_base(1), 0)
        self.front.stop()
        self.front.restart()
        self.front.fill()
        for pair in range(2):
            self.assertEqual(vhost_user.ping_pong(self.front, 100, pair), (0, 0))
        err, counters = self.finish()
        self.assertEqual(len(self.errors(err, 1)), RETRIES + 1, err)
        self.assertEqual(counters[(1, 'queue recoveries')], RETRIES)
        for queue in (0, 2, 3):
            self.assertEqual(counters[(queue, 'queue errors')], 0)

    def test_one_of_several(self):
        """Packets go to the receive queues that run."""
        self.start(pairs=4)
        front = self.front
        for ring in front.rings[2::2]:
            while ring.free:
                ring.push(ring.free.pop(0), vhost_user.BUFFER_LEN, vhost_user.DESC_F_WRITE)
            ring.ring_doorbell()
        for _ in range(RETRIES + 1):
            put_buffer(front.rings[0], OUTSIDE)
        front.rings[0].ring_doorbell()
        # Frames of one type all hash to one queue: make each meet the bad one until it is down. It
        # meets the same buffer each time, however often it is brought back.
        deadline = time.monotonic() + harness.WAIT_TIMEOUT
        while not self.daemon.errors('virtqueue 0 went to error: .*stays down'):
            self.assertLess(time.monotonic(), deadline)
            front.send([vhost_user.frame(0)])
            front.receive(1, timeout=0.05)
        while front.receive(1, timeout=0.2):
            pass
        for pair in range(4):
            self.assertEqual(vhost_user.ping_pong(front, 100, pair, first=1000), (0, 0))
        err, _ = self.finish()
        self.assertIn('stays down', self.errors(err, 0)[-1])

    def test_stop_finds_it_first(self):
        """Error and reset at the same time, many times over."""
        self.start()
        for _ in range(20):
            put_buffer(self.front.rings[0], OUTSIDE)
            self.front.send([vhost_user.frame(0)])
            self.front.stop()
            self.front.restart()
        time.sleep(WINDOW)
        self.front.stop()
        self.front.restart()
        self.front.fill()
        self.assertEqual(vhost_user.ping_pong(self.front, 100), (0, 0))
        self.finish()

    def test_front_end_leaves(self):
        """While its queues are in error."""
        self.start()
        for _ in range(5):
            put_buffer(self.front.rings[0], OUTSIDE)
            self.front.send([vhost_user.frame(0)])
            self.front.disconnect()
            self.front.start()
        self.front.fill()
        self.assertEqual(vhost_user.ping_pong(self.front, 100), (0, 0))
        self.finish()

    def test_timer_modes(self):
        for mode in (0, 1):
            with self.subTest(event_mode=mode):
                self.start(event_mode=mode)
                ring = self.front.rings[0]
                desc = put_buffer(ring, OUTSIDE)
                self.fail_once()
                mend_buffer(ring, desc)
                self.front.fill()
                self.assertEqual(vhost_user.ping_pong(self.front, 100), (0, 0))
                self.finish()


class Refused(harness.Case):
    """The card does not let the queue be made anew: it stays down, and the reset heals it."""

    def test_creation_fails(self):
        daemon = harness.Daemon(self, fail=['CREATE_GENERAL_OBJECT:5'])
        front = vhost_user.Frontend(daemon.socket())
        front.start()
        put_buffer(front.rings[0], OUTSIDE)
        front.send([vhost_user.frame(0)])
        daemon.wait_errors('stays down')
        self.assertEqual(front.get_vring_base(0), 0)
        front.stop()
        front.restart()
        front.fill()
        self.assertEqual(vhost_user.ping_pong(front, 100), (0, 0))
        front.close()
        result = daemon.stop()
        self.assert_clean(result, faults=False)
        self.assertEqual(len(re.findall('stays down.*: it can\'t be made anew', result.stderr)), 1,
                         result)

    def test_card_does_not_let_go(self):
        """Queues are made ready for the next front-end while the card still keeps the ones before them:
        neither those nor what they stand on are forgotten. A start that finds them fails, and the next
        one works."""
        refused = 6
        daemon = harness.Daemon(self, vdevs=[harness.vdev(rewind_ms=1)],
                                fail=['DESTROY_GENERAL_OBJECT:%d' % (n + 1) for n in range(refused)])
        front = vhost_user.Frontend(daemon.socket())
        front.start()
        front.fill()
        self.assertEqual(vhost_user.ping_pong(front, 20), (0, 0))
        front.disconnect()
        # Two at the connection's end; then those that are to be made ready.
        daemon.wait_errors('cannot destroy virtqueue 0x', 3)
        daemon.wait_errors('are not made ahead of it')
        front.start()
        # The vhost library tries again with each message.
        self.wait_for(lambda: front.get_u64(vhost_user.GET_FEATURES) and
                      len(daemon.errors('cannot destroy virtqueue 0x')) >= refused, 'refusals')
        front.get_u64(vhost_user.GET_FEATURES)
        front.fill()
        self.assertEqual(vhost_user.ping_pong(front, 20), (0, 0))
        front.close()
        result = daemon.stop()
        self.assert_clean(result)
        self.assertEqual(result.report['commands']['failed'], refused, result)


if __name__ == '__main__':
    harness.main()
