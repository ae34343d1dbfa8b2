# SPDX-License-Identifier: BSD-3-Clause
"""Every firmware command of a device's life fails once: the program survives, says so, works again,
and leaves nothing behind."""
from concurrent.futures import ThreadPoolExecutor
import os
import time

import harness
from test_paths import Guest
import vhost_user

# What stays when its own removal fails: objects that the kernel makes for a verbs call. The kernel
# forgets them all the same, so that they stay on the card until it is reset.
KERNEL_OBJECTS = {'uctx', 'uar', 'td', 'flow_table', 'flow_group'}
REMOVALS = ('DESTROY_', 'DEALLOC_', 'DELETE_')

# Of a long life: so many failures, spread over it, of commands that change queues or keys of memory.
LONG_LIFE = {'MODIFY_GENERAL_OBJECT': 6, 'QUERY_GENERAL_OBJECT': 3, 'CREATE_GENERAL_OBJECT': 3,
             'CREATE_MKEY': 2, 'MODIFY_RQT': 2, '2RST_QP': 1}

# A life is mostly waiting: the vhost library looks at a new socket once a second.
AT_ONCE = 4
FRAMES = 20


class Life(harness.Case):
    """Probe, two connections with a reset each, remove."""

    DEVARGS = harness.NOTHING_AHEAD

    def __init__(self, fail=()):
        super().__init__()
        self.fail = fail
        self.worked = []

    def live(self):
        """Returns the Result; self.worked then tells of each connection whether packets flowed."""
        self.setUp()
        try:
            daemon = harness.Daemon(self, vdevs=[harness.vdev(**self.DEVARGS)], fail=self.fail)
            if daemon.wait_socket():
                # What a removal left behind may be in the way for good; else the second one works.
                patient = not self.fail or not self.fail[0].startswith(REMOVALS)
                self.worked = [self.first(daemon), self.connection(daemon, patient)]
                return daemon.stop()
            daemon.process.wait(harness.EXIT_TIMEOUT)
            result = daemon.result()
            self.assert_status(result, 1)
            return result
        finally:
            self.doCleanups()

    def arrived(self, front, daemon, count, patient):
        """Whether so many frames arrive, looked at until there is a reason why not."""
        got, deadline = 0, time.monotonic() + harness.WAIT_TIMEOUT
        while got < count and time.monotonic() < deadline:
            more = len(front.receive(count - got, timeout=0.5))
            got += more
            if more == 0 and not patient and daemon.errors('mlx5_persist:'):
                break
        return got == count

    def first(self, daemon):
        return self.connection(daemon, False)

    def connection(self, daemon, patient):
        front = vhost_user.Frontend(daemon.socket(), mem_bytes=8 << 20, ring_size=64)
        try:
            front.start()
            front.fill()
            front.send([vhost_user.frame(0)])
            self.arrived(front, daemon, 1, patient)
            front.stop()
            front.restart()
            front.fill()
            front.send([vhost_user.frame(i) for i in range(FRAMES)])
            return self.arrived(front, daemon, FRAMES, patient)
        except vhost_user.FrontendError:
            return False
        finally:
            front.close()


class LongLife(Life):
    """Before the second connection: rings go off and on, memory comes and goes, its log moves, and rings
    come back after a while that are shorter, or packed."""

    DEVARGS = {'rewind_ms': 1}

    def first(self, daemon):
        guest = Guest(daemon.socket(), 2, features=vhost_user.F_LOG_ALL)
        front, works = guest.front, []
        dimm = os.memfd_create('dimm', os.MFD_CLOEXEC)
        os.ftruncate(dimm, 4 << 20)
        logs = [vhost_user.DirtyLog(front.mem_bytes + (4 << 20)) for _ in range(2)]
        try:
            for step in self.steps(guest, dimm, logs):
                step()
                front.get_u64(vhost_user.GET_FEATURES)
                front.fill()
                for pair in range(2):
                    front.send([vhost_user.frame(i) for i in range(FRAMES // 2)], pair)
                works.append(self.arrived(front, daemon, FRAMES, False))
            return all(works)
        except (vhost_user.FrontendError, IndexError):
            return False           # IndexError: no descriptor is free, as nothing is sent
        finally:
            front.close()
            os.close(dimm)
            for log in logs:
                log.close()

    @staticmethod
    def steps(guest, dimm, logs):
        front = guest.front

        def start():
            front.begin()
            for name, step in front.start_steps():
                step()
                if name == 'GET_FEATURES':
                    front.features &= ~vhost_user.F_LOG_ALL

        def rings():
            for on in (False, True):
                for index in (2, 3):
                    front.enable(index, on)

        def log():
            front.set_log(logs[0])
            front.logging(True)

        def again(change):
            front.stop()
            time.sleep(0.02)
            change()
            front.restart()

        return (start, rings, lambda: front.set_mem_table([(dimm, 4 << 20)]),
                front.set_mem_table, log, lambda: front.set_log(logs[1]),
                lambda: front.logging(False), lambda: again(lambda: guest.replace_rings(size=32)),
                lambda: again(lambda: guest.change_type(True)))


class Injection(harness.Case):
    def test_each_command(self):
        life = Life()
        clean = life.live()
        self.assertEqual(life.worked, [True, True], clean)
        self.assert_clean(clean)
        specs = ['%s:%d' % (opcode, number)
                 for opcode, stats in clean.report['commands']['by_opcode'].items()
                 for number in range(1, stats['count'] + 1)]
        self.assertGreater(len(specs), 100)
        self.judge_all(Life, specs)

    def test_some_commands_of_a_long_life(self):
        life = LongLife()
        clean = life.live()
        self.assertEqual(life.worked, [True, True], clean)
        self.assert_clean(clean)
        self.judge_all(LongLife, ['%s:%d' % (opcode, 1 + clean.count(opcode) * step // steps)
                                  for opcode, steps in LONG_LIFE.items() for step in range(steps)])

    def judge_all(self, kind, specs):
        with ThreadPoolExecutor(AT_ONCE) as pool:
            outcomes = pool.map(lambda spec: self.outcome(kind, spec), specs)
            for spec, outcome in zip(specs, outcomes):
                with self.subTest(fail=spec):
                    self.judge(spec, *outcome)

    @staticmethod
    def outcome(kind, spec):
        life = kind([spec])
        try:
            return life, life.live(), None
        except Exception as error:  # pylint: disable=broad-except
            return life, None, error

    def judge(self, spec, life, result, error):
        if error is not None:
            raise error
        self.assertGreaterEqual(result.report['commands']['failed'], 1, result)
        if spec.startswith(REMOVALS):
            # The object is still in the way of the next connection; at the end it is gone.
            left = {kind for kind, count in result.report['alive']['by_type'].items() if count}
            self.assertLessEqual(left, KERNEL_OBJECTS, result)
            self.assertEqual(result.report['pins']['bytes_now'], 0, result)
            self.assertEqual(result.report['dma']['faults'], 0, result)
        else:
            # No socket: the probe gave up. Else only the connection that it hit may suffer.
            self.assert_clean(result)
            if life.worked:
                self.assertTrue(life.worked[1], result)
        if life.worked != [True, True]:
            self.assertIn('mlx5_persist:', result.stderr, result)


if __name__ == '__main__':
    harness.main()
