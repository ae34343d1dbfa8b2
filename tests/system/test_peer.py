# SPDX-License-Identifier: BSD-3-Clause
"""NVIDIA's own vDPA driver, the distribution's and unmodified, as the device's client.

What it asks of the emulated card and is not answered as a card would is the emulator's defect. The
tests hold for every DPDK that the distribution may bring; none names a version. Where the driver
itself can't, a test says so and accepts that a later one can.
"""
import os
import pathlib
import re
import subprocess
import sys
import time

import harness
import test_frontend
import test_testpmd
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

    def try_bench(self, name, *flags):
        out = self.dir / 'bench.json'
        command = [harness.TEST_VDPA, *eal(), *peer(), '--', '--bench', name, '--json', out, *flags,
                   '--mem', '64M', '--iterations', '2']
        result = self.run_emu(command)
        data = harness.json.loads(out.read_text())
        self.assert_status(result, 1 if data['failed'] else 0)
        if data['failed']:
            self.assertRegex(data['failed'], 'no traffic')
        for key in ('lost', 'duplicated'):
            self.assertEqual(data['packets'][key], 0, data)
        self.assert_clean(result, faults=False)

    def test_packed_rings(self):
        """mlx5_vdpa_virtq_sub_objs_prepare() gives the card the addresses of split rings alone."""
        self.try_bench('reset', '--packed')

    def test_other_memory(self):
        """mlx5_vdpa_mem_cmp() takes memory for the same that has its guest addresses and sizes."""
        self.try_bench('replace')


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

    def wait(self, what, seconds=10):
        deadline = time.monotonic() + seconds
        while not what():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)


class Notifiers(Guests):
    def offered(self, front, count):
        self.wait(lambda: len(front.notifiers.offers) >= count)
        self.assertEqual(len(front.notifiers.offers), count)

    @staticmethod
    def kicks(front):
        """What is written to the kick files and not read: it grows where nobody reads."""
        total = 0
        for ring in front.rings:
            assert ring.doorbell is not None
            with open('/proc/self/fdinfo/%d' % ring.kick, encoding='ascii') as info:
                total += int(re.search(r'eventfd-count:\s*([0-9a-f]+)', info.read())[1], 16)
        return total

    def test_guest_rings_the_card(self):
        """The guest's doorbell is the card's: no kick goes through the daemon."""
        front = self.serve(notifiers=vhost_user.Notifiers())
        self.assert_flows(front)
        self.offered(front, len(front.rings))
        before = self.kicks(front)
        self.assert_flows(front, first=1000)
        self.assertEqual(self.kicks(front), before)
        self.leave(front)

    def test_after_resets(self):
        front = self.serve(notifiers=vhost_user.Notifiers())
        for number in range(5):
            self.assert_flows(front, first=100 * number)
            self.offered(front, len(front.rings) * (number + 1))
            front.stop()
            for ring in front.rings:
                ring.doorbell = None
            front.restart()
            front.fill()
        self.leave(front)


class Migration(Guests):
    MEM = 16 << 20

    def serve_logged(self, devargs=None):
        self.log = vhost_user.DirtyLog(self.MEM)
        self.addCleanup(self.log.close)
        return self.serve(devargs, mem_bytes=self.MEM, features=vhost_user.F_LOG_ALL)

    def start_log(self, front):
        front.set_log(self.log)
        front.logging(True)
        self.before = bytes(front.mem)

    def assert_logged(self, front):
        """Stop: each page that the device wrote is in the log."""
        front.stop()
        marked = self.log.take()
        now = bytes(front.mem)
        for ring in front.rings:
            if ring.next_used > 0:
                self.assertIn(ring.used // vhost_user.PAGE * vhost_user.PAGE, marked)
        for ring in front.rings[0::2]:
            for at in range(ring.buffers, ring.end, vhost_user.PAGE):
                if now[at:at + vhost_user.PAGE] != self.before[at:at + vhost_user.PAGE]:
                    self.assertIn(at, marked, 'ring %d' % ring.index)

    def migrate(self, devargs=None):
        front = self.serve_logged(devargs)
        self.assert_flows(front)
        self.assertEqual(self.log.take(), set(), 'nobody asked for a log')
        self.start_log(front)
        self.assert_flows(front, 60, first=1000)
        self.assert_logged(front)
        self.leave(front)

    def test_log(self):
        """What the device writes is logged, from the request on until the last ring stands."""
        self.migrate()

    def test_called_off(self):
        """A migration that fails, another, and a reset."""
        front = self.serve_logged()
        self.start_log(front)
        self.assert_flows(front, 20)
        front.logging(False)
        self.assert_flows(front, first=1000)
        self.start_log(front)
        self.assert_flows(front, 20, first=2000)
        self.assert_logged(front)
        self.leave(front, leaks=LEAKS_OF_A_LOG)


class Errors(Guests):
    def break_ring(self, front, pair):
        """A descriptor that no device can use."""
        ring = front.rings[2 * pair + 1]
        ring.buffers += 1 << 40
        ring.push(ring.free[0], 64, 0)
        ring.buffers -= 1 << 40
        ring.ring_doorbell()

    def test_recovery(self):
        """The driver notices, tries, gives up; the other rings go on, and a reset heals the one."""
        front = self.serve()
        self.assert_flows(front)
        self.break_ring(front, 1)
        self.assertEqual(vhost_user.ping_pong(front, 100, 0, 1000), (0, 0))
        self.wait(lambda: 'hw error' in (self.dir / 'daemon.err').read_text())
        self.assertEqual(vhost_user.ping_pong(front, 100, 0, 2000), (0, 0))
        front.stop()
        front.restart()
        front.fill()
        self.assert_flows(front, first=3000)
        result = self.leave(front, faults=False)
        # The queue was made anew and failed again before it was given up.
        self.assertGreater(result.report['dma']['faults'], 1)


class Rings(Guests):
    """Rings that are disabled and enabled (ethtool -L in the guest), and those that start later."""

    def enable_pair(self, front, pair, on):
        for index in (2 * pair, 2 * pair + 1):
            front.enable(index, on)

    def come_and_go(self, devargs=None):
        """The second pair comes and goes; indices survive, and the first one goes on."""
        front = self.serve(devargs)
        for number in range(5):
            self.assert_flows(front, first=1000 * number)
            self.enable_pair(front, 1, False)
            self.assertEqual(vhost_user.ping_pong(front, 40, 0, 1 << 20), (0, 0))
            self.enable_pair(front, 1, True)
        self.assert_flows(front, first=1 << 30)
        bases = front.stop()
        self.assertEqual(bases[1::2], [5 * 80 + 40, 5 * 40 + 40])
        self.leave(front)

    def test_come_and_go(self):
        self.come_and_go()

    def test_queues_made_before_come_and_go(self):
        self.come_and_go({'queues': 2, 'queue_size': 256})

    def test_frames_wait(self):
        """What is made available on a disabled ring is sent when it is enabled, not before."""
        front = self.serve()
        self.assert_flows(front)
        self.enable_pair(front, 1, False)
        waiting = [vhost_user.frame(1000 + i) for i in range(20)]
        front.send(waiting, 1)
        self.assertEqual(front.receive(1, timeout=0.5), [])
        self.enable_pair(front, 1, True)
        self.assertEqual(sorted(front.receive(len(waiting))), waiting)
        self.leave(front)


class Shell(Guests):
    def test_statistics(self):
        """Counters of a queue, as the card's object has them, through the daemon's command."""
        front = self.serve(daemon_options=['--interactive'])
        self.assert_flows(front, 100)
        self.daemon.process.stdin.write('list\nstats %s 1\nstats %s 0xffff\nquit\n' %
                                        (harness.BDF, harness.BDF))
        self.daemon.process.stdin.flush()
        self.daemon.process.wait(harness.EXIT_TIMEOUT)
        front.close()
        result = self.daemon.result()
        self.assert_status(result, 0)
        self.assert_clean(result)
        self.assertRegex(result.stdout, r'%s\s+\d+\s+0x[0-9a-f]+' % harness.BDF)
        for index in range(4):
            self.assertIn('Virtq %d:' % index, result.stdout)
        for name in ('received_descriptors', 'completed_descriptors'):
            self.assertEqual(len(re.findall(r'%s\s+100\b' % name, result.stdout)), 3, result)


class Neighbours(Guests):
    """Both drivers in one process, each on its device, a cable between them."""

    DEVICES = ['name=theirs,bdf=%s,wire=pair:ours' % harness.BDF, 'name=ours,bdf=%s' % OURS]

    def fronts(self):
        """Front-ends of their device and of ours, by the daemon's own word on which is which."""
        paths = [self.daemon.socket(number) for number in range(2)]
        pattern = r'^(\S+): device (\S+)$'
        served = {device: path for path, device in
                  re.findall(pattern, (self.dir / 'daemon.out').read_text(), re.M)}
        self.assertEqual(sorted(served.values()), sorted(paths))
        return [Frontend(served[device], pairs=2) for device in (harness.BDF, 'vdpa_mlx5_persist0')]

    def assert_exchange(self, a, b, first=0):
        for sender, receiver in ((a, b), (b, a)):
            for pair in range(2):
                frames = [vhost_user.frame(first + i) for i in range(40)]
                sender.send(frames, pair)
                self.assertEqual(sorted(receiver.receive(len(frames))), sorted(frames))

    def test_packets_both_ways(self):
        """Each restarts while the other runs, and neither disturbs the other."""
        self.daemon = Daemon(self, devices=self.DEVICES, vdevs=[harness.vdev(dev=OURS)])
        fronts = self.fronts()
        for front in fronts:
            front.start()
            front.fill()
        self.assert_exchange(*fronts)
        for number in range(6):
            front = fronts[number % 2]
            front.stop()
            front.restart()
            front.fill()
            self.assert_exchange(*fronts, first=1000 * number)
        for front in fronts:
            front.close()
        result = self.daemon.stop()
        self.assert_clean(result)
        self.assertEqual([device['rx_drops'] for device in result.report['devices']], [0, 0])

    def test_benchmark_of_either(self):
        vdev = harness.vdev(dev=OURS)
        for device in (harness.BDF, 'vdpa_mlx5_persist0'):
            with self.subTest(device=device):
                data, _ = self.reset(devices=BOTH, vdevs=[vdev], device=device)
                self.assertEqual(data['device'], device)


class Testpmd(test_testpmd.Guest):
    """The distribution's guest, driver and DPDK on our device."""

    def serve(self):
        return Daemon(self)


class Killed(PeerCase, test_frontend.Killed):
    """Front-ends that die at any message."""

    def setUp(self):
        harness.Case.setUp(self)
        self.daemon = Daemon(self)
        self.path = self.daemon.socket()


class Soak(PeerCase):
    RESETS = 1000

    def test_thousand_resets(self):
        data, result = self.reset(queues=2, iterations=self.RESETS, timeout=500)
        self.assertGreater(data['packets']['received'], self.RESETS)
        # Nothing that is made anew with each reset adds up.
        self.assertLess(result.report['pins']['bytes_peak'], 2 * data['mem_bytes'])


class Restarts(Guests):
    def test_indices(self):
        """A stop says how far the device came."""
        front = self.serve()
        for _ in range(5):
            self.assert_flows(front, 64)
            bases = front.stop()
            self.assertEqual(bases[1::2], [64, 64])
            self.assertEqual(sum(bases[0::2]), 128)
            front.restart()
            front.fill()
        self.leave(front)

    def test_front_ends_come_and_go(self):
        self.daemon = Daemon(self)
        for pairs in (1, 4, 2):
            front = Frontend(self.daemon.socket(), pairs=pairs)
            front.start()
            front.fill()
            self.assert_flows(front)
            front.close()
        self.assert_clean(self.daemon.stop())


if __name__ == '__main__':
    harness.main()
