# SPDX-License-Identifier: BSD-3-Clause
"""Reset a guest's device many times under traffic and watch what could grow.

dpdk-test-vdpa's shell is told "reset" again and again; between resets the process is looked at from
outside (file descriptors, memory, threads) and the device through "show counters" (objects, pins).
After a warm-up all of it must stay as it is. Started by soak.sh; see --help.
"""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import cli

ROOT = pathlib.Path(__file__).resolve().parents[1]
DEVICE = '0000:e1:00.2'
RESETS, SAMPLES = 10000, 100
WARM_UP = 0.05              # of the samples; memory is judged behind it
CORES, HUGEPAGE_MB = '0,1', 64
PPS = 20000                 # so that many packets pass between two resets, and a core has pauses
START_SECONDS, RESET_SECONDS = 60, 60
PROMPT = b'test-vdpa> '
# What memory may still grow by: what an allocator may do, 10,000 leaks of 100 bytes are as much; and,
# where files count too, what of libraries and of the guest's memory is touched for the first time.
MARGINS_KIB = {'anonymous_kib': 1024, 'rss_kib': 16384}
COUNTERS = re.compile(r'Commands: (\d+), objects: (\d+), pinned bytes: (\d+), '
                      r'refused accesses: (\d+)')
TRAFFIC = re.compile(r'(TX-packets|RX-packets|RX-corrupt|RX-duplicated|Lost): +(\d+)')
CONSTANT = ('objects', 'pinned', 'fds', 'threads')


class Failed(Exception):
    """The soak has failed; why."""


class Shell:
    """The program under its emulator, with its shell on pipes."""

    def __init__(self, options, folder):
        self.log = folder / 'log'
        self.report = folder / 'report.json'
        command = [options.build / 'emu' / 'mlx5-emu-run', '--report', self.report]
        if options.device:
            command += ['--device', options.device]
        command += ['--', options.build / 'app' / 'test-vdpa' / 'dpdk-test-vdpa', '-l', CORES, '-m',
                    HUGEPAGE_MB, '--in-memory', '--file-prefix', 'soak%d' % os.getpid(),
                    '--no-telemetry', '--no-pci',
                    '--vdev=vdpa_mlx5_persist0,dev=%s%s' % (
                        DEVICE, ',' + options.devargs if options.devargs else ''),
                    '--', '--interactive', '--mem', options.mem, '--queues', options.queues,
                    '--pps', PPS]
        if options.packed:
            command.append('--packed')
        with open(self.log, 'wb') as log:
            self.process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE,
                                            stdin=subprocess.PIPE, stderr=log)
        os.set_blocking(self.process.stdout.fileno(), False)
        self.read(START_SECONDS)

    def read(self, seconds):
        """What the shell says up to its next prompt."""
        text, deadline = b'', time.monotonic() + seconds
        while not text.endswith(PROMPT):
            part = self.process.stdout.read()
            if part:
                text += part
            elif part == b'' or time.monotonic() > deadline:
                raise Failed('no prompt: %s' % (text.decode(errors='replace').strip() or
                                                self.log.read_text(errors='replace')[-1000:]))
            else:
                time.sleep(0.0005)
        return text[:-len(PROMPT)].decode(errors='replace')

    def ask(self, line, seconds=RESET_SECONDS):
        self.process.stdin.write(line.encode() + b'\n')
        self.process.stdin.flush()
        return self.read(seconds)

    def pid(self):
        """The program itself: the emulator's runner may be its parent."""
        found = self.process.pid
        while True:
            with open('/proc/%d/task/%d/children' % (found, found), encoding='ascii') as children:
                below = children.read().split()
            if not below:
                return found
            found = int(below[0])

    def end(self):
        """Leave as a user does. Returns the report."""
        self.process.stdin.close()
        deadline = time.monotonic() + START_SECONDS
        while self.process.poll() is None and time.monotonic() < deadline:
            self.process.stdout.read()
            time.sleep(0.05)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
            raise Failed('the program does not leave')
        return json.loads(self.report.read_text())

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def sample(shell, pid):
    """What could grow, now."""
    status = pathlib.Path('/proc/%d/status' % pid).read_text()
    rollup = pathlib.Path('/proc/%d/smaps_rollup' % pid).read_text()
    counters = COUNTERS.search(shell.ask('show counters'))
    if not counters:
        raise Failed('the device shows no counters')
    return {
        'fds': len(os.listdir('/proc/%d/fd' % pid)),
        'threads': int(re.search(r'^Threads:\s*(\d+)', status, re.M)[1]),
        'rss_kib': int(re.search(r'^VmRSS:\s*(\d+)', status, re.M)[1]),
        'anonymous_kib': int(re.search(r'^Anonymous:\s*(\d+)', rollup, re.M)[1]),
        'commands': int(counters[1]), 'objects': int(counters[2]), 'pinned': int(counters[3]),
        'faults': int(counters[4])}


def soak(shell, options):
    """All resets. Returns the samples."""
    shell.ask('start')
    pid = shell.pid()
    samples, every = [], max(1, options.resets // SAMPLES)
    start = time.monotonic()
    for number in range(1, options.resets + 1):
        text = shell.ask('reset')
        if not re.search(r'close [\d.]+ us, conf [\d.]+ us', text):
            raise Failed('reset %d: %s' % (number, text.strip()))
        if number % every == 0:
            samples.append({'reset': number, **sample(shell, pid)})
            if len(samples) % 10 == 0:
                print('soak: %6d resets in %4d s: %s' % (
                    number, time.monotonic() - start, ', '.join(
                        '%s %d' % item for item in samples[-1].items() if item[0] != 'reset')),
                      flush=True)
    return samples


def judge(samples, traffic, report):
    """What is wrong, a line each."""
    settled = samples[int(len(samples) * WARM_UP):]
    for key in CONSTANT:
        values = {s[key] for s in settled}
        if len(values) > 1:
            yield '%s: from %d to %d' % (key, min(values), max(values))
    half = len(settled) // 2
    for key, margin in MARGINS_KIB.items():
        early, late = (max(s[key] for s in part) for part in (settled[:half], settled[half:]))
        if late > early + margin:
            yield '%s: from %d to %d' % (key, early, late)
    for key in ('RX-corrupt', 'RX-duplicated', 'Lost'):
        if traffic[key]:
            yield '%s: %d' % (key, traffic[key])
    if samples[-1]['faults'] or report['dma']['faults']:
        yield 'refused accesses: %d' % report['dma']['faults']
    if report['alive']['total']:
        yield 'alive at the end: %s' % report['alive']['by_type']
    if report['pins']['bytes_now']:
        yield 'pinned at the end: %d bytes' % report['pins']['bytes_now']


def parse_options(argv):
    parser = cli.Parser(
        'soak', prog='devtools/soak.sh',
        description='Reset a guest under traffic many times on an emulated ConnectX, and see that '
                    'objects, pins, file descriptors, threads and memory stay as they are.',
        epilog='Exit status: 0; 1 if something grew or a packet was harmed; 2 on bad usage.')
    add = parser.add_argument
    add('--resets', metavar='N', type=int, default=RESETS, help='how many (%(default)s)')
    add('--queues', metavar='PAIRS', type=int, default=2, help='queue pairs (%(default)s)')
    add('--mem', metavar='SIZE', default='64M', help="the guest's memory (%(default)s)")
    add('--packed', action='store_true', help='packed rings')
    add('--devargs', metavar='KEY=VAL,...', default='', help="more of our driver's arguments")
    add('--device', metavar='SPEC', help="the device, as mlx5-emu-run's --device has it")
    add('--json', metavar='FILE', type=pathlib.Path, help='all samples')
    add('--build', metavar='DIR', type=pathlib.Path, default=ROOT / 'build',
        help="a build other than this tree's build/")
    options = parser.parse_args(argv)
    if options.resets < SAMPLES:
        parser.error('--resets: must be a number from %d on' % SAMPLES)
    if not (options.build / 'emu' / 'mlx5-emu-run').exists():
        parser.error('--build: %s is not built' % options.build)
    return options


def run(options, folder):
    """The soak. Returns what is wrong, a line each."""
    shell = Shell(options, folder)
    try:
        samples = soak(shell, options)
        shell.ask('stop')
        traffic = {key: int(value) for key, value in TRAFFIC.findall(shell.ask('show traffic'))}
        report = shell.end()
    finally:
        shell.kill()
    if options.json:
        options.json.write_text(json.dumps({'samples': samples, 'traffic': traffic}, indent=1))
    print('soak: %d resets, %d packets received; at %d resets %s' % (
        options.resets, traffic['RX-packets'], samples[len(samples) // 20]['reset'], ', '.join(
            '%s %d' % (key, samples[len(samples) // 20][key])
            for key in (*CONSTANT, 'rss_kib', 'anonymous_kib'))))
    print('soak: at the end %s' % ', '.join(
        '%s %d' % (key, samples[-1][key]) for key in (*CONSTANT, 'rss_kib', 'anonymous_kib')))
    return list(judge(samples, traffic, report))


def main(argv):
    options = parse_options(argv)
    with tempfile.TemporaryDirectory() as folder:
        try:
            wrong = run(options, pathlib.Path(folder))
        except Failed as error:
            wrong = [str(error)]
    for line in wrong:
        print('soak: %s' % line, file=sys.stderr)
    print('soak: %s' % ('FAILED' if wrong else 'nothing grew, no packet was harmed'))
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
