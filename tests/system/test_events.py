# SPDX-License-Identifier: BSD-3-Clause
"""Event modes, moderation of completions, queues made ahead and threads: arguments of the driver
that NVIDIA's has, too, with the meaning that they have there."""
import os
import re
import select
import time

import harness
import vhost_user

MODES = {
    'interrupts': {'event_mode': 2},
    'fixed timer, no delay': {'event_mode': 1},
    'fixed timer, impatient': {'event_mode': 1, 'event_us': 200, 'no_traffic_time': 1},
    'timer that adapts, on one processor': {'event_mode': 0, 'event_core': 0},
    'timer that adapts in large steps': {'event_mode': 0, 'event_us': 100, 'no_traffic_time': 4},
}


def cpu_seconds(pid):
    """User and system time of all threads."""
    with open('/proc/%d/stat' % pid, encoding='ascii') as stat:
        fields = stat.read().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


class Modes(harness.Case):
    """In every mode packets arrive and the guest is called, also after a pause and after a reset;
    and without traffic the driver sleeps."""

    IDLE_SECONDS, IDLE_SHARE = 2, 0.02
    IDLE_ATTEMPTS = 10

    def test_modes(self):
        for name, args in MODES.items():
            with self.subTest(mode=name):
                self.one_mode(args)

    def one_mode(self, args):
        daemon = harness.Daemon(self, vdevs=[harness.vdev(**args)])
        front = vhost_user.Frontend(daemon.socket(), pairs=2)
        front.start()
        for _ in range(2):
            front.fill()
            for pair in range(2):
                self.assertEqual(vhost_user.ping_pong(front, 64, pair), (0, 0))
            time.sleep(0.1)
            self.assertEqual(vhost_user.ping_pong(front, 64, 0, first=1000), (0, 0))
            front.stop()
            front.restart()
        front.fill()
        self.assertEqual(vhost_user.ping_pong(front, 64), (0, 0))
        self.called(front)
        self.idle(daemon.program_pid())
        self.assertEqual(vhost_user.ping_pong(front, 64), (0, 0))
        front.close()
        self.assert_clean(daemon.stop())

    def called(self, front):
        """A guest that does nothing but wait for its interrupt gets it, every time."""
        ring = front.rings[0]
        for number in range(5):
            time.sleep(0.05)
            try:
                os.eventfd_read(ring.call)
            except BlockingIOError:
                pass
            front.send([vhost_user.frame(number)])
            self.assertTrue(select.select([ring.call], [], [], harness.WAIT_TIMEOUT)[0],
                            'no interrupt')
            os.eventfd_read(ring.call)
            self.assertEqual(len(front.receive(1)), 1)

    def idle(self, pid):
        """It comes to rest: soon, but when is not judged."""
        time.sleep(0.3)
        for _ in range(self.IDLE_ATTEMPTS):
            before = cpu_seconds(pid)
            time.sleep(self.IDLE_SECONDS)
            used = cpu_seconds(pid) - before
            if used < self.IDLE_SHARE * self.IDLE_SECONDS:
                return
        self.fail('%.2f s of processor time in %d s' % (used, self.IDLE_SECONDS))


class Traced(harness.Case):
    """What the device was told."""

    def commands(self):
        """The trace's lines of commands so far, as (name, text)."""
        lines = (self.dir / 'trace.txt').read_text().splitlines()
        return [(m.group(1), line) for line in lines
                if (m := re.match(r'mlx5_0 ([A-Z0-9_]+) uid', line))]

    def virtqs(self, opcode):
        """Lines of commands on virtqueue objects."""
        return [line for name, line in self.commands() if name == opcode and 'obj_type=0xd' in line]


class Moderation(Traced):
    def test_told_at_creation(self):
        daemon = harness.Daemon(self, trace=True, vdevs=[harness.vdev(
            hw_latency_mode=2, hw_max_latency_us=4095, hw_max_pending_comp=513)])
        front = vhost_user.Frontend(daemon.socket())
        front.start()
        front.fill()
        self.assertEqual(vhost_user.ping_pong(front, 50), (0, 0))
        created = self.virtqs('CREATE_GENERAL_OBJECT')
        self.assertEqual(len(created), 2)
        for line in created:
            for field in ('queue_period_mode=0x2', 'queue_period_us=0xfff',
                          'queue_max_count=0x201'):
                self.assertIn(field, line)
        front.close()
        self.assert_clean(daemon.stop())

    def test_default_says_nothing(self):
        daemon = harness.Daemon(self, trace=True)
        front = vhost_user.Frontend(daemon.socket())
        front.start()
        for line in self.virtqs('CREATE_GENERAL_OBJECT'):
            self.assertNotIn('queue_period', line)
        front.close()
        self.assert_clean(daemon.stop())


class MadeAhead(Traced):
    """queues= and queue_size=: the first start of a guest creates no queue."""

    ahead = None               # what was made before the first front-end

    def started(self, daemon, pairs, ring_size=256):
        """Names of the commands between the probe and a guest's first packets."""
        front = vhost_user.Frontend(daemon.socket(), pairs=pairs, ring_size=ring_size)
        # At the end of a connection, which is over when the next one is answered, they are
        # made again in the background.
        front.connect()
        front.get_u64(vhost_user.GET_FEATURES)
        if self.ahead is None:
            self.ahead = self.standing()
        self.wait_for(lambda: self.standing() == self.ahead, 'queues are made ahead again')
        before = len(self.commands())
        front.start()
        front.fill()
        for pair in range(pairs):
            self.assertEqual(vhost_user.ping_pong(front, 50, pair), (0, 0))
        # Packets are led to the last rings in the background, too.
        self.wait_for(self.settled, 'there are no more commands')
        return front, [name for name, _ in self.commands()[before:]]

    def settled(self):
        before = len(self.commands())
        time.sleep(0.3)
        return len(self.commands()) == before

    def standing(self):
        """How many queues and steering rules there are."""
        names = [name for name, _ in self.commands()]
        return (len(self.virtqs('CREATE_GENERAL_OBJECT')) -
                len(self.virtqs('DESTROY_GENERAL_OBJECT')),
                names.count('SET_FLOW_TABLE_ENTRY') - names.count('DELETE_FLOW_TABLE_ENTRY'))

    def daemon(self, devices=(), **args):
        return harness.Daemon(self, devices, trace=True, vdevs=[harness.vdev(**args)])

    def test_start(self):
        """A key of the memory and one over it, one command for each queue, one for steering."""
        daemon = self.daemon(queues=4, queue_size=256)
        front, names = self.started(daemon, 2)
        self.assertEqual(sorted(names), ['CREATE_MKEY'] * 2 + ['MODIFY_GENERAL_OBJECT'] * 4 +
                         ['MODIFY_RQT'])
        front.close()
        self.assert_clean(daemon.stop())

    def test_all_of_them(self):
        """With all queues in use steering stands already."""
        daemon = self.daemon(queues=2, queue_size=256)
        front, names = self.started(daemon, 2)
        self.assertNotIn('MODIFY_RQT', names)
        front.close()
        self.assert_clean(daemon.stop())

    def test_more_than_made(self):
        daemon = self.daemon(queues=1, queue_size=256)
        front, names = self.started(daemon, 3)
        self.assertEqual(names.count('CREATE_QP'), 8)
        front.close()
        self.assert_clean(daemon.stop())

    def test_other_ring_size(self):
        """They are made anew, and the next guest is expected to be like the last."""
        daemon = self.daemon(queues=1, queue_size=256)
        front, names = self.started(daemon, 1, ring_size=64)
        self.assertIn('CREATE_QP', names)
        front.close()
        front, names = self.started(daemon, 1, ring_size=64)
        self.assertNotIn('CREATE_GENERAL_OBJECT', names)
        front.close()
        self.assert_clean(daemon.stop())

    def test_next_connection(self):
        daemon = self.daemon(queues=2, queue_size=256)
        for _ in range(3):
            front, names = self.started(daemon, 2)
            self.assertNotIn('CREATE_GENERAL_OBJECT', names)
            front.close()
        self.assert_clean(daemon.stop())

    def test_unchangeable_queues(self):
        """On a card that can't change a queue object, what belongs to it is there all the same."""
        daemon = self.daemon(['caps=-virtio_net_q_addr_modify'], queues=2, queue_size=256)
        front, names = self.started(daemon, 2)
        self.assertEqual(names.count('CREATE_GENERAL_OBJECT'), 4)
        self.assertNotIn('CREATE_QP', names)
        front.stop()
        front.restart()
        front.fill()
        self.assertEqual(vhost_user.ping_pong(front, 50), (0, 0))
        front.close()
        self.assert_clean(daemon.stop())

    def test_more_than_the_card_has(self):
        daemon = self.daemon(['max_vqs=4'], queues=128, queue_size=256)
        front, _ = self.started(daemon, 2)
        front.close()
        self.assert_clean(daemon.stop())

    def test_nobody_comes(self):
        daemon = self.daemon(queues=8, queue_size=256)
        daemon.socket()
        self.assert_clean(daemon.stop())


class Threads(harness.Case):
    """max_conf_threads: the same commands, several at a time."""

    PAIRS = 8

    def life(self, **args):
        """A connection with a few resets. Returns the Result."""
        daemon = harness.Daemon(self, vdevs=[harness.vdev(**harness.NOTHING_AHEAD, **args)])
        front = vhost_user.Frontend(daemon.socket(), pairs=self.PAIRS, ring_size=64,
                                    mem_bytes=64 << 20)
        front.start()
        for number in range(3):
            front.fill()
            for pair in range(self.PAIRS):
                self.assertEqual(vhost_user.ping_pong(front, 20, pair, 1000 * number), (0, 0))
            front.stop()
            front.restart()
        front.close()
        result = daemon.stop()
        self.assert_clean(result)
        return result

    def test_same_commands(self):
        for more in ({}, {'reuse_queues': 0}, {'queues': 4, 'queue_size': 64}):
            with self.subTest(**more):
                alone = self.life(**more).report['commands']['by_opcode']
                together = self.life(max_conf_threads=7, **more).report['commands']['by_opcode']
                for opcode, stats in alone.items():
                    # Destroyed queues leave the table one by one, in whatever order.
                    if opcode != 'MODIFY_RQT':
                        self.assertEqual(together[opcode]['count'], stats['count'], opcode)


if __name__ == '__main__':
    harness.main()
