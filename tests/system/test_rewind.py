# SPDX-License-Identifier: BSD-3-Clause
"""Queues of a guest that reset its device and takes its time are set back ahead of the next start,
in the background: one command each, after which the start changes nothing but their state. What
comes in between, is refused, or does not want them like that, works all the same."""
import collections
import re
import time

import harness
from test_paths import Guest
from test_soak import COMMAND
import vhost_user

# modify_field_select and states of a virtqueue object (mlx5_ifc_vdpa.h).
STATE, ADDRS, AVAIL, USED = 1 << 0, 1 << 6, 1 << 7, 1 << 8
INDICES = AVAIL | USED
READY, SUSPENDED = 1, 2
REFUSED = 'is not changed ahead of its start'

PAIRS = 2
QUEUES = 2 * PAIRS
RULES = 7                      # of steering
# From a reset on, in ms: as good as at once, and not within any test.
SOON, NEVER = 1, 600000


class Rewind(harness.Case):
    def daemon(self, rewind_ms, fail=(), latency=None, **devargs):
        return harness.Daemon(self, vdevs=[harness.vdev(rewind_ms=rewind_ms, **devargs)], fail=fail,
                              trace=True, latency=latency)

    def modifies(self):
        """All changes of virtqueues so far: (queue, modify_field_select, state), and whether the
        device took them."""
        found = []
        for line in (self.dir / 'trace.txt').read_text(errors='replace').splitlines():
            if ' MODIFY_GENERAL_OBJECT ' not in line or not line.endswith('out:'):
                continue
            values = {name: int(value, 16) for name, value in
                      re.findall(r'\.(\w+)=(0x[0-9a-f]+)', line)}
            found.append(((values.get('queue_index', 0), values['modify_field_select'],
                           values.get('state', 0)), ' status OK' in line))
        return found

    def rewound(self, since=0):
        """Queues that were set back, from change number @since on."""
        return [queue for (queue, select, _), good in self.modifies()[since:]
                if good and select & ~INDICES == 0]

    def stop(self, guest, first=0):
        """A reset. Returns how many changes there were before, and the queues that moved."""
        since = len(self.modifies())
        moved = [index for index, base in enumerate(guest.front.stop()) if base != first]
        self.assertGreater(len(moved), PAIRS)
        return since, moved

    def wait_rewound(self, since, count):
        self.wait_for(lambda: len(self.rewound(since)) >= count, '%d queues set back' % count)

    def starts(self, since, queues=QUEUES):
        """What the last start changed in each queue, besides the state."""
        started = [(queue, select & ~STATE) for (queue, select, state), good
                   in self.modifies()[since:] if good and select & STATE and state == READY]
        self.assertEqual(len(started), queues)
        return dict(started)

    @staticmethod
    def indices_of(queues):
        return {queue: INDICES if queue in queues else 0 for queue in range(QUEUES)}

    def end(self, daemon, guest, failed=0):
        guest.front.close()
        result = daemon.stop()
        self.assert_clean(result)
        self.assertEqual(result.report['commands']['failed'], failed, result)
        return result

    def linger(self, guest):
        """A while, for what is not to happen."""
        deadline = time.monotonic() + 0.2
        while time.monotonic() < deadline:
            guest.front.get_u64(vhost_user.GET_FEATURES)

    def live(self, packed):
        daemon = self.daemon(SOON)
        guest = Guest(daemon.socket(), PAIRS, packed=packed)
        guest.front.start()
        guest.check()
        for _ in range(2):
            since, moved = self.stop(guest, 0x8000 if packed else 0)
            self.wait_rewound(since, len(moved))
            guest.front.restart()
            guest.check()
            self.assertEqual(sorted(self.rewound(since)), moved)
            self.assertEqual(self.starts(since), dict.fromkeys(range(QUEUES), 0))
        self.end(daemon, guest)

    def test_split(self):
        self.live(packed=False)

    def test_packed(self):
        self.live(packed=True)

    def test_at_once(self):
        """A guest that is back before its time finds its queues as they stopped."""
        daemon = self.daemon(NEVER)
        guest = Guest(daemon.socket(), PAIRS)
        guest.front.start()
        guest.check()
        for _ in range(2):
            since, moved = self.stop(guest)
            guest.front.restart()
            guest.check()
            self.assertEqual(self.rewound(since), [])
            self.assertEqual(self.starts(since), self.indices_of(moved))
        self.end(daemon, guest)

    def test_in_the_midst(self):
        """The start takes what is not set back yet away, and knows which queues those are. One
        thread and commands that take time leave it the time to."""
        pairs = 16
        daemon = self.daemon(200, latency='cx6dx', max_conf_threads=1)
        guest = Guest(daemon.socket(), pairs)
        guest.front.start()
        guest.check()
        for _ in range(3):
            since, moved = self.stop(guest)
            for ring in guest.front.rings:
                ring.clear()
            *steps, (_, go) = guest.front.restart_steps()
            for _, step in steps:
                step()
            self.wait_rewound(since, 1)
            go()
            guest.front.get_u64(vhost_user.GET_FEATURES)   # behind the start
            guest.check()
            self.assertEqual(self.starts(since, 2 * pairs),
                             {queue: INDICES if queue in moved and
                              queue not in self.rewound(since) else 0
                              for queue in range(2 * pairs)})
        self.end(daemon, guest)

    def test_gone_in_the_midst(self):
        """So does the end of the connection; and a device that is removed with it."""
        daemon = self.daemon(SOON, latency='cx6dx', max_conf_threads=1)
        guest = Guest(daemon.socket(), 16)
        for _ in range(2):
            guest.front.start()
            guest.check()
            since = len(self.modifies())
            guest.front.stop()
            self.wait_rewound(since, 1)
            guest.front.disconnect()
        guest.front.start()
        guest.check()
        since = len(self.modifies())
        guest.front.stop()
        self.wait_rewound(since, 1)
        result = daemon.stop()
        guest.front.close()
        self.assert_clean(result)
        self.assertEqual(result.report['commands']['failed'], 0, result)

    def test_refused(self):
        """A card that refuses is not asked again. The start makes sure of what it asked for."""
        # A queue is changed at its start and at its stop.
        daemon = self.daemon(SOON, fail=['MODIFY_GENERAL_OBJECT:%d' % (2 * QUEUES + 1)],
                             max_conf_threads=1)
        guest = Guest(daemon.socket(), PAIRS)
        guest.front.start()
        guest.check()
        since, moved = self.stop(guest)
        daemon.wait_errors(REFUSED)
        guest.front.restart()
        guest.check()
        self.assertEqual(self.starts(since), self.indices_of(moved))
        guest.front.stop()
        self.linger(guest)
        guest.front.restart()
        guest.check()
        self.assertEqual(self.rewound(), [])
        result = self.end(daemon, guest, failed=1)
        self.assertEqual(len(re.findall('mlx5_persist: .*virtqueue', result.stderr)), 1, result)

    def test_refused_twice(self):
        """The queue that it refused to set back is refused at the start, too: it is made anew."""
        first = 2 * QUEUES + 1
        daemon = self.daemon(SOON, fail=['MODIFY_GENERAL_OBJECT:%d' % (first + i) for i in (0, 1)],
                             max_conf_threads=1)
        guest = Guest(daemon.socket(), PAIRS)
        guest.front.start()
        guest.check()
        guest.front.stop()
        daemon.wait_errors(REFUSED)
        for _ in range(2):
            guest.front.restart()
            guest.check()
            guest.front.stop()
        self.end(daemon, guest, failed=2)

    def test_not_what_was_expected(self):
        """Rings that come back elsewhere, of another type or size, or where they stopped."""
        daemon = self.daemon(SOON)
        guest = Guest(daemon.socket(), PAIRS)
        front = guest.front
        front.start()
        guest.check()

        def after(change, first=0):
            since, moved = self.stop(guest, first)
            self.wait_rewound(since, len(moved))
            change()
            front.restart()
            guest.check()
            return self.starts(since, QUEUES)
        moved = after(lambda: guest.replace_rings(shift=1 << 20))
        self.assertEqual({select & ADDRS for select in moved.values()}, {ADDRS})
        after(lambda: guest.change_type(packed=True))
        after(lambda: guest.change_type(packed=False), 0x8000)
        since, moved = self.stop(guest)
        self.wait_rewound(since, len(moved))
        for _, step in front.restart_steps():
            step()
        front.get_u64(vhost_user.GET_FEATURES)
        guest.check()
        self.assertEqual(self.starts(since), self.indices_of(moved))
        front.stop()
        guest.replace_rings(size=128)
        front.restart()
        guest.check()
        self.end(daemon, guest)

    def test_bases(self):
        """A front-end that asks for them afterwards is told where the rings stopped."""
        daemon = self.daemon(SOON)
        guest = Guest(daemon.socket(), PAIRS)
        guest.front.start()
        guest.check()
        since = len(self.modifies())
        bases = guest.front.stop()
        self.wait_rewound(since, PAIRS + 1)
        self.assertEqual([guest.front.get_vring_base(i) for i in range(QUEUES)], bases)
        guest.front.restart()
        guest.check()
        self.end(daemon, guest)

    def test_stop_alone(self):
        """Without a reset, as at the source of a migration: it may go on where it stands."""
        daemon = self.daemon(SOON)
        guest = Guest(daemon.socket(), PAIRS)
        guest.front.start()
        guest.check()
        for ring in guest.front.rings:
            guest.front.get_vring_base(ring.index)
        self.linger(guest)
        for _, step in guest.front.restart_steps():
            step()
        guest.check()
        self.assertEqual(self.rewound(), [])
        self.end(daemon, guest)

    def test_switched_off(self):
        """rewind_ms=0, and no threads to do it in the background."""
        for devargs in ({'rewind_ms': 0}, {'rewind_ms': SOON, 'max_conf_threads': 0}):
            with self.subTest(**devargs):
                daemon = self.daemon(**devargs)
                guest = Guest(daemon.socket(), PAIRS)
                guest.front.start()
                guest.check()
                guest.front.stop()
                self.linger(guest)
                guest.front.restart()
                guest.check()
                self.assertEqual(self.rewound(), [])
                self.end(daemon, guest)

    def test_reset_owner(self):
        daemon = self.daemon(SOON)
        guest = Guest(daemon.socket(), PAIRS)
        guest.front.start()
        guest.check()
        since = len(self.modifies())
        moved = [ring.index for ring in guest.front.rings
                 if guest.front.get_vring_base(ring.index) != 0]
        guest.front.command(vhost_user.RESET_OWNER)
        self.wait_rewound(since, len(moved))
        guest.front.protocol_features = 0
        for ring in guest.front.rings:
            ring.clear()
        for _, step in guest.front.start_steps():
            step()
        guest.front.get_u64(vhost_user.GET_FEATURES)
        guest.check()
        self.assertEqual(self.starts(since), dict.fromkeys(range(QUEUES), 0))
        self.end(daemon, guest)


class Vacant(harness.Case):
    """Queues that a front-end used are ready for the next one when it has been gone for as long."""

    def commands(self, since=0):
        """Opcodes that the device executed."""
        trace = (self.dir / 'trace.txt').read_text(errors='replace')
        return [opcode for opcode, status in COMMAND.findall(trace) if status == 'OK'][since:]

    def serve(self, devices=(), rewind_ms=SOON, latency=None):
        self.daemon = harness.Daemon(self, devices, vdevs=[harness.vdev(rewind_ms=rewind_ms)],
                                     trace=True, latency=latency)
        self.guest = Guest(self.daemon.socket(), PAIRS)
        self.guest.front.start()
        self.guest.check()
        since = len(self.commands())
        self.guest.front.disconnect()
        return since

    def wait_for_commands(self, since, opcode, count):
        self.wait_for(lambda: self.commands(since).count(opcode) >= count,
                      '%d %s' % (count, opcode))

    def come_back(self):
        """Returns how often each command was given for the next start."""
        since = len(self.commands())
        self.guest.front.start()
        self.guest.check()
        return collections.Counter(self.commands(since))

    def end(self):
        self.guest.front.close()
        self.assert_clean(self.daemon.stop())

    def test_ready(self):
        """One command a queue; and for the memory a key of its only piece, and one of its addresses."""
        since = self.serve()
        self.wait_for_commands(since, 'SET_FLOW_TABLE_ENTRY', RULES)
        self.assertEqual(self.come_back(), {'MODIFY_GENERAL_OBJECT': QUEUES, 'CREATE_MKEY': 2})
        self.end()

    def test_objects_for_nobody(self):
        """A card that can't change an object enough: event queues wait, objects are made."""
        since = self.serve(['bdf=%s,caps=-vnet_modify_ext' % harness.BDF])
        self.wait_for_commands(since, 'RTR2RTS_QP', 2 * QUEUES)
        counts = self.come_back()
        self.assertEqual(counts['CREATE_GENERAL_OBJECT'], QUEUES)
        self.assertEqual([opcode for opcode in counts if opcode.endswith('_QP')], [])
        self.end()

    def test_never(self):
        since = self.serve(rewind_ms=0)
        self.wait_for_commands(since, 'DESTROY_GENERAL_OBJECT', QUEUES)
        counts = self.come_back()
        self.assertEqual(counts['CREATE_GENERAL_OBJECT'], QUEUES)
        self.assertEqual(counts['2RST_QP'], 2 * QUEUES)
        self.end()

    def test_back_in_the_midst(self):
        """No object is made twice, whatever was ready."""
        since = self.serve(latency='cx6dx')
        self.wait_for_commands(since, 'CREATE_GENERAL_OBJECT', 1)
        self.come_back()
        self.assertEqual(self.commands(since).count('CREATE_GENERAL_OBJECT'), QUEUES)
        self.end()

    def test_another_one(self):
        """Fewer queues, of another size and type, and no more packets to the others."""
        since = self.serve()
        self.wait_for_commands(since, 'SET_FLOW_TABLE_ENTRY', RULES)
        for packed, size in ((False, 128), (True, 64), (False, 64)):
            with self.subTest(packed=packed, size=size):
                front = vhost_user.Frontend(self.daemon.socket(), ring_size=size, packed=packed)
                front.start()
                front.fill()
                self.assertEqual(vhost_user.ping_pong(front, 60), (0, 0))
                front.close()
        self.guest.front.start()
        self.guest.check()
        self.end()


if __name__ == '__main__':
    harness.main()
