# SPDX-License-Identifier: BSD-3-Clause
"""The daemon under a VMM that we did not write: a Linux guest in QEMU, as its users have it.

The guest has two NICs, on two devices that are each other's wire. The second is moved to a network
namespace of its own, so that what the guest sends to itself goes out of one device and in by the
other, through two drivers of Linux and their TCP.
"""
import json
import sys

import harness
import qemu

PACKETS = 20
STREAM_BYTES = 512 << 10
SKIP = 77       # what meson takes for a test that could not run


def wired(*names):
    """Devices that are wires of each other, two by two."""
    peers = {name: names[number ^ 1] for number, name in enumerate(names)}
    return ['name=%s,bdf=0000:e1:00.%d,wire=pair:%s' % (name, number, peers[name])
            for number, name in enumerate(names)]


class QemuCase(harness.Case):
    PAIRS = 2

    def daemon(self, *names, **devargs):
        self.names = ['vdpa_mlx5_persist%d' % number for number in range(len(names))]
        self.eal = harness.eal(cores='0')
        daemon = harness.Daemon(
            self, wired(*names), [harness.vdev(number, name, max_conf_threads=2, **devargs)
                                  for number, name in enumerate(names)], eal_args=self.eal)
        self.sockets = [daemon.socket(number) for number in range(len(names))]
        return daemon

    def pinned(self):
        """For each device what it has pinned now, and what it ever did."""
        prefix = self.eal[self.eal.index('--file-prefix') + 1]
        commands = ['/mlx5_persist/pins,' + name for name in self.names]
        result = self.run_program(['dpdk-telemetry.py', '-f', prefix],
                                  ''.join(command + '\n' for command in commands))
        self.assert_status(result, 0)
        answers = [json.loads(line)['/mlx5_persist/pins'] for line in result.stdout.splitlines()]
        self.assertEqual(len(answers), len(commands), result)
        return [(answer['bytes'], answer['bytes_total']) for answer in answers]

    def set_up_network(self, guest):
        """Addresses, and the namespace, which a shell of its own holds."""
        guest.run('unshare -n sleep 100000 >/dev/null & echo $! >/tmp/other')
        guest.run('ip link set lo up')
        self.set_up_near(guest)
        guest.run('while [ $(readlink /proc/$(cat /tmp/other)/ns/net) = '
                  '$(readlink /proc/1/ns/net) ]; do sleep 0.1; done')
        guest.run('ip link set eth1 netns $(cat /tmp/other)')
        self.far(guest, 'ip addr add 10.0.0.2/24 dev eth1 && ip link set eth1 up')

    @staticmethod
    def set_up_near(guest):
        guest.run('ip addr add 10.0.0.1/24 dev eth0 && ip link set eth0 up')

    @staticmethod
    def far(guest, command):
        return guest.run('nsenter -t $(cat /tmp/other) -n ' + 'sh -c "%s"' % command)

    def talk(self, guest):
        """Pings, none of which is lost, and a stream that arrives as it was sent."""
        # The first waits for the other's address.
        guest.run('until ping -c 1 -W 1 10.0.0.2 >/dev/null; do :; done')
        for size in (56, 1400):
            # On a busy machine, ping may have sent one more by the time of the last answer.
            self.assertIn(' %d packets received' % PACKETS,
                          guest.run('ping -q -A -c %d -s %d 10.0.0.2' % (PACKETS, size)))
        self.start_stream(guest, 'dd if=/dev/urandom bs=64k count=%d' % (STREAM_BYTES >> 16))
        self.end_stream(guest)

    def start_stream(self, guest, source):
        """What a command of the guest prints goes out of one NIC and in by the other."""
        # A nc whose input ends tells the other one to leave.
        guest.run('[ -e /tmp/silence ] || mkfifo /tmp/silence; exec 4<>/tmp/silence')
        guest.run('nsenter -t $(cat /tmp/other) -n nc -l -p 5000 <&4 >/tmp/in & receiver=$!')
        guest.run('until nsenter -t $(cat /tmp/other) -n netstat -ltn | grep -q :5000; do '
                  'sleep 0.1; done')
        guest.run('%s 2>/dev/null | tee /tmp/out | nc 10.0.0.2 5000 &' % source)

    @staticmethod
    def end_stream(guest):
        guest.run('wait $receiver')
        guest.run('cmp /tmp/out /tmp/in')
        guest.run('[ -s /tmp/in ]')


class Resets(QemuCase):
    def test_driver_reload_reboot_hotplug(self):
        """A guest's driver leaves and comes back, the machine is reset, memory is added: it goes on
        talking, and nothing is pinned but once. One NIC takes host notifiers, the other refuses."""
        daemon = self.daemon('a', 'b')
        guest = qemu.Guest(self, self.sockets, pairs=self.PAIRS, notifiers=(True, False))
        guest.wait_up()
        self.set_up_network(guest)
        self.talk(guest)
        self.assert_pinned(guest.MEMORY_MB)

        guest.run('echo virtio0 >/sys/bus/virtio/drivers/virtio_net/unbind')
        self.assertNotIn('eth0', guest.run('ip link'))
        guest.run('echo virtio0 >/sys/bus/virtio/drivers/virtio_net/bind')
        self.set_up_near(guest)
        self.talk(guest)
        self.assert_pinned(guest.MEMORY_MB)

        guest.reset()
        self.set_up_network(guest)
        self.talk(guest)
        self.assert_pinned(guest.MEMORY_MB)

        guest.plug()
        self.talk(guest)
        self.assert_pinned(guest.MEMORY_MB + guest.DIMM_MB)

        guest.quit()
        result = daemon.stop()
        self.assert_clean(result)
        self.assert_steady(result)

    def assert_pinned(self, megabytes):
        """That much for each device, and never more."""
        self.assertEqual(self.pinned(), [(megabytes << 20, megabytes << 20)] * len(self.names))


class Migration(QemuCase):
    def test_between_two_machines(self):
        """A stream that is under way when the guest moves to other devices arrives whole."""
        daemon = self.daemon('a', 'b', 'c', 'd')
        guest = qemu.Guest(self, self.sockets[:2], 'source', self.PAIRS)
        guest.wait_up()
        self.set_up_network(guest)
        target = qemu.Guest(self, self.sockets[2:], 'target', self.PAIRS, incoming=True)
        self.start_stream(guest, 'while [ ! -e /tmp/enough ]; do dd if=/dev/urandom bs=64k count=1; '
                          'sleep 0.05; done')
        guest.run('until [ -s /tmp/in ]; do sleep 0.1; done')
        guest.migrate(target)
        target.run('touch /tmp/enough')
        self.end_stream(target)
        self.talk(target)
        guest.quit()
        target.quit()
        result = daemon.stop()
        self.assert_clean(result)
        self.assert_steady(result)
        for device in result.report['devices']:
            self.assertGreater(device['tx_packets'], 0, result)


def main():
    lacks = qemu.missing()
    if lacks:
        print('skipped: %s; "usertools/setup.sh --guest" changes that' % lacks, file=sys.stderr)
        sys.exit(SKIP)
    harness.main()


if __name__ == '__main__':
    main()
