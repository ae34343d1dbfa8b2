# SPDX-License-Identifier: BSD-3-Clause
"""How a queue comes back after a reset: every combination of capabilities works, by the path that
the log names, for the number of commands that it should take; and what a card refuses costs no more
than that path."""
from concurrent.futures import ThreadPoolExecutor
import itertools
import re

import harness
import vhost_user

# Those that decide on the path.
FREEZE, INDEX, ADDR, EXT = CAPS = ('freeze_to_rdy_supported', 'virtio_q_index_modify',
                                   'virtio_net_q_addr_modify', 'vnet_modify_ext')
FRAMES = 40
F_CSUM = 1 << 0
AT_ONCE = 4

# A queue made anew: DESTROY, both event QPs to reset and in 3 steps to ready, CREATE.
ANEW = 1 + 2 + 6 + 1

RING_KEY = '+desc_group_mkey_supported'


def caps(names):
    """Capabilities taken from the device, or given to it if there is a + before the name."""
    return 'caps=' + ':'.join(name if name[0] == '+' else '-' + name for name in names)


class Guest:
    """A front-end whose rings change between its lives."""

    def __init__(self, path, pairs=1, **options):
        self.front = vhost_user.Frontend(path, pairs=pairs, ring_size=64, mem_bytes=8 << 20,
                                         **options)
        self.sent = 0

    def check(self, pairs=None):
        """Frames through each pair, all of them back and whole."""
        self.front.fill()
        for pair in range(self.front.pairs if pairs is None else pairs):
            missing, unexpected = vhost_user.ping_pong(self.front, FRAMES, pair, self.sent)
            self.sent += FRAMES
            if missing or unexpected:
                raise AssertionError('pair %d: %d frames missing, %d unexpected; %s' % (
                    pair, missing, unexpected, self.stand()))

    def stand(self):
        """Where the rings are, for whoever has to find out why."""
        return ['ring %d: %d made available, %d seen used, %d free' % (
            ring.index, ring.next_avail, ring.next_used, len(ring.free))
                for ring in self.front.rings]

    def replace_rings(self, shift=0, size=64, kind=vhost_user.Ring, first=0):
        """Other rings from @first on: further up in memory, of another size or type."""
        front = self.front
        offset = shift
        for index, ring in enumerate(front.rings):
            if index >= first:
                ring.close()
                front.rings[index] = kind(front.mem, index, size, offset)
            offset = (front.rings[index].end + vhost_user.PAGE - 1) & ~(vhost_user.PAGE - 1)

    def change_type(self, packed):
        kind = vhost_user.PackedRing if packed else vhost_user.Ring
        self.front.features ^= vhost_user.F_RING_PACKED
        self.replace_rings(kind=kind)

    def restart_some(self, pairs):
        """A start on the first pairs alone."""
        rings = range(2 * pairs, 2 * self.front.pairs)
        for ring in self.front.rings:
            ring.clear()
        for name, step in self.front.restart_steps():
            if not name.startswith('SET_VRING') or int(name.split()[1]) not in rings:
                step()
        self.front.get_u64(vhost_user.GET_FEATURES)

    def life(self):
        """A start, and resets that change one thing each."""
        front = self.front
        front.start()
        self.check()
        for change in (lambda: None,
                       lambda: self.replace_rings(shift=1 << 20),
                       lambda: self.replace_rings(size=128),
                       lambda: setattr(front, 'features', front.features | F_CSUM),
                       lambda: self.change_type(packed=True),
                       lambda: None,
                       lambda: self.change_type(packed=False)):
            bases = front.stop()
            if len(set(bases)) == 1 and bases[0] == 0:
                raise AssertionError('no ring moved')
            change()
            front.restart()
            self.check()
        for pairs in (1, front.pairs):
            front.stop()
            self.restart_some(pairs)
            self.check(pairs)
        self.pause()
        self.switch()

    def pause(self):
        """Stopped and started without a reset, as for a snapshot: indices go on."""
        self.front.stop()
        for _, step in self.front.restart_steps():
            step()
        self.front.get_u64(vhost_user.GET_FEATURES)
        self.check()

    def switch(self):
        """Rings of the last pair go and come while the others run (ethtool -L)."""
        last = range(2 * self.front.pairs - 2, 2 * self.front.pairs)
        if self.front.pairs == 1:
            return
        for _ in range(2):
            for on in (False, True):
                for index in last:
                    self.front.enable(index, on)
                self.check(self.front.pairs - (not on))


class Combinations(harness.Case):
    def test_all(self):
        """Each combination lives through resets that change rings, sizes and features."""
        sets = [missing for n in range(len(CAPS) + 1)
                for missing in itertools.combinations(CAPS, n)]
        bdfs = ['0000:e1:%02x.0' % number for number in range(len(sets))]
        daemon = harness.Daemon(
            self, vdevs=[harness.vdev(i, bdf) for i, bdf in enumerate(bdfs)],
            devices=['bdf=%s%s' % (bdf, ',' + caps(missing) if missing else '')
                     for bdf, missing in zip(bdfs, sets)],
            eal_args=harness.eal(cores='0', memory=96))
        guests = [Guest(daemon.socket(i), pairs=2) for i in range(len(sets))]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            lives = [pool.submit(guest.life) for guest in guests]
        errors = [life.exception() for life in lives]
        for guest in guests:
            guest.front.close()
        result = daemon.stop()
        self.assert_clean(result)
        devices = {device['bdf']: device for device in result.report['devices']}
        for number, missing in enumerate(sets):
            with self.subTest(missing=missing):
                self.assertIsNone(errors[number], devices[bdfs[number]])
                self.assert_named(result.stderr, number, missing)
        self.assert_steady(result)

    def assert_named(self, log, number, missing):
        """One line, if there is anything better: the path, and what would be better."""
        lines = re.findall(r'vdpa_mlx5_persist%d: path of a reset: (\w+): (.*)' % number, log)
        if not missing:
            self.assertEqual(lines, [])
            return
        self.assertEqual(len(lines), 1, log[-4000:])
        path, words = lines[0]
        self.assertEqual(path, 'renew' if {FREEZE, INDEX} & set(missing) else 'resume')
        for name in CAPS:
            self.assertEqual(name in words, name in missing, words)


class Touched(harness.Case):
    """A change rebuilds what it touches, and nothing else, where queues stay."""

    PAIRS = 2

    def objects(self, change, pairs=PAIRS):
        """Commands that create or reset something in a guest's life with one reset, by name."""
        self.setUp()
        try:
            # Nothing is made ready for the next front-end before the daemon leaves.
            daemon = harness.Daemon(self, vdevs=[harness.vdev(rewind_ms=0)])
            guest = Guest(daemon.socket(), self.PAIRS)
            guest.front.start()
            guest.check()
            guest.front.stop()
            change(guest)
            guest.restart_some(pairs)
            guest.check(pairs)
            guest.front.close()
            result = daemon.stop()
            self.assert_clean(result)
            return {name: stats['count']
                    for name, stats in result.report['commands']['by_opcode'].items()
                    if name.startswith('CREATE_') or name in ('MODIFY_RQT', '2RST_QP')}
        finally:
            self.doCleanups()

    def test_all(self):
        changes = {
            'nothing': (lambda guest: None, self.PAIRS),
            'place': (lambda guest: guest.replace_rings(shift=1 << 20), self.PAIRS),
            'features': (lambda guest: setattr(guest.front, 'features',
                                               guest.front.features | F_CSUM), self.PAIRS),
            'type': (lambda guest: guest.change_type(packed=True), self.PAIRS),
            'pairs': (lambda guest: None, 1),
            'size': (lambda guest: guest.replace_rings(size=128, first=2), self.PAIRS),
        }
        with ThreadPoolExecutor(AT_ONCE) as pool:
            lives = {name: pool.submit(Touched('objects').objects, change, pairs)
                     for name, (change, pairs) in changes.items()}
        made = {name: life.result() for name, life in lives.items()}
        plain = made.pop('nothing')
        pairs, size = made.pop('pairs'), made.pop('size')
        for name, counts in made.items():
            with self.subTest(changed=name):
                self.assertEqual(counts, plain)
        self.assertEqual(pairs.pop('MODIFY_RQT', 0), plain.get('MODIFY_RQT', 0) + 1)
        self.assertEqual(pairs, {name: count for name, count in plain.items()
                                 if name != 'MODIFY_RQT'})
        # The two queues of the second pair, with their counters, event queues and buffers.
        for name, count in (('CREATE_GENERAL_OBJECT', 4), ('CREATE_CQ', 2), ('CREATE_QP', 4),
                            ('CREATE_UMEM', 2 * (3 + 2))):
            self.assertEqual(size[name], plain[name] + count, name)
        for name in ('CREATE_MKEY', 'CREATE_TIR', 'CREATE_RQT', 'CREATE_FLOW_TABLE'):
            self.assertEqual(size.get(name), plain.get(name), name)


class Counting(harness.Case):
    """Commands of a reset: the difference of two runs, a shorter and a longer one."""

    PAIRS, FEW, MANY = 2, 1, 3

    def per_reset(self, missing=(), devargs=None, **options):
        """Returns commands of one reset by opcode, and the bench's JSON of the longer run."""
        counts = []
        # However slow the machine is, nothing is done ahead of a start: test_rewind.py counts that.
        devargs = {'rewind_ms': 0, **(devargs or {})}
        for iterations in (self.FEW, self.MANY):
            data, result = self.bench(
                'reset', devargs=devargs, devices=[caps(missing)] if missing else (),
                mem='16M', queues=self.PAIRS, iterations=iterations, pps=20000, **options)
            self.assert_clean(result)
            self.assertIsNone(data['failed'], result)
            for key in ('corrupt', 'lost', 'duplicated'):
                self.assertEqual(data['packets'][key], 0, result)
            counts.append({name: stats['count'] for name, stats
                           in result.report['commands']['by_opcode'].items()})
        few, many = counts
        steps = self.MANY - self.FEW
        return {name: (count - few.get(name, 0)) / steps
                for name, count in many.items() if count != few.get(name, 0)}, data

    def at_once(self, *calls):
        """The results of functions of a Counting, each called on one of its own."""
        def one(call):
            case = Counting()
            case.setUp()
            try:
                return call(case)
            finally:
                case.doCleanups()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(one, calls))

    def test_resume(self):
        """Suspend, query and one modify a queue, and not one command else."""
        expected = {'MODIFY_GENERAL_OBJECT': 4 * self.PAIRS, 'QUERY_GENERAL_OBJECT': 2 * self.PAIRS}
        calls = [lambda c: c.per_reset(), lambda c: c.per_reset([ADDR]),
                 lambda c: c.per_reset([EXT]), lambda c: c.per_reset([ADDR, EXT]),
                 lambda c: c.per_reset(packed=True), lambda c: c.per_reset([RING_KEY]),
                 lambda c: c.per_reset(devargs={'max_conf_threads': 0})]
        for number, (counts, _) in enumerate(self.at_once(*calls)):
            with self.subTest(number=number):
                self.assertEqual(counts, expected)

    def test_renew(self):
        """On the path the same, for it has time; the rest in the background: each queue made anew
        once, and the table of receive queues is written three times."""
        queues = 2 * self.PAIRS
        calls = [lambda c: c.per_reset([FREEZE], gap=300),
                 lambda c: c.per_reset([FREEZE, ADDR], gap=300),
                 lambda c: c.per_reset([*CAPS, RING_KEY], gap=300),
                 lambda c: c.per_reset([INDEX], packed=True, gap=300),
                 lambda c: c.per_reset(devargs={'reuse_queues': 0}, gap=300)]
        for number, (counts, data) in enumerate(self.at_once(*calls)):
            with self.subTest(number=number):
                self.assertEqual(sum(counts.values()), queues * (3 + ANEW) + 3, counts)
                self.assertEqual(counts['CREATE_GENERAL_OBJECT'], queues)
                self.assertEqual(counts['QUERY_GENERAL_OBJECT'], queues)
                self.assertEqual(counts['MODIFY_RQT'], 3)
                self.assertEqual(data['commands']['conf'], queues)

    def test_renew_at_once(self):
        """A front-end that is back before the background is through waits for it, and nothing is
        done twice."""
        queues = 2 * self.PAIRS
        counts, _ = self.per_reset([FREEZE], gap=0)
        self.assertEqual(sum(counts.values()), queues * (3 + ANEW) + 3, counts)

    def test_one_by_one(self):
        """Rings that become ready one by one cost a command each; the table of receive queues
        follows, at most once each."""
        counts, _ = self.per_reset(enable_late=True)
        table = counts.pop('MODIFY_RQT')
        self.assertLessEqual(table, self.PAIRS)
        self.assertEqual(counts, {'MODIFY_GENERAL_OBJECT': 4 * self.PAIRS,
                                  'QUERY_GENERAL_OBJECT': 2 * self.PAIRS})


class Order(harness.Case):
    """What is sent never meets a receive queue that stands."""

    PAIRS, RESETS = 4, 3
    STATE, READY, SUSPENDED = 1, 1, 2

    def states(self):
        """Changes of state, in the order in which they were done: (state, queue)."""
        for line in (self.dir / 'trace.txt').read_text(errors='replace').splitlines():
            if ' MODIFY_GENERAL_OBJECT ' in line:
                values = {name: int(value, 16)
                          for name, value in re.findall(r'\.(\w+)=(0x[0-9a-f]+)', line)}
                if values.get('modify_field_select', 0) & self.STATE:
                    yield values['state'], values.get('queue_index', 0)

    def test_order(self):
        """Receive queues start first and stop last."""
        _, result = self.bench('reset', trace=True, mem='16M', queues=self.PAIRS, pps=20000,
                               iterations=self.RESETS)
        self.assert_clean(result)
        rounds = [(state, [queue % 2 for _, queue in changes])
                  for state, changes in itertools.groupby(self.states(), lambda change: change[0])]
        receive, transmit = [0] * self.PAIRS, [1] * self.PAIRS
        self.assertEqual(rounds, [(self.READY, receive + transmit),
                                  (self.SUSPENDED, transmit + receive)] * (self.RESETS + 1))


class OneQueue(harness.Case):
    def test_error(self):
        """One of four queues can't be started: the log names it, and the others don't run by halves.
        The vhost library tries again with the next message, and that start is whole."""
        daemon = harness.Daemon(self, vdevs=[harness.vdev(rewind_ms=0)],
                                fail=['MODIFY_GENERAL_OBJECT:3'])
        guest = Guest(daemon.socket(), pairs=2)
        guest.front.start()
        guest.check()
        guest.front.close()
        result = daemon.stop()
        self.assert_clean(result)
        errors = re.findall(r'mlx5_persist: (?!.*path of).*', result.stderr)
        self.assertEqual(len(errors), 2, result)
        self.assertRegex(errors[0], r'cannot modify virtqueue [13]\b')
        self.assertRegex(errors[1], 'cannot configure the device for its front-end')
        # All four were made twice, with their counters once; or the one that had not begun once.
        self.assertIn(result.count('CREATE_GENERAL_OBJECT'), (4 + 4 + 4, 4 + 3 + 4), result)


class RingKey(harness.Case):
    """Rings in an address space of their own."""

    def keys(self, **devargs):
        """The memory keys of all queues' data and of all queues' rings."""
        _, result = self.bench('reset', devargs=devargs, devices=[caps([RING_KEY])], trace=True,
                               mem='16M', queues=1, iterations=1, pps=20000)
        self.assert_clean(result)
        trace = (self.dir / 'trace.txt').read_text()
        return [set(re.findall(r'\b%s=(0x\w+)' % name, trace)) - {'0x0'}
                for name in ('virtio_q_mkey', 'desc_group_mkey')]

    def test_keys(self):
        data, rings = self.keys()
        self.assertEqual((len(data), len(rings)), (1, 1))
        self.assertNotEqual(data, rings)

    def test_off(self):
        data, rings = self.keys(desc_group_mkey=0)
        self.assertEqual((len(data), len(rings)), (1, 0))


class Refusals(harness.Case):
    """What the card refuses, while a guest of one pair is reset twice."""

    RESUME = 'the card does not resume suspended queues'
    # Which capabilities are missing, which commands fail, how often the log says what.
    REFUSED = {
        # The first resumption, after two starts and two stops: that reset succeeds by another path,
        # and the next ones go that way at once.
        'resume': ((), ['MODIFY_GENERAL_OBJECT:5:BAD_RES_STATE_ERR'], RESUME, 1),
        # The start of an object that was made anew: another one takes its place.
        'start': ([FREEZE], ['MODIFY_GENERAL_OBJECT:5'], RESUME, 0),
        # Objects that were to be made in the background: the start makes them. (Each queue has a
        # counter set, too.)
        'create': ([FREEZE], ['CREATE_GENERAL_OBJECT:5', 'CREATE_GENERAL_OBJECT:6'], RESUME, 0),
        # An object keeps its index as long as the card does not let it go: the next start tries
        # again.
        'destroy': ([FREEZE], ['DESTROY_GENERAL_OBJECT:1', 'DESTROY_GENERAL_OBJECT:2'],
                    'cannot destroy virtqueue', 2),
        # A key for rings: they do without from then on.
        'ring key': ([RING_KEY], ['CREATE_GENERAL_OBJECT:2'],
                     'the card takes no desc_group_mkey', 1),
        # A rule that does not go leads to the table, which is used again.
        'flow': ([FREEZE], ['DELETE_FLOW_TABLE_ENTRY:1'], 'cannot destroy flow rule', 1),
    }

    def live(self, missing, fail):
        self.setUp()
        try:
            # Commands are counted: none ahead of a start, however slow the machine is.
            daemon = harness.Daemon(self, devices=[caps(missing)] if missing else (), fail=fail,
                                    vdevs=[harness.vdev(rewind_ms=0)])
            guest = Guest(daemon.socket())
            guest.front.start()
            guest.check()
            for _ in range(2):
                guest.front.stop()
                guest.front.restart()
                guest.check()
            guest.front.close()
            return daemon.stop()
        finally:
            self.doCleanups()

    def test_all(self):
        with ThreadPoolExecutor(AT_ONCE) as pool:
            lives = {name: pool.submit(Refusals('live').live, missing, fail)
                     for name, (missing, fail, _, _) in self.REFUSED.items()}
        for name, (_, fail, line, times) in self.REFUSED.items():
            with self.subTest(refused=name):
                result = lives[name].result()
                self.assert_clean(result)
                self.assertEqual(result.report['commands']['failed'], len(fail), result)
                self.assertEqual(result.stderr.count(line), times, result)


if __name__ == '__main__':
    harness.main()
