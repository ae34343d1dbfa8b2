# SPDX-License-Identifier: BSD-3-Clause
"""What the system tests share: running whole programs on emulated devices and judging the report.

A test is a python3 file with unittest cases and `harness.main()` at its end. Programs come from the
build directory in MLX5_PERSIST_BUILD (default: build/ of this tree).
"""
import contextlib
import itertools
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get('MLX5_PERSIST_BUILD', SOURCE / 'build')).resolve()

EMU_RUN = BUILD / 'emu' / 'mlx5-emu-run'
TEST_VDPA = BUILD / 'app' / 'test-vdpa' / 'dpdk-test-vdpa'
DAEMON = BUILD / 'examples' / 'vdpa' / 'dpdk-vdpa'
PLUGIN = BUILD / 'drivers' / 'vdpa' / 'mlx5_persist' / 'librte_vdpa_mlx5_persist.so'
TESTPMD = 'dpdk-testpmd'

BDF = '0000:e1:00.2'
# How long something that has to happen may take: far longer than it does on the busiest machine. No
# test judges time.
RUN_TIMEOUT = 240
EXIT_TIMEOUT = 60
WAIT_TIMEOUT = 60


class Result:
    """A program's end: its status, its output, and the device's report."""

    def __init__(self, status, stdout, stderr, report=None):
        self.status, self.stdout, self.stderr, self.report = status, stdout, stderr, report

    def __str__(self):
        return 'exit status %s\n--- stdout\n%s\n--- stderr\n%s\n--- report\n%s' % (
            self.status, self.stdout[-4000:], self._messages(), json.dumps(self.report))

    def _messages(self):
        """The end of them, and all of the driver's: a library that says much must not hide those."""
        ours = [line for line in self.stderr[:-4000].splitlines() if line.startswith('mlx5_')]
        return '\n'.join([*ours[-200:], self.stderr[-4000:]])

    def count(self, *opcodes):
        """How many commands of these PRM names the device executed."""
        return sum(self.report['commands']['by_opcode'].get(op, {'count': 0})['count']
                   for op in opcodes)


# What the driver does a while after a reset or a connection, it then does never. For tests that
# count commands or objects: how long things take is up to the machine.
NOTHING_AHEAD = {'rewind_ms': 3600 * 1000}


def vdev(number=0, dev=BDF, **devargs):
    """The --vdev option of our driver."""
    args = ''.join(',%s=%s' % item for item in devargs.items())
    return '--vdev=vdpa_mlx5_persist%d,dev=%s%s' % (number, dev, args)


_prefixes = itertools.count()


def eal(*options, cores='0,1', memory=64):
    """EAL options that keep programs of tests out of each other's way."""
    return ['-l', cores, '-m', str(memory), '--no-pci', '--in-memory',
            '--file-prefix', 'mlx5p%d-%d' % (os.getpid(), next(_prefixes)), *options]


class Case(unittest.TestCase):
    """A test case with a scratch folder, and processes that never outlive it."""

    longMessage = True

    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix='mlx5p-'))
        self.addCleanup(shutil.rmtree, self.dir, True)

    def emu(self, command, devices=(), fail=(), trace=False, latency=None):
        """The command line that runs @command on emulated devices, reporting into our folder."""
        line = [EMU_RUN, '--report', self.dir / 'report.json']
        if latency:
            line += ['--latency', latency]
        for device in devices:
            line += ['--device', device]
        for spec in fail:
            line += ['--fail', spec]
        if trace:
            line += ['--trace', self.dir / 'trace.txt']
        return [str(arg) for arg in line + ['--'] + list(command)]

    def spawn(self, command, **kwargs):
        """Start a program in a process group of its own; it is gone when the test ends."""
        process = subprocess.Popen([str(arg) for arg in command], text=True, errors='replace',
                                   start_new_session=True, **kwargs)
        self.addCleanup(self._reap, process)
        return process

    @staticmethod
    def _reap(process):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream:
                stream.close()

    def wait_for(self, condition, what, seconds=WAIT_TIMEOUT):
        """Wait until condition() is true, and return what it is then; @what names it."""
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            self.assertLess(time.monotonic(), deadline, 'waited in vain: ' + what)
            time.sleep(0.01)
        return value

    def run_program(self, command, stdin='', timeout=RUN_TIMEOUT):
        """Run to the end. Returns a Result without report."""
        process = self.spawn(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE)
        try:
            out, err = process.communicate(stdin, timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGABRT)
            out, err = process.communicate()
            self.fail('%s did not end in %d s\n%s\n%s' % (command, timeout, out, err))
        return Result(process.returncode, out, err)

    def run_emu(self, command, devices=(), fail=(), trace=False, **kwargs):
        """Run a program on emulated devices to the end. Returns a Result with the report."""
        result = self.run_program(self.emu(command, devices, fail, trace), **kwargs)
        return self.collect(result)

    def collect(self, result):
        """Add the report that a run left in our folder; its trace stays there."""
        report = self.dir / 'report.json'
        # There from the start, empty until the end.
        if result.status is not None and report.exists():
            result.report = json.loads(report.read_text())
            report.unlink()
        return result

    def assert_clean(self, result, faults=True):
        """The device has nothing left, and saw no access that it had to refuse."""
        self.assertIsNotNone(result.report, 'no report\n%s' % result)
        self.assertEqual(result.report['alive']['total'], 0, result)
        self.assertEqual(result.report['pins']['bytes_now'], 0, result)
        if faults:
            self.assertEqual(result.report['dma']['faults'], 0, result)

    def assert_steady(self, result):
        """No queue failed: a failure from which it was brought back shows in no packet."""
        self.assertNotIn('went to error', result.stderr, result)

    def assert_status(self, result, status):
        self.assertEqual(result.status, status, result)

    def bench(self, name, status=0, devargs=None, devices=(), fail=(), trace=False, eal_args=None,
              timeout=RUN_TIMEOUT, **options):
        """Run a benchmark. Returns its JSON object and the Result."""
        out = self.dir / 'bench.json'
        command = [TEST_VDPA, *(eal_args or eal()), vdev(**(devargs or {})), '--', '--bench', name,
                   '--json', out]
        for key, value in options.items():
            command.append('--' + key.replace('_', '-'))
            if value is not True:
                command.append(str(value))
        result = self.run_emu(command, devices, fail, trace, timeout=timeout)
        self.assert_status(result, status)
        data = None
        if out.exists():
            data = json.loads(out.read_text())
            out.unlink()
        return data, result


class Daemon:
    """dpdk-vdpa on emulated devices, with its sockets in the test's folder."""

    def __init__(self, case, devices=(), vdevs=None, fail=(), trace=False, options=(), eal_args=None,
                 latency=None):
        self.case = case
        self.prefix = case.dir / 'sock'
        self.stdout = open(case.dir / 'daemon.out', 'w+', encoding='utf-8')
        self.stderr = open(case.dir / 'daemon.err', 'w+', encoding='utf-8')
        case.addCleanup(self.stdout.close)
        case.addCleanup(self.stderr.close)
        command = [DAEMON, *(eal_args or eal(cores='0')), *(vdevs or [vdev()]), '--',
                   '--iface', self.prefix, *options]
        self.process = case.spawn(case.emu(command, devices, fail, trace, latency),
                                  stdin=subprocess.PIPE, stdout=self.stdout, stderr=self.stderr)
        case.addCleanup(self._tell_of_failure)

    def _tell_of_failure(self):
        """What the daemon said and what its devices did, for whoever looks into a failed test."""
        # There is no public way to ask how a test went.
        outcome = self.case._outcome.result
        if not any(self.case in (test, getattr(test, 'test_case', None))
                   for test, _ in outcome.failures + outcome.errors):
            return
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired, OSError):
            if self.process.poll() is None:
                os.kill(self.program_pid(), signal.SIGTERM)
                self.process.wait(EXIT_TIMEOUT)
        with contextlib.suppress(ValueError, OSError):
            print('the daemon of the failed test: %s' % self.result(), file=sys.stderr)

    def wait_socket(self, number=0):
        """Whether a socket appears before the daemon ends."""
        path = '%s%d' % (self.prefix, number)
        deadline = time.monotonic() + EXIT_TIMEOUT
        while not os.path.exists(path):
            if self.process.poll() is not None or time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def socket(self, number=0):
        """Path of a socket, once it is there."""
        if not self.wait_socket(number):
            self.case.fail('the daemon opened no socket\n%s' % self.result())
        return '%s%d' % (self.prefix, number)

    def program_pid(self):
        """The daemon's own process id: the runner may exec it or have it as a child."""
        pid = self.process.pid
        while True:
            children = pathlib.Path('/proc/%d/task/%d/children' % (pid, pid)).read_text().split()
            if not children:
                return pid
            pid = int(children[0])

    def result(self):
        for stream in (self.stdout, self.stderr):
            stream.flush()
        out = (self.case.dir / 'daemon.out').read_text(errors='replace')
        err = (self.case.dir / 'daemon.err').read_text(errors='replace')
        return self.case.collect(Result(self.process.poll(), out, err))

    def errors(self, pattern):
        """What its messages so far have that matches."""
        return re.findall(pattern, (self.case.dir / 'daemon.err').read_text(errors='replace'))

    def wait_errors(self, pattern, count=1):
        """Wait until so many matches are among its messages."""
        self.case.wait_for(lambda: len(self.errors(pattern)) >= count,
                           '%d messages %r' % (count, pattern))

    def stop(self, signum=signal.SIGTERM):
        """Ask the daemon to leave and wait for its end. Returns a Result with the report."""
        os.kill(self.program_pid(), signum)
        try:
            self.process.wait(EXIT_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.case.fail('the daemon does not leave\n%s' % self.result())
        result = self.result()
        self.case.assert_status(result, 0)
        left = [path.name for path in self.case.dir.glob('sock*')]
        self.case.assertEqual(left, [], 'sockets left behind')
        return result


def testpmd_stats(output):
    """Accumulated counters of testpmd's last forward statistics."""
    counters = {}
    for name in ('RX-packets', 'RX-dropped', 'TX-packets', 'TX-dropped'):
        values = re.findall(r'%s:\s*(\d+)' % name, output.rsplit('Accumulated', 1)[-1])
        counters[name] = int(values[0]) if values else None
    return counters


def main():
    """Run the file's cases; arguments choose some of them by name."""
    for program in (EMU_RUN, TEST_VDPA, DAEMON, PLUGIN):
        if not program.exists():
            sys.exit('%s is not built' % program)
    unittest.main(verbosity=2)
