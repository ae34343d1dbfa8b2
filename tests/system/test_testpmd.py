# SPDX-License-Identifier: BSD-3-Clause
"""Debian's own dpdk-testpmd: as a guest of dpdk-vdpa, and as a host program of our driver."""
import os
import pathlib
import re
import shutil
import stat
import subprocess
import tempfile

import harness


class Guest(harness.Case):
    """net_virtio_user on a socket of dpdk-vdpa; the wire brings every packet back."""

    def serve(self):
        return harness.Daemon(self)

    def guest(self, path, pairs):
        # By lines: else its echo of commands lands in the middle of its output.
        return ['stdbuf', '-oL', 'dpdk-testpmd', '-l', '0,1', '-m', '256', '--no-pci', '--in-memory',
                '--single-file-segments', '--file-prefix', 'guest%d' % os.getpid(),
                '--vdev=net_virtio_user0,path=%s,queues=%d,queue_size=256' % (path, pairs), '--',
                '-i', '--rxq=%d' % pairs, '--txq=%d' % pairs, '--total-num-mbufs=8192',
                '--txonly-multi-flow']

    def ask(self, process, log, command=None):
        """Type a command and wait for the prompt behind it, or for the first prompt. Returns the
        answer."""
        before = 0
        if command is not None:
            before = len(log.read_text())
            process.stdin.write(command + '\n')
            process.stdin.flush()

        def prompt():
            self.assertIsNone(process.poll(), log.read_text())
            return 'testpmd> ' in log.read_text()[before:]
        self.wait_for(prompt, 'testpmd answers to %s' % command)
        return log.read_text()[before:]

    def stats(self, process, log):
        """Packets of the port, by direction."""
        text = self.ask(process, log, 'show port stats 0')
        return {key: int(value) for key, value in re.findall(r'([RT]X-packets):\s*(\d+)', text)}

    def until_it_receives(self, daemon):
        """Nothing to wait for: a device that sends receives."""

    def run_guest(self, pairs):
        daemon = self.serve()
        log = self.dir / 'testpmd.log'
        with open(log, 'w', encoding='utf-8') as output:
            process = self.spawn(self.guest(daemon.socket(), pairs), stdin=subprocess.PIPE,
                                 stdout=output, stderr=subprocess.STDOUT)
        # Packets under way must fit into one receive ring: they may hash to one queue. Receiving
        # alone at the end collects what the wire still carries.
        self.ask(process, log)
        self.until_it_receives(daemon)
        for command in ('set fwd io', 'start tx_first %d' % (4 // pairs)):
            self.ask(process, log, command)
        self.wait_for(lambda: self.stats(process, log)['TX-packets'] > 10000, 'packets')
        for command in ('stop', 'set fwd rxonly', 'start'):
            self.ask(process, log, command)

        def all_here():
            stats = self.stats(process, log)
            return stats if stats['RX-packets'] == stats['TX-packets'] else None
        stats = self.wait_for(all_here, 'all packets come back')
        process.communicate('stop\nquit\n', timeout=harness.EXIT_TIMEOUT)
        out = log.read_text()
        result = daemon.stop()
        self.assertEqual(process.returncode, 0, out)
        self.assert_clean(result)
        device = result.report['devices'][0]
        self.assertEqual(device['tx_packets'], stats['TX-packets'])
        self.assertEqual(device['rx_packets'], stats['RX-packets'])
        self.assertEqual(device['rx_drops'], 0)

    def test_one_pair(self):
        self.run_guest(1)

    def test_four_pairs(self):
        self.run_guest(4)


class Plugin(harness.Case):
    """The driver is a plugin of an unmodified program."""

    def plugin(self):
        """The plugin under a folder that EAL accepts: none of its parents is world-writable."""
        if all(not parent.stat().st_mode & stat.S_IWOTH for parent in harness.PLUGIN.parents):
            return harness.PLUGIN
        folder = pathlib.Path(tempfile.mkdtemp(prefix='mlx5p-', dir='/run'))
        self.addCleanup(shutil.rmtree, folder, True)
        return pathlib.Path(shutil.copy(harness.PLUGIN, folder))

    def host(self, *devices, **emu):
        return self.run_emu(['dpdk-testpmd', *harness.eal('-d', self.plugin(), *devices), '--',
                             '-i', '--total-num-mbufs=2048'],
                            stdin='show device info all\nquit\n', **emu)

    def test_probe(self):
        result = self.host(harness.vdev())
        self.assert_status(result, 0)
        self.assertIn('Infos for device vdpa_mlx5_persist0', result.stdout, result)
        self.assertRegex(result.stdout, r'Driver name:\s*vdpa_mlx5_persist\s')
        self.assertGreater(result.report['commands']['total'], 0)
        self.assert_clean(result)

    def test_bad_argument(self):
        result = self.host(harness.vdev(persist='maybe'))
        self.assertIn('maybe', result.stdout + result.stderr)
        self.assert_clean(result)


if __name__ == '__main__':
    harness.main()
