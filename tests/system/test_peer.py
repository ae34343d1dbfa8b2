# SPDX-License-Identifier: BSD-3-Clause
"""NVIDIA's own vDPA driver, the distribution's and unmodified, as the device's client.

What it asks of the emulated card and is not answered as a card would is the emulator's defect. The
tests hold for every DPDK that the distribution may bring; none names a version. Where the driver
itself can't, a test says so and accepts that a later one can.
"""
import pathlib
import subprocess
import sys

import harness
import vhost_user

LIBRARY = 'librte_vdpa_mlx5.so'
OURS = '0000:e1:00.3'
BOTH = ['bdf=' + harness.BDF, 'bdf=' + OURS]
# What pre-created queues need to be modified instead of made anew.
MODIFY = ('vnet_modify_ext', 'virtio_net_q_addr_modify', 'virtio_q_index_modify')

# What the driver is known to leak.
#
# Each SET_FEATURES with VHOST_F_LOG_ALL registers the log anew: mlx5_vdpa_dirty_bitmap_set(), in
# mlx5_vdpa_lm.c, has mlx5_os_wrapped_mkey_create() write priv->lm_mr, over what it held. A device
# that is closed destroys the last alone. So a migration that is called off and tried again leaks a
# memory region (a key, and the log's pages pinned) and the indirect key over it, and with them the
# protection domain, which can't go as long as they are there.
LEAKS_OF_A_LOG = {'mkey': 2, 'pd': 1}


def setUpModule():
    """The driver comes with the distribution's DPDK: where it is not, there is nothing to skip."""
    libdir = subprocess.run(['pkg-config', '--variable=libdir', 'libdpdk'], check=True,
                            capture_output=True, text=True).stdout.strip()
    if not list(pathlib.Path(libdir).glob('dpdk/pmds-*/%s*' % LIBRARY)):
        raise AssertionError("%s, NVIDIA's vDPA driver, is not in %s/dpdk/pmds-*: it comes with the "
                             "distribution's package libdpdk-dev" % (LIBRARY, libdir))


def peer(bdf=harness.BDF, **devargs):
    """The -a option that has the driver probe a device."""
    return ['-a', '%s,class=vdpa%s' % (bdf, ''.join(',%s=%s' % item for item in devargs.items()))]


def eal(*options, **kwargs):
    """EAL options of programs that look for PCI functions."""
    return [option for option in harness.eal(*options, **kwargs) if option != '--no-pci']


# The driver's configuration threads forget a task that they are handed while they are about to go
# to sleep, and what enables rings while they finish a stop (doc/guides/peer.rst). On a busy machine
# that happens: a test with such threads may fail twice.
ATTEMPTS = 3


class PeerCase(harness.Case):
    def peer_bench(self, name, devargs=None, devices=(), attempts=1, options=(), vdevs=(),
                   timeout=harness.RUN_TIMEOUT, **bench):
        """A benchmark on the driver. Returns its JSON object and the Result."""
        out = self.dir / 'bench.json'
        command = [harness.TEST_VDPA, *eal(*options), *peer(**(devargs or {})), *vdevs, '--',
                   '--bench', name, '--json', out]
        for key, value in bench.items():
            command += ['--' + key.replace('_', '-'), str(value)]
        for attempt in range(attempts):
            result = self.run_emu(command, devices, timeout=timeout)
            data = harness.json.loads(out.read_text())
            out.unlink()
            if not data['failed'] or attempt == attempts - 1:
                break
            print('once more, after: %s' % data['failed'], file=sys.stderr)
        self.assert_status(result, 0)
        return data, result

    def assert_clean(self, result, faults=True, leaks=None):
        """Nothing is left, and of what the kernel had to take from the driver when it closed the
        device, nothing but what it is known to leak (LEAKS); a later one may leak less."""
        super().assert_clean(result, faults)
        for kind, count in result.report['reclaimed']['by_type'].items():
            self.assertLessEqual(count, (leaks or {}).get(kind, 0), '%s\n%s' % (kind, result))

    def assert_packets(self, data):
        """Every packet arrived as it was sent, but for those that a stop caught."""
        for key in ('corrupt', 'lost', 'duplicated'):
            self.assertEqual(data['packets'][key], 0, data)
        self.assertGreater(data['packets']['received'], 0, data)

    def reset(self, devargs=None, iterations=10, queues=2, mem='64M', **kwargs):
        if (devargs or {}).get('max_conf_threads'):
            kwargs = {'gap': 100, 'attempts': ATTEMPTS, **kwargs}
        data, result = self.peer_bench('reset', devargs, iterations=iterations, queues=queues,
                                       mem=mem, **kwargs)
        self.assertIsNone(data['failed'], data)
        self.assertEqual(data['iterations'], iterations)
        self.assert_packets(data)
        self.assertGreater(data['commands']['close'], 0, data)
        self.assertGreater(data['commands']['conf'], 0, data)
        self.assert_clean(result)
        return data, result


class Resets(PeerCase):
    def test_default(self):
        data, _ = self.reset(queues=4, mem='1G', iterations=20)
        self.assertEqual(data['pinned_bytes'], 0, 'a plain reset keeps its registrations')

    def test_tuned(self):
        """Queues that are there before the guest is: configuring changes them, one command each."""
        default, _ = self.reset(queues=4)
        tuned, _ = self.reset({'queues': 4, 'queue_size': 256, 'max_conf_threads': 8}, queues=4,
                              mem='1G', iterations=20)
        self.assertLess(tuned['commands']['conf'], default['commands']['conf'])

    def test_queue_pairs(self):
        for pairs in (1, 2, 8):
            with self.subTest(pairs=pairs):
                self.reset(queues=pairs)

    def test_event_modes(self):
        for mode in range(3):
            for delay in (0, 50):
                with self.subTest(event_mode=mode, event_us=delay):
                    self.reset({'event_mode': mode, 'event_us': delay}, iterations=5)

    def test_queues_made_before(self):
        """And on firmware on which such queues can't be changed."""
        for caps in ('', 'caps=' + ':'.join('-' + name for name in MODIFY)):
            with self.subTest(device=caps):
                self.reset({'queues': 2, 'queue_size': 256}, devices=[caps] if caps else [],
                           iterations=5)

    def test_queues_made_before_do_not_fit(self):
        """More pairs than were made, fewer, and rings of another size."""
        for pairs, size in ((2, 128), (1, 256), (4, 256)):
            with self.subTest(queues=pairs, queue_size=size):
                self.reset({'queues': pairs, 'queue_size': size}, iterations=5)

    def test_old_firmware(self):
        self.reset(devices=['caps=-freeze_to_rdy_supported:-desc_group_mkey_supported'])

    def test_cx7(self):
        self.reset(devices=['model=cx7'], iterations=3)
        self.reset({'queues': 2, 'queue_size': 256}, devices=['model=cx7'], iterations=3)

    def test_keys_with_entries_of_their_own_size(self):
        """Regions whose sizes have little in common: KLM instead of KLM with fixed buffer size."""
        self.reset(regions=3, mem='66M', iterations=5)

    def test_remap(self):
        data, result = self.peer_bench('remap', iterations=6, queues=2, mem='64M')
        self.assertIsNone(data['failed'], data)
        self.assert_packets(data)
        self.assert_clean(result)


class Limits(PeerCase):
    """What the driver itself can't do, as of DPDK 22.11 to 25.11: it does not come back, and that is
    said. One that can is as welcome."""

    def try_bench(self, name, *flags, iterations=2):
        out = self.dir / 'bench.json'
        command = [harness.TEST_VDPA, *eal(), *peer(), '--', '--bench', name, '--json', out, *flags,
                   '--mem', '64M', '--iterations', iterations]
        result = self.run_emu(command)
        data = harness.json.loads(out.read_text())
        self.assert_status(result, 1 if data['failed'] else 0)
        if data['failed']:
            self.assertRegex(data['failed'], 'no traffic')
        for key in ('lost', 'duplicated'):
            self.assertEqual(data['packets'][key], 0, data)
        self.assert_clean(result, faults=False)
        return data

    def test_packed_rings(self):
        """mlx5_vdpa_virtq_sub_objs_prepare() gives the card the addresses of split rings alone."""
        self.try_bench('reset', '--packed')

    def test_other_memory(self):
        """mlx5_vdpa_mem_cmp() takes memory for the same that has its guest addresses and sizes."""
        self.try_bench('replace')

    def test_memory_is_added(self):
        """mlx5_vdpa_virtqs_release() forgets which rings are enabled."""
        data = self.try_bench('hotplug', iterations=1)
        self.assertEqual(data['iterations'], 1)
        self.assertGreaterEqual(data['pinned_bytes_add'], 72 << 20)

    def test_connections(self):
        """A connection that comes back, and new guests: each time all memory is registered."""
        for name in ('reconnect', 'start'):
            data = self.try_bench(name, '--queues', '2')
            self.assertIsNone(data['failed'])
            self.assertGreaterEqual(data['pinned_bytes'], 64 << 20)


class Frontend(vhost_user.Frontend):
    """One that starts without logging, on a device that offers it."""

    def _get_features(self):
        super()._get_features()
        self.features &= ~vhost_user.F_LOG_ALL


class Daemon(harness.Daemon):
    def __init__(self, case, devargs=None, devices=(), vdevs=(), **kwargs):
        super().__init__(case, devices, [*peer(**(devargs or {})), *vdevs],
                         eal_args=eal(cores='0', memory=128), **kwargs)


class Guests(PeerCase):
    """dpdk-vdpa with the driver, and a front-end of ours."""

    def serve(self, devargs=None, pairs=2, daemon_options=(), **front):
        """A daemon, and a guest that runs on it."""
        self.daemon = Daemon(self, devargs, options=daemon_options)
        guest = Frontend(self.daemon.socket(), pairs=pairs, **front)
        guest.start()
        guest.fill()
        return guest

    def leave(self, front, faults=True, leaks=None):
        front.close()
        result = self.daemon.stop()
        self.assert_clean(result, faults, leaks)
        return result

    def assert_flows(self, front, count=40, first=0):
        for pair in range(front.pairs):
            self.assertEqual(vhost_user.ping_pong(front, count, pair, first), (0, 0), pair)


class Soak(PeerCase):
    RESETS = 1000

    def test_thousand_resets(self):
        data, result = self.reset(queues=2, iterations=self.RESETS, pps=20000, timeout=800)
        self.assertGreater(data['packets']['received'], self.RESETS)
        # Nothing that is made anew with each reset adds up.
        self.assertLess(result.report['pins']['bytes_peak'], 2 * data['mem_bytes'])


if __name__ == '__main__':
    harness.main()
