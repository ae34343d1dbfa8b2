# SPDX-License-Identifier: BSD-3-Clause
"""Compare drivers on one emulated ConnectX: dpdk-test-vdpa's benchmarks, one cell at a time.

A cell is a setting (queues, memory, what commands cost, capabilities), a benchmark, a gap and a
configuration (a driver and its arguments). Its outcome is a file in the output folder, which makes
a run resumable; from all of them come the tables, one JSON file and a chart. Started by bench.sh;
see --help. Which cells there are is bench_plan.py's.
"""
import argparse
import contextlib
import hashlib
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
import bench_plan
import bench_reach
import bench_table
import cli
from bench_plan import ALL_CAPS, BENCHES, DEVICE, GAPS_MS, GIB, Configuration

ROOT = pathlib.Path(__file__).resolve().parents[1]
ITERATIONS, QUICK_ITERATIONS = 10, 5
PEER = 'librte_vdpa_mlx5.so'
PEER_PARTS = (PEER, 'librte_common_mlx5.so')
# What --quick builds: the programs, and what one of them loads.
QUICK_TARGETS = ('emu/mlx5-emu-run', 'emu/verbs/libmlx5_emu_verbs.so',
                 'emu/verbs/mlx5-emu-pin-bench', 'app/test-vdpa/dpdk-test-vdpa')

CORES, HUGEPAGE_MB = '0,1', 64
ATTEMPTS = 2                # at a cell until it is taken for failed
START_SECONDS = 40          # of an attempt, for all that is not an iteration
ITERATION_SECONDS = 2       # ... and of an iteration without memory
GIB_SECONDS = 3             # ... for each GiB that it has
TERM_SECONDS = 5            # from the request to leave until the kill
RESERVE = GIB // 2          # memory to be left to others
SIZE_UNIT = 2 << 20
TWO_GUESTS = ('replace', 'start')
WORTH_TELLING = 120         # seconds left


# ---- options ----

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


def caps(text):
    """Capabilities as mlx5-emu-run's --device has them, or none changed."""
    if text != ALL_CAPS and not re.fullmatch(r'[+-]\w+(:[+-]\w+)*', text):
        raise argparse.ArgumentTypeError(
            '%s: must be %s, or capabilities with + or -, joined by :' % (text, ALL_CAPS))
    return text


def new_parser(names):
    parser = cli.Parser(
        'bench', prog='devtools/bench.sh',
        description="Compare NVIDIA's driver, with its default arguments and tuned (%s), and "
                    'ours, with persist=off and persist=reset (where the connection ends, '
                    'persist=reconnect), on the same emulated ConnectX. Sets up and builds first. '
                    'A LIST is joined by commas; cells are all combinations.' % bench_plan.TUNED,
        epilog="Exit status: 0; 1 if a cell that is not NVIDIA's failed or a packet of it was "
               'harmed; 2 on bad usage.')
    add = parser.add_argument
    add('--out', metavar='DIR', type=pathlib.Path, default=pathlib.Path('bench-results'),
        help='where results go: table.txt, bench.json, bench.svg, cells/ (%(default)s)')
    add('--quick', action='store_true',
        help='a few cells of %d iterations that show what this project is to reach, in minutes; '
             '--bench and --config select of them' % QUICK_ITERATIONS)
    add('--all', action='store_true',
        help='the whole matrix where nothing else is said: a night and more')
    add('--fresh', action='store_true',
        help='run all cells; else those in DIR that have figures, of the same build with the '
             'same options, are not run again')
    add('--show', action='store_true', help='run nothing: tables of the cells that are there')
    add('--bench', metavar='LIST', type=several(one_of(BENCHES)),
        help='which of ' + ','.join(BENCHES))
    add('--config', metavar='LIST', type=several(one_of(names)), help='which of ' + ','.join(names))
    add('--gap', metavar='LIST', type=several(number(0)),
        help='ms from the stop to the next start (%s)' % ','.join(map(str, GAPS_MS)))
    add('--pairs', '--queues', metavar='LIST', type=several(number(1)),
        help='queue pairs (4; all: 1,4,16)')
    add('--mem', metavar='LIST', type=several(size), help="the guest's memory (1G; all: 1G,4G,8G)")
    add('--profile', '--latency', metavar='LIST', type=several(str),
        help="what a command is charged, as mlx5-emu-run's --latency has it (none; all: "
             'none,cx6dx)')
    add('--caps', metavar='LIST', type=several(caps),
        help='capabilities that the device has not, or has besides (%s; all: %s). A list that '
             'begins with - follows a =' % (ALL_CAPS, ','.join(bench_plan.CAPS)))
    add('--iterations', metavar='N', type=number(1), help='of each cell (%d)' % ITERATIONS)
    add('--add', metavar='NAME=EAL_OPTIONS', type=added, action='append', default=[],
        help='one more column: any vDPA driver by its EAL options; may be repeated')
    add('--emu-device', metavar='SPEC', help="the device, as mlx5-emu-run's --device has it")
    add('--attempts', metavar='N', type=number(1),
        help="at a cell whose driver does not come back (%d; quick, NVIDIA's: 1)" % ATTEMPTS)
    add('--timeout', metavar='SECONDS', type=number(1),
        help='of an attempt (%d, and more for iterations, gap and memory)' % START_SECONDS)
    add('--build', metavar='DIR', type=pathlib.Path,
        help='use this build as it is, and set up nothing')
    return parser


def parse_options(argv):
    names = [c.name for c in bench_plan.standard(DEVICE)]
    parser = new_parser(names)
    options = parser.parse_args(argv)
    if options.quick:
        for name in ('all', 'gap', 'pairs', 'mem', 'profile', 'caps', 'add'):
            if getattr(options, name):
                parser.error('--quick has its own cells, it takes no --%s' % name)
    plan = bench_plan
    for name, default, everything in (
            ('gap', GAPS_MS, GAPS_MS), ('pairs', plan.STANDARD_PAIRS, plan.PAIRS),
            ('mem', plan.STANDARD_MEMS, plan.MEMS), ('caps', plan.STANDARD_CAPS, plan.CAPS),
            ('profile', plan.STANDARD_PROFILES, plan.PROFILES)):
        if not getattr(options, name):
            setattr(options, name, list(everything if options.all else default))
    options.iterations = options.iterations or (QUICK_ITERATIONS if options.quick else ITERATIONS)
    device = re.search(r'(?:^|,)bdf=([^,]+)', options.emu_device or '')
    options.device = device[1] if device else DEVICE
    options.columns = columns_of(options, names)
    options.bench = options.bench or list(BENCHES)
    options.specs = specs_of(options)
    check(parser, options, names)
    return options


def columns_of(options, names):
    """The configurations, in the order of the table."""
    found = [c for c in bench_plan.standard(options.device) if c.name in (options.config or names)]
    found += options.add
    if options.quick and not options.config:
        found += bench_plan.threads(options.device)
    return found


def specs_of(options):
    """What is to be measured."""
    if not options.quick:
        return bench_plan.matrix(options, options.columns)
    chosen = {c.name for c in options.columns}
    return [spec for spec in bench_plan.quick(options.device)
            if spec.config.name in chosen and spec.bench in options.bench]


def need(spec):
    """Memory that a cell takes. The guest that is replaced is there beside its successor."""
    return spec.setting.mem * (2 if spec.bench in TWO_GUESTS else 1) + RESERVE


def check(parser, options, names):
    """What no option shows by itself."""
    names = names + [c.name for c in options.add]
    for name in names:
        if names.count(name) > 1:
            parser.error('--add %s: this name is taken' % name)
    if 'caps=' in (options.emu_device or '') and options.caps != [ALL_CAPS]:
        parser.error('--caps: --emu-device has capabilities already')
    if not options.specs:
        parser.error('no cell is left of these')
    meminfo = pathlib.Path('/proc/meminfo').read_text()
    available = int(re.search(r'MemAvailable:\s*(\d+) kB', meminfo)[1]) << 10
    if options.quick or options.all:
        # Nobody asked for a certain size.
        left_out = [spec for spec in options.specs if need(spec) > available]
        for size_left in sorted({spec.setting.mem for spec in left_out}):
            print('bench: cells with %d GiB that this machine has no room for are left out' %
                  (size_left // GIB))
        options.specs = [spec for spec in options.specs if need(spec) <= available]
    most = max(map(need, options.specs), default=0)
    if most > available or not options.specs:
        parser.error('--mem: this run takes %.1f GiB, the machine has %.1f' %
                     (most / GIB, available / GIB))


# ---- the build ----

class Build:
    """The programs that are measured, and what tells them from others."""

    def __init__(self, folder):
        self.folder = folder
        self.runner = folder / 'emu' / 'mlx5-emu-run'
        self.program = folder / 'app' / 'test-vdpa' / 'dpdk-test-vdpa'
        self.pin_bench = folder / 'emu' / 'verbs' / 'mlx5-emu-pin-bench'
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
    folder = ROOT / 'build'
    steps = [[ROOT / 'usertools' / 'setup.sh'], [ROOT / 'usertools' / 'build.sh']]
    if options.quick:
        steps[1] += ['--only', ' '.join(QUICK_TARGETS)]
    for step in steps:
        if subprocess.run(step, check=False).returncode:
            sys.exit(1)
    return Build(folder)


# ---- cells ----

class Cell:
    """One run of dpdk-test-vdpa."""

    def __init__(self, options, build, spec):
        self.options, self.build = options, build
        self.setting, self.bench, self.gap_ms, self.config = spec
        self.name = '%s-%d-%s-%dp-%dM-%s-%s' % (
            self.bench, self.gap_ms, self.config.name, self.setting.pairs, self.setting.mem >> 20,
            self.setting.profile, self.setting.caps.replace(':', '_'))
        self.folder = options.out / 'cells'
        self.file = self.folder / (self.name + '.json')
        self.log = self.folder / (self.name + '.log')
        self.result_file = self.folder / (self.name + '.result')
        self.report_file = self.folder / (self.name + '.report')
        self.attempts = options.attempts or (
            1 if options.quick and self.config.peer else ATTEMPTS)

    def title(self):
        return '%s, gap %d ms, %s' % (self.bench, self.gap_ms, self.config.title)

    def key(self):
        """What tells it from others, as the JSON file has it."""
        return {'profile': self.setting.profile, 'caps': self.setting.caps,
                'queue_pairs': self.setting.pairs, 'mem_bytes': self.setting.mem,
                'bench': self.bench, 'gap_ms': self.gap_ms, 'configuration': self.config.name}

    def emulator(self):
        """Options of mlx5-emu-run."""
        spec = [self.options.emu_device] if self.options.emu_device else []
        if self.setting.caps != ALL_CAPS:
            spec.append('caps=' + self.setting.caps)
        return ['--latency', self.setting.profile] + (['--device', ','.join(spec)] if spec else [])

    def program(self):
        """Options of dpdk-test-vdpa, of EAL and its own."""
        return ['-l', CORES, '-m', str(HUGEPAGE_MB), '--in-memory',
                *self.config.eal_of(self.bench), '--', '--bench', self.bench,
                '--gap', str(self.gap_ms), '--mem', str(self.setting.mem),
                '--queues', str(self.setting.pairs), '--iterations', str(self.options.iterations)]

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
        each = ITERATION_SECONDS + self.gap_ms / 1000 + GIB_SECONDS * self.setting.mem / GIB
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
            if len(failures) == self.attempts:
                break
        if failures and status != 'failed':
            status = 'unclean'
            line = '; '.join(filter(None, [
                '%d of %d attempts failed (%s)' % (len(failures), len(failures) + 1, failures[-1]),
                line]))
        outcome = {
            **self.key(), 'status': status, 'line': line, 'failures': failures,
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
        self.start, self.text, self.setting = 0, '', None
        self.begun, self.ran = time.monotonic(), 0
        self.tty = sys.stdout.isatty()

    def begin(self, cell):
        self.number += 1
        if cell.setting != self.setting:
            self.setting = cell.setting
            print(bench_table.group_title(tuple(self.setting)), flush=True)
        self.start = time.monotonic()
        self.text = '[%*d/%d] %s' % (len(str(self.total)), self.number, self.total, cell.title())
        if self.tty:
            print(self.text, end='', flush=True)

    def tick(self):
        if self.tty:
            print('\r%s  %d s' % (self.text, time.monotonic() - self.start), end='', flush=True)

    def end(self, what):
        print('%s%s: %s' % ('\r\x1b[K' if self.tty else '', self.text, what), flush=True)

    def left(self):
        """About how long it goes on, judged by the cells that were run."""
        self.ran += 1
        seconds = (time.monotonic() - self.begun) / self.ran * (self.total - self.number)
        return ', about %d min left' % (seconds / 60) if seconds > WORTH_TELLING else ''


def summary(outcome):
    """An outcome in half a line."""
    if outcome['status'] == 'failed':
        return 'failed: ' + outcome['line']
    result = outcome['result']
    text = 'blackout %.2f, close %.2f, conf %.2f ms' % tuple(
        result[key]['median'] / 1000 for key in ('blackout_us', 'close_us', 'conf_us'))
    return text + ('; but ' + outcome['line'] if outcome['line'] else '')


# ---- the run ----

def measure(options, build):
    """All cells, one after the other."""
    progress = Progress(len(options.specs))
    outcomes = []
    for spec in options.specs:
        cell = Cell(options, build, spec)
        if options.show:
            outcomes += filter(None, [read_json(cell.file)])
            continue
        progress.begin(cell)
        outcome = None if options.fresh else cell.done()
        if outcome:
            progress.end(summary(outcome) + ' (kept)')
        else:
            outcome = cell.run(progress)
            progress.end('%s (%.0f s%s)' % (summary(outcome), outcome['seconds'],
                                            progress.left()))
        outcomes.append(outcome)
    return outcomes


def pinning(options, build, outcomes):
    """What it takes to pin the memory of first starts and nothing else, None if there are none."""
    sizes = {cell['mem_bytes'] for cell in outcomes
             if cell['bench'] == 'start' and cell['configuration'] == bench_reach.ONE_THREAD}
    if not sizes or not build.pin_bench.exists():
        return None
    command = [build.pin_bench, str(max(sizes) >> 20), str(options.iterations)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print('bench: pinning alone: %s' % done.stderr.strip(), file=sys.stderr)
        return None
    return json.loads(done.stdout)


def document(options, build, outcomes):
    """The JSON file: all cells, and what they have in common."""
    data = {
        'version': cli.version(), 'build': build.digest,
        'machine': {'kernel': platform.release(), 'processors': os.cpu_count()},
        'emu_device': options.emu_device, 'iterations': options.iterations,
        'configurations': [{'name': c.name, 'title': c.title, 'eal': c.eal, 'peer': c.peer}
                           for c in options.columns],
        'cells': outcomes, 'pinning_alone': pinning(options, build, outcomes),
    }
    data['reach'] = bench_reach.measure(data)
    return data


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
    outcomes = measure(options, build)
    if not outcomes:
        print('bench: --show: there is no cell of these in %s' % show(options.out),
              file=sys.stderr)
        return 1
    data = document(options, build, outcomes)
    table = bench_table.render(data) + bench_reach.render(data['reach'])
    files = {'table.txt': table, 'bench.json': json.dumps(data, indent=1) + '\n',
             'bench.svg': bench_chart.render(data)}
    for name, text in files.items():
        write_file(options.out / name, text)
    print('\n' + table)
    print('bench: %s' % ', '.join(str(show(options.out / name)) for name in files))
    peers = [c.name for c in options.columns if c.peer]
    good = all(outcome['status'] == 'ok' or outcome['configuration'] in peers
               for outcome in outcomes)
    return 0 if good else 1


if __name__ == '__main__':
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit('\nbench: interrupted; what is done is kept')
