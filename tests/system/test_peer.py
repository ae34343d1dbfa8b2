# SPDX-License-Identifier: BSD-3-Clause
"""NVIDIA's own vDPA driver, the distribution's and unmodified, as the device's client.

What it asks of the emulated card and is not answered as a card would is the emulator's defect. The
tests hold for every DPDK that the distribution may bring; none names a version. Where the driver
itself can't, a test says so and accepts that a later one can.
"""
import array
import mmap
import os
import pathlib
import re
import socket
import struct
import subprocess
import threading
import time
import unittest

import harness
import vhost_user

LIBRARY = 'librte_vdpa_mlx5.so'
OURS = '0000:e1:00.3'
BOTH = ['bdf=' + harness.BDF, 'bdf=' + OURS]
# What pre-created queues need to be modified instead of made anew.
MODIFY = ('vnet_modify_ext', 'virtio_net_q_addr_modify', 'virtio_q_index_modify')

DRIVER_LOG = ('--log-level=pmd.vdpa.mlx5:debug', '--log-level=pmd.common.mlx5:debug')


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


class PeerCase(harness.Case):
    def peer_bench(self, name, devargs=None, devices=(), status=0, options=(), vdevs=(),
                   timeout=harness.RUN_TIMEOUT, **bench):
        """A benchmark on the driver. Returns its JSON object and the Result."""
        out = self.dir / 'bench.json'
        command = [harness.TEST_VDPA, *eal(*options), *peer(**(devargs or {})), *vdevs, '--',
                   '--bench', name, '--json', out]
        for key, value in bench.items():
            command += ['--' + key.replace('_', '-'), str(value)]
        result = self.run_emu(command, devices, timeout=timeout)
        self.assert_status(result, status)
        data = harness.json.loads(out.read_text())
        out.unlink()
        return data, result

    def assert_packets(self, data):
        """Every packet arrived as it was sent, but for those that a stop caught."""
        for key in ('corrupt', 'lost', 'duplicated'):
            self.assertEqual(data['packets'][key], 0, data)
        self.assertGreater(data['packets']['received'], 0, data)

    def reset(self, devargs=None, iterations=10, queues=2, mem='64M', **kwargs):
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

    def test_configuration_threads(self):
        for threads in (1, 3, 8):
            with self.subTest(max_conf_threads=threads):
                self.reset({'max_conf_threads': threads}, queues=4, iterations=5)

    def test_queues_made_before(self):
        """With and without threads, and on firmware on which such queues can't be changed."""
        for caps in ('', 'caps=' + ':'.join('-' + name for name in MODIFY)):
            for threads in (0, 4):
                with self.subTest(device=caps, max_conf_threads=threads):
                    devargs = {'queues': 2, 'queue_size': 256, 'max_conf_threads': threads}
                    self.reset(devargs, devices=[caps] if caps else [], iterations=5)

    def test_queues_made_before_do_not_fit(self):
        """More pairs than were made, fewer, and rings of another size."""
        for pairs, size in ((2, 128), (1, 256), (4, 256)):
            with self.subTest(queues=pairs, queue_size=size):
                self.reset({'queues': pairs, 'queue_size': size}, iterations=5)

    def test_old_firmware(self):
        self.reset(devices=['caps=-freeze_to_rdy_supported:-desc_group_mkey_supported'])

    def test_keys_with_entries_of_their_own_size(self):
        """Regions whose sizes have little in common: KLM instead of KLM with fixed buffer size."""
        self.reset(regions=3, mem='66M', iterations=5)

    def test_remap(self):
        data, result = self.peer_bench('remap', iterations=6, queues=2, mem='64M')
        self.assertIsNone(data['failed'], data)
        self.assert_packets(data)
        self.assert_clean(result)


if __name__ == '__main__':
    harness.main()
