# SPDX-License-Identifier: BSD-3-Clause
"""Compare drivers on one emulated ConnectX: dpdk-test-vdpa's benchmarks, one cell at a time.

A cell is a benchmark, a gap and a configuration (a driver and its arguments). Its outcome is a
file in the output folder, which makes a run resumable; from all of them come the table, one JSON
file and a chart. Started by bench.sh; see --help.
"""
import argparse
import contextlib
import hashlib
import itertools
import json
import os
import pathlib
import platform
import re
import shlex
import signal
import subprocess
import sys
import time

import bench_chart
import bench_table

ROOT = pathlib.Path(__file__).resolve().parents[1]
BENCHES = ('reset', 'remap', 'replace')
GAPS_MS = (0, 2000)
ITERATIONS, QUICK_ITERATIONS = 10, 5
DEVICE = '0000:e1:00.2'     # what mlx5-emu-run shows unless told
PEER = 'librte_vdpa_mlx5.so'
PEER_PARTS = (PEER, 'librte_common_mlx5.so')
TUNED = 'queues=16,queue_size=256,max_conf_threads=8'

CORES, HUGEPAGE_MB = '0,1', 64
GIB = 1 << 30
ATTEMPTS = 2                # at a cell until it is taken for failed
START_SECONDS = 40          # of an attempt, for all that is not an iteration
ITERATION_SECONDS = 2       # ... and of an iteration without memory
GIB_SECONDS = 3             # ... for each GiB that it has
TERM_SECONDS = 5            # from the request to leave until the kill
RESERVE = GIB // 2          # memory to be left to others
SIZE_UNIT = 2 << 20


class Configuration:
    """A driver and its arguments: a column of the table."""

    def __init__(self, name, title, eal, peer=False):
        self.name, self.title, self.eal, self.peer = name, title, eal, peer


def configurations(device):
    """The four that are always compared."""
    nvidia = 'class=vdpa'
    ours = ['--no-pci', '--vdev=vdpa_mlx5_persist0,dev=%s,persist=' % device]
    return [
        Configuration('nvidia', 'NVIDIA default', ['-a', '%s,%s' % (device, nvidia)], True),
        Configuration('nvidia-tuned', 'NVIDIA tuned',
                      ['-a', '%s,%s,%s' % (device, nvidia, TUNED)], True),
        Configuration('off', 'ours persist=off', [ours[0], ours[1] + 'off']),
        Configuration('reset', 'ours persist=reset', [ours[0], ours[1] + 'reset']),
    ]


# ---- options ----

class Parser(argparse.ArgumentParser):
    """One line and status 2 on bad usage."""

    def error(self, message):
        self.exit(2, 'bench: %s; see --help\n' % message)


def size(text):
    """A size as dpdk-test-vdpa takes it, in bytes."""
    match = re.fullmatch(r'(\d+)([KMG]?)', text)
    value = int(match[1]) << ' KMG'.index(match[2] or ' ') * 10 if match else 0
    if value == 0 or value % SIZE_UNIT:
        raise argparse.ArgumentTypeError('%s: must be a size in units of 2M' % text)
    return value


def number(least):
    """A parser of decimal numbers."""
    def parse(text):
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError('%s: must be a number from %d on' % (text, least))
        return int(text)
    return parse


def several(parse_one):
    """A parser of comma-separated lists, whose items appear once."""
    def parse(text):
        items = [parse_one(item) for item in text.split(',')]
        if len(set(items)) < len(items):
            raise argparse.ArgumentTypeError('%s: one of them is there twice' % text)
        return items
    return parse


def one_of(names):
    def parse(text):
        if text not in names:
            raise argparse.ArgumentTypeError('%s: must be of %s' % (text, ', '.join(names)))
        return text
    return parse


def added(text):
    """A column of the user's own."""
    name, _, options = text.partition('=')
    if not re.fullmatch(r'[A-Za-z0-9_.-]+', name) or not options:
        raise argparse.ArgumentTypeError('%s: must be NAME=EAL_OPTIONS' % text)
    try:
        return Configuration(name, name, shlex.split(options))
    except ValueError as error:
        raise argparse.ArgumentTypeError('%s: %s' % (text, error)) from None


def version():
    """The project's, as its build file has it."""
    return re.search(r"version: '([^']+)'", (ROOT / 'meson.build').read_text())[1]


def parse_options(argv):
    standard = [c.name for c in configurations(DEVICE)]
    parser = Parser(
        prog='devtools/bench.sh', allow_abbrev=False,
        description="Compare NVIDIA's driver, with its default arguments and tuned (%s), and "
                    'ours, with persist=off and persist=reset, on the same emulated ConnectX. '
                    'Sets up and builds first.' % TUNED,
        epilog="Exit status: 0; 1 if a cell that is not NVIDIA's failed or a packet of it was "
               'harmed; 2 on bad usage.')
    add = parser.add_argument
    add('--version', action='version', version='bench.sh ' + version())
    add('--out', metavar='DIR', type=pathlib.Path, default=pathlib.Path('bench-results'),
        help='where results go: table.txt, bench.json, bench.svg, cells/ (%(default)s)')
    add('--quick', action='store_true',
        help='%d iterations and gap 0 unless told otherwise' % QUICK_ITERATIONS)
    add('--fresh', action='store_true',
        help='run all cells; else those in DIR that have figures, of the same build with the '
             'same options, are not run again')
    add('--mem', metavar='SIZE', type=size, default=GIB, help="the guest's memory (1G)")
    add('--queues', metavar='PAIRS', type=number(1), default=4, help='queue pairs (%(default)s)')
    add('--iterations', metavar='N', type=number(1), help='of each cell (%d)' % ITERATIONS)
    add('--bench', metavar='LIST', type=several(one_of(BENCHES)), default=list(BENCHES),
        help='which of ' + ','.join(BENCHES))
    add('--gap', metavar='LIST', type=several(number(0)),
        help='ms from the stop to the next start (%s)' % ','.join(map(str, GAPS_MS)))
    add('--config', metavar='LIST', type=several(one_of(standard)), default=standard,
        help='which of ' + ','.join(standard))
    add('--add', metavar='NAME=EAL_OPTIONS', type=added, action='append', default=[],
        help='one more column: any vDPA driver by its EAL options; may be repeated')
    add('--emu-device', metavar='SPEC', help="the device, as mlx5-emu-run's --device has it")
    add('--latency', metavar='PROFILE', default='none',
        help="what a command is charged, as mlx5-emu-run's --latency has it (%(default)s)")
    add('--attempts', metavar='N', type=number(1), default=ATTEMPTS,
        help='at a cell whose driver does not come back (%(default)s)')
    add('--timeout', metavar='SECONDS', type=number(1),
        help='of an attempt (%d, and more for iterations, gap and memory)' % START_SECONDS)
    add('--build', metavar='DIR', type=pathlib.Path,
        help='use this build as it is, and set up nothing')
    options = parser.parse_args(argv)
    options.iterations = options.iterations or (QUICK_ITERATIONS if options.quick else ITERATIONS)
    options.gap = options.gap or list(GAPS_MS[:1] if options.quick else GAPS_MS)
    check(parser, options)
    return options


def check(parser, options):
    """What no option shows by itself."""
    names = [c.name for c in configurations(DEVICE) + options.add]
    for name in names:
        if names.count(name) > 1:
            parser.error('--add %s: this name is taken' % name)
    # The guest that is replaced is there beside its successor.
    need = options.mem * (2 if 'replace' in options.bench else 1) + RESERVE
    meminfo = pathlib.Path('/proc/meminfo').read_text()
    available = int(re.search(r'MemAvailable:\s*(\d+) kB', meminfo)[1]) << 10
    if need > available:
        parser.error('--mem: this run takes %.1f GiB, the machine has %.1f' %
                     (need / GIB, available / GIB))


# ---- the build ----

class Build:
    """The programs that are measured, and what tells them from others."""

    def __init__(self, folder):
        self.folder = folder
        self.runner = folder / 'emu' / 'mlx5-emu-run'
        self.program = folder / 'app' / 'test-vdpa' / 'dpdk-test-vdpa'
        self.peer = peer_libraries()
        for path in (self.runner, self.program):
            if not path.exists():
                sys.exit('bench: %s is not built' % path)
        digest = hashlib.sha256()
        for path in [self.runner, self.program] + self.peer:
            digest.update(path.read_bytes())
        self.digest = digest.hexdigest()[:16]


def peer_libraries():
    """NVIDIA's driver, empty if it is not installed."""
    libdir = subprocess.run(['pkg-config', '--variable=libdir', 'libdpdk'], check=True,
                            capture_output=True, text=True).stdout.strip()
    return [path for part in PEER_PARTS
            for path in sorted(pathlib.Path(libdir).glob('dpdk/pmds-*/' + part))]


def prepare(options):
    """Set up and build, unless there is a build to be used."""
    if options.build:
        return Build(options.build.resolve())
    for script in ('setup.sh', 'build.sh'):
        if subprocess.run([ROOT / 'usertools' / script], check=False).returncode:
            sys.exit(1)
    return Build(ROOT / 'build')


# ---- cells ----

class Cell:
    """One run of dpdk-test-vdpa."""

    def __init__(self, options, build, bench, gap_ms, config):
        self.options, self.build = options, build
        self.bench, self.gap_ms, self.config = bench, gap_ms, config
        self.name = '%s-%d-%s' % (bench, gap_ms, config.name)
        self.folder = options.out / 'cells'
        self.file = self.folder / (self.name + '.json')
        self.log = self.folder / (self.name + '.log')
        self.result_file = self.folder / (self.name + '.result')
        self.report_file = self.folder / (self.name + '.report')

    def title(self):
        return '%s, gap %d ms, %s' % (self.bench, self.gap_ms, self.config.title)

    def emulator(self):
        """Options of mlx5-emu-run."""
        spec = self.options.emu_device
        return ['--latency', self.options.latency] + (['--device', spec] if spec else [])

    def program(self):
        """Options of dpdk-test-vdpa, of EAL and its own."""
        return ['-l', CORES, '-m', str(HUGEPAGE_MB), '--in-memory', *self.config.eal, '--',
                '--bench', self.bench, '--gap', str(self.gap_ms), '--mem', str(self.options.mem),
                '--queues', str(self.options.queues), '--iterations', str(self.options.iterations)]

    def command(self):
        """The whole command line. Programs of other runs are kept apart by EAL's file prefix."""
        return [str(arg) for arg in (
            self.build.runner, *self.emulator(), '--report', self.report_file, '--',
            self.build.program, '--file-prefix', 'bench%d' % os.getpid(), *self.program(),
            '--json', self.result_file)]

    def identity(self):
        """Equal for runs that measure the same."""
        text = json.dumps([self.build.digest, self.emulator(), self.program()])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def seconds(self):
        """Time that an attempt may take."""
        each = ITERATION_SECONDS + self.gap_ms / 1000 + GIB_SECONDS * self.options.mem / GIB
        return self.options.timeout or START_SECONDS + round(each * self.options.iterations)

    def done(self):
        """The outcome of an earlier run that measured the same and has figures, or None."""
        outcome = read_json(self.file)
        if outcome and outcome.get('identity') == self.identity() and outcome['status'] != 'failed':
            return outcome
        return None

    def run(self, progress):
        """Run it until a driver comes back, and keep the outcome."""
        self.file.unlink(missing_ok=True)
        start = time.monotonic()
        failures = []
        while True:
            status, line = self.attempt(progress)
            if status != 'failed':
                break
            failures.append(line)
            if len(failures) == self.options.attempts:
                break
        if failures and status != 'failed':
            status = 'unclean'
            line = '; '.join(filter(None, [
                '%d of %d attempts failed (%s)' % (len(failures), len(failures) + 1, failures[-1]),
                line]))
        outcome = {
            'bench': self.bench, 'gap_ms': self.gap_ms, 'configuration': self.config.name,
            'status': status, 'line': line, 'failures': failures,
            'seconds': round(time.monotonic() - start, 1),
            'command': self.command(), 'identity': self.identity(),
            'result': read_json(self.result_file), 'report': read_json(self.report_file)}
        write_file(self.file, json.dumps(outcome, indent=1) + '\n')
        self.clear()
        return outcome

    def clear(self):
        """Leave nothing of an attempt but its log."""
        for path in (self.result_file, self.report_file):
            path.unlink(missing_ok=True)

    def attempt(self, progress):
        """Run it once. Returns what became of it, as judge()."""
        self.clear()
        if self.config.peer and not self.build.peer:
            self.log.write_text('')
            return 'failed', "NVIDIA's driver is not installed (%s)" % PEER
        return self.judge(self.execute(progress))

    def execute(self, progress):
        """Run the program; returns its exit status, or None if it had to be ended."""
        deadline = time.monotonic() + self.seconds()
        process = None
        try:
            with open(self.log, 'wb') as log, signals_wait():
                process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log,
                                           stderr=log, start_new_session=True)
            while time.monotonic() < deadline:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    return process.wait(min(1, max(0.01, deadline - time.monotonic())))
                progress.tick()
            return None
        finally:
            if process is not None:
                end_group(process)

    def judge(self, code):
        """What became of an attempt: "ok", "unclean" (all figures, but...) or "failed"; and why."""
        result = read_json(self.result_file)
        if code is None:
            return 'failed', 'no end within %d s%s' % (
                self.seconds(), ': ' + result['failed'] if result and result['failed'] else '')
        if result is None:
            return 'failed', self.complaint(code)
        if result['failed']:
            return 'failed', result['failed']
        harmed = {key: result['packets'][key] for key in ('corrupt', 'lost', 'duplicated')}
        harmed['refused accesses'] = result['dma_faults'] or 0
        harmed = ['%s: %d' % item for item in harmed.items() if item[1]]
        if harmed:
            return 'unclean', ', '.join(harmed)
        if code:
            return 'unclean', 'after the last iteration: ' + self.complaint(code)
        return 'ok', None

    def complaint(self, code):
        """The line of a program's output that says best why it ended with this status."""
        if code < 0:
            return 'ended by %s' % signal.Signals(-code).name
        lines = [line.strip() for line in self.log.read_text(errors='replace').splitlines()]
        lines = [line for line in lines if line]
        # The driver knows more than those who only see that it failed.
        others = r'EAL:|TELEMETRY:|VHOST_CONFIG:|vdev_probe\(\)|dpdk-test-vdpa:'
        drivers = [line for line in lines if not re.match(others, line)]
        return (drivers or lines or ['exit status %d' % code])[-1]


@contextlib.contextmanager
def signals_wait():
    """Signals that would end us do so at the end of the block: not between the start of a program and
    our knowing of it."""
    came = []
    held = {signum: handler for signum in (signal.SIGTERM, signal.SIGINT)
            if callable(handler := signal.getsignal(signum))}
    for signum in held:
        signal.signal(signum, lambda number, _: came.append(number))
    try:
        yield
    finally:
        for signum, handler in held.items():
            signal.signal(signum, handler)
        for signum in came:
            os.kill(os.getpid(), signum)


def end_group(process):
    """End a program and all that it started, politely first. Does nothing if it is gone."""
    for signum, seconds in ((signal.SIGTERM, TERM_SECONDS), (signal.SIGKILL, None)):
        if process.poll() is not None:
            break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signum)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)


def read_json(path):
    """A file's object, None if there is none that can be read."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def write_file(path, text):
    """All of it or nothing, also when we are interrupted."""
    part = path.with_suffix('.part')
    part.write_text(text)
    part.replace(path)


# ---- progress ----

class Progress:
    """A line for each cell; on a terminal it counts the seconds."""

    def __init__(self, total):
        self.total, self.number = total, 0
        self.start, self.text = 0, ''
        self.tty = sys.stdout.isatty()

    def begin(self, cell):
        self.number += 1
        self.start = time.monotonic()
        self.text = '[%*d/%d] %s' % (len(str(self.total)), self.number, self.total, cell.title())
        if self.tty:
            print(self.text, end='', flush=True)

    def tick(self):
        if self.tty:
            print('\r%s  %d s' % (self.text, time.monotonic() - self.start), end='', flush=True)

    def end(self, what):
        print('%s%s: %s' % ('\r\x1b[K' if self.tty else '', self.text, what), flush=True)


def summary(outcome):
    """An outcome in half a line."""
    if outcome['status'] == 'failed':
        return 'failed: ' + outcome['line']
    result = outcome['result']
    text = 'blackout %.2f, close %.2f, conf %.2f ms' % tuple(
        result[key]['median'] / 1000 for key in ('blackout_us', 'close_us', 'conf_us'))
    return text + ('; but ' + outcome['line'] if outcome['line'] else '')


# ---- the run ----

def measure(options, build, columns):
    """All cells, one after the other; those to be compared follow each other."""
    cells = [Cell(options, build, *what)
             for what in itertools.product(options.bench, options.gap, columns)]
    progress = Progress(len(cells))
    outcomes = []
    for cell in cells:
        progress.begin(cell)
        outcome = None if options.fresh else cell.done()
        if outcome:
            progress.end(summary(outcome) + ' (kept)')
        else:
            outcome = cell.run(progress)
            progress.end('%s (%.0f s)' % (summary(outcome), outcome['seconds']))
        outcomes.append(outcome)
    return outcomes


def document(options, build, columns, outcomes):
    """The JSON file: all cells, and what they have in common."""
    return {
        'version': version(), 'build': build.digest,
        'machine': {'kernel': platform.release(), 'processors': os.cpu_count()},
        'emu_device': options.emu_device, 'latency': options.latency,
        'mem_bytes': options.mem, 'queue_pairs': options.queues, 'iterations': options.iterations,
        'benches': options.bench, 'gaps_ms': options.gap,
        'configurations': [{'name': c.name, 'title': c.title, 'eal': c.eal, 'peer': c.peer}
                           for c in columns],
        'cells': outcomes,
    }


def show(path):
    """A path as short as it gets."""
    with contextlib.suppress(ValueError):
        return path.resolve().relative_to(pathlib.Path.cwd())
    return path


def main(argv):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    options = parse_options(argv)
    try:
        (options.out / 'cells').mkdir(parents=True, exist_ok=True)
    except OSError as error:
        print('bench: --out %s: %s' % (options.out, error.strerror), file=sys.stderr)
        return 2
    build = prepare(options)
    device = re.search(r'(?:^|,)bdf=([^,]+)', options.emu_device or '')
    columns = [c for c in configurations(device[1] if device else DEVICE)
               if c.name in options.config] + options.add
    outcomes = measure(options, build, columns)
    data = document(options, build, columns, outcomes)
    table = bench_table.render(data)
    files = {'table.txt': table, 'bench.json': json.dumps(data, indent=1) + '\n',
             'bench.svg': bench_chart.render(data)}
    for name, text in files.items():
        write_file(options.out / name, text)
    print('\n' + table)
    print('bench: %s' % ', '.join(str(show(options.out / name)) for name in files))
    peers = [c.name for c in columns if c.peer]
    good = all(outcome['status'] == 'ok' or outcome['configuration'] in peers
               for outcome in outcomes)
    return 0 if good else 1


if __name__ == '__main__':
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit('\nbench: interrupted; what is done is kept')
