# SPDX-License-Identifier: BSD-3-Clause
"""What bench.py measures: drivers with their arguments, settings, and which cells there are."""
import collections
import itertools

DEVICE = '0000:e1:00.2'     # what mlx5-emu-run shows unless told
TUNED = 'queues=16,queue_size=256,max_conf_threads=8'
GIB = 1 << 30
ALL_CAPS = 'all'            # the model's capabilities as they are
NO_FREEZE = '-freeze_to_rdy_supported'

# The whole matrix, and what is measured unless more is asked for.
BENCHES = ('reset', 'remap', 'replace', 'hotplug', 'start', 'reconnect')
GAPS_MS = (0, 2000)
PROFILES, STANDARD_PROFILES = ('none', 'cx6dx'), ('none',)
CAPS, STANDARD_CAPS = (ALL_CAPS, NO_FREEZE), (ALL_CAPS,)
PAIRS, STANDARD_PAIRS = (1, 4, 16), (4,)
MEMS, STANDARD_MEMS = (GIB, 4 * GIB, 8 * GIB), (GIB,)
WITHOUT_GAP = ('hotplug', 'start')      # a gap has no say there, or hides nothing

# --quick: a gap at which NVIDIA's driver, tuned, comes back from each reset of 16 pairs (250 ms is
# too short for that, on a busy machine 400 ms as well); and memory to be registered.
QUICK_GAP_MS = 500
QUICK_START_MEM = GIB
THREADS = (1, 2)            # max_conf_threads of ours, whose first registration is compared

# What a cell has in common with those beside it.
Setting = collections.namedtuple('Setting', 'profile caps pairs mem')
# What a cell measures; a row of the table is all of it but the configuration.
Spec = collections.namedtuple('Spec', 'setting bench gap_ms config')


class Configuration:
    """A driver and its arguments: a column of the table."""

    def __init__(self, name, title, eal, peer=False, reconnect=None):
        self.name, self.title, self.peer = name, title, peer
        self.eal, self.reconnect = eal, reconnect

    def eal_of(self, bench):
        """Its EAL options; where the connection ends, ours is told to keep memory beyond that."""
        return self.reconnect if bench == 'reconnect' and self.reconnect else self.eal


def ours(device, arguments):
    """EAL options of our driver."""
    return ['--no-pci', '--vdev=vdpa_mlx5_persist0,dev=%s,%s' % (device, arguments)]


def standard(device):
    """The four that are always compared."""
    nvidia = '%s,class=vdpa' % device
    return [
        Configuration('nvidia', 'NVIDIA default', ['-a', nvidia], True),
        Configuration('nvidia-tuned', 'NVIDIA tuned', ['-a', '%s,%s' % (nvidia, TUNED)], True),
        Configuration('off', 'ours persist=off', ours(device, 'persist=off')),
        Configuration('reset', 'ours persist=reset', ours(device, 'persist=reset'),
                      reconnect=ours(device, 'persist=reconnect')),
    ]


def threads(device):
    """Ours with so many threads that register, for --quick."""
    return [Configuration('threads-%d' % n, 'ours %d thread%s' % (n, '' if n == 1 else 's'),
                          ours(device, 'max_conf_threads=%d' % n)) for n in THREADS]


def matrix(options, columns):
    """Every combination of what the options say; those to be compared follow each other."""
    return [Spec(Setting(profile, caps, pairs, mem), bench, gap_ms, config)
            for profile, caps, pairs, mem, bench, gap_ms, config in itertools.product(
                options.profile, options.caps, options.pairs, options.mem, options.bench,
                options.gap, columns)
            if bench not in WITHOUT_GAP or gap_ms == options.gap[0]]


def quick(device):
    """The cells from which bench_reach.py reads what it compares."""
    by_name = {config.name: config for config in standard(device)}
    loaded = Setting('cx6dx', ALL_CAPS, 16, GIB)
    plan = [(loaded, 'reset', 0, ('nvidia', 'nvidia-tuned', 'off', 'reset')),
            (loaded, 'reset', QUICK_GAP_MS, ('nvidia-tuned', 'reset')),
            (loaded, 'reset', GAPS_MS[1], ('nvidia-tuned', 'reset')),
            (loaded._replace(caps=NO_FREEZE), 'reset', GAPS_MS[1], ('reset',)),
            (loaded._replace(mem=8 * GIB), 'reset', 0, ('reset',))]
    specs = [Spec(setting, bench, gap_ms, by_name[name])
             for setting, bench, gap_ms, names in plan for name in names]
    first = Setting('none', ALL_CAPS, 1, QUICK_START_MEM)
    return specs + [Spec(first, 'start', 0, config) for config in threads(device)]
