# SPDX-License-Identifier: BSD-3-Clause
"""Guests on NVIDIA's own vDPA driver: doorbells, migration, errors, rings that come and go, and our
driver beside it. What the driver itself can't do is told in test_peer.py."""
import re

import harness
import test_frontend
import test_peer
import test_testpmd
import vhost_user

setUpModule = test_peer.setUpModule


class Notifiers(test_peer.Guests):
    def offered(self, front, count):
        self.wait_for(lambda: len(front.notifiers.offers) >= count, 'doorbells')
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


class Migration(test_peer.Guests):
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
        self.leave(front, leaks=test_peer.LEAKS_OF_A_LOG)


class Errors(test_peer.Guests):
    def break_ring(self, front, pair):
        """A descriptor that no device can use."""
        ring = front.rings[2 * pair + 1]
        ring.buffers += 1 << 40
        ring.push(ring.free[0], 64, 0)
        ring.buffers -= 1 << 40
        ring.ring_doorbell()

    def test_recovery(self):
        """The driver notices and tries again; the other rings go on, and a reset heals the one."""
        front = self.serve()
        self.assert_flows(front)
        self.break_ring(front, 1)
        self.assertEqual(vhost_user.ping_pong(front, 100, 0, 1000), (0, 0))
        # Whether it notices that the queue fails again is its own race (doc/guides/peer.rst).
        self.daemon.wait_errors('hw error')
        self.daemon.wait_errors('Recover virtq 3: 1')
        self.assertEqual(vhost_user.ping_pong(front, 100, 0, 2000), (0, 0))
        front.stop()
        front.restart()
        front.fill()
        self.assert_flows(front, first=3000)
        result = self.leave(front, faults=False)
        # The queue was made anew, and failed again.
        self.assertGreater(result.report['dma']['faults'], 1)


class Rings(test_peer.Guests):
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


class Shell(test_peer.Guests):
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


class Neighbours(test_peer.Guests):
    """Both drivers in one process, each on its device, a cable between them."""

    DEVICES = ['name=theirs,bdf=%s,wire=pair:ours' % harness.BDF,
               'name=ours,bdf=%s' % test_peer.OURS]

    def fronts(self):
        """Front-ends of their device and of ours, by the daemon's own word on which is which."""
        paths = [self.daemon.socket(number) for number in range(2)]
        pattern = r'^(\S+): device (\S+)$'
        served = {device: path for path, device in
                  re.findall(pattern, (self.dir / 'daemon.out').read_text(), re.M)}
        self.assertEqual(sorted(served.values()), sorted(paths))
        return [test_peer.Frontend(served[device], pairs=2)
                for device in (harness.BDF, 'vdpa_mlx5_persist0')]

    def assert_exchange(self, a, b, first=0):
        for sender, receiver in ((a, b), (b, a)):
            for pair in range(2):
                frames = [vhost_user.frame(first + i) for i in range(40)]
                sender.send(frames, pair)
                self.assertEqual(sorted(receiver.receive(len(frames))), sorted(frames))

    def test_packets_both_ways(self):
        """Each restarts while the other runs, and neither disturbs the other."""
        self.daemon = test_peer.Daemon(self, devices=self.DEVICES,
                                       vdevs=[harness.vdev(dev=test_peer.OURS)])
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
        vdev = harness.vdev(dev=test_peer.OURS)
        for device in (harness.BDF, 'vdpa_mlx5_persist0'):
            with self.subTest(device=device):
                data, _ = self.reset(devices=test_peer.BOTH, vdevs=[vdev], device=device)
                self.assertEqual(data['device'], device)


class Testpmd(test_testpmd.Guest):
    """The distribution's guest, driver and DPDK on our device."""

    RULES = 7                      # of steering

    def serve(self):
        return test_peer.Daemon(self, trace=True)

    def until_it_receives(self, daemon):
        """Queues that send are ready before frames are steered to those that receive."""
        trace = self.dir / 'trace.txt'
        self.wait_for(lambda: trace.read_text().count(' SET_FLOW_TABLE_ENTRY uid') >= self.RULES,
                      'steering')


class Killed(test_peer.PeerCase, test_frontend.Killed):
    """Front-ends that die at any message."""

    def setUp(self):
        harness.Case.setUp(self)
        self.daemon = test_peer.Daemon(self)
        self.path = self.daemon.socket()


class Restarts(test_peer.Guests):
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
        self.daemon = test_peer.Daemon(self)
        for pairs in (1, 4, 2):
            front = test_peer.Frontend(self.daemon.socket(), pairs=pairs)
            front.start()
            front.fill()
            self.assert_flows(front)
            front.close()
        self.assert_clean(self.daemon.stop())


if __name__ == '__main__':
    harness.main()
