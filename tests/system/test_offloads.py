# SPDX-License-Identifier: BSD-3-Clause
"""Checksums and segmentation from a guest's header, through the driver, to the device and back."""
import ipaddress
import struct

import harness
import test_peer
import vhost_user

NEEDS_CSUM, DATA_VALID = 1, 2
GSO_TCPV4, GSO_TCPV6 = 1, 4
TCP = 6
ETHER = bytes.fromhex('020000000001020000000002')
FEATURES = (vhost_user.F_CSUM | vhost_user.F_GUEST_CSUM |
            vhost_user.F_HOST_TSO4 | vhost_user.F_HOST_TSO6)


def add(data, acc=0):
    """RFC 1071's sum of big-endian words."""
    data += b'\0' * (len(data) % 2)
    acc += sum(struct.unpack('>%dH' % (len(data) // 2), data))
    while acc >> 16:
        acc = (acc & 0xffff) + (acc >> 16)
    return acc


class Flow:
    """A TCP connection over IPv4 or IPv6."""

    def __init__(self, version):
        self.version = version
        if version == 4:
            self.src, self.dst = (ipaddress.ip_address(a).packed for a in ('10.0.0.1', '10.0.0.2'))
            self.l4 = 14 + 20
        else:
            self.src, self.dst = (ipaddress.ip_address(a).packed for a in ('fd00::1', 'fd00::2'))
            self.l4 = 14 + 40

    def pseudo(self, length):
        return add(self.src + self.dst + struct.pack('>IHH', length, 0, TCP))

    def frame(self, payload, seq=1):
        """As the guest's stack leaves it to the device: without a TCP checksum."""
        tcp = struct.pack('>HHIIBBHHH', 4660, 80, seq, 1, 5 << 4, 0x18, 8192,
                          self.pseudo(20 + len(payload)), 0) + payload
        if self.version == 4:
            ip = struct.pack('>BBHHHBBH', 0x45, 0, 20 + len(tcp), 7, 0x4000, 64, TCP, 0)
            ip += self.src + self.dst
            ip = ip[:10] + struct.pack('>H', 0xffff - add(ip)) + ip[12:]
            return ETHER + b'\x08\x00' + ip + tcp
        return (ETHER + b'\x86\xdd' + struct.pack('>IHBB', 6 << 28, len(tcp), TCP, 64) +
                self.src + self.dst + tcp)

    def packet(self, payload, mss=0):
        gso = 0 if mss == 0 else GSO_TCPV4 if self.version == 4 else GSO_TCPV6
        header = struct.pack('<BBHHHHH', NEEDS_CSUM, gso, self.l4 + 20, mss, self.l4, 16, 0)
        return header + self.frame(payload)

    def checksum_good(self, frame):
        """Of the IP header, if it has one, and of TCP."""
        ip = self.version == 6 or add(frame[14:34]) == 0xffff
        return ip and add(frame[self.l4:], self.pseudo(len(frame) - self.l4)) == 0xffff

    def seq(self, frame):
        return struct.unpack_from('>I', frame, self.l4 + 4)[0]

    def payload(self, frame):
        return frame[self.l4 + 20:]


class Offloads(harness.Case):
    def serve(self):
        return harness.Daemon(self)

    def setUp(self):
        super().setUp()
        self.daemon = self.serve()
        self.flows = Flow(4), Flow(6)

    def start(self, features):
        front = vhost_user.Frontend(self.daemon.socket(), features=features)
        front.start()
        front.fill()
        return front

    def exchange(self, front, flags):
        """A packet of its own and one in segments, of each flow."""
        payload, mss = bytes(range(256)) * 7, 300
        for flow in self.flows:
            front.send_packets([flow.packet(payload[:333])])
            got = front.receive_packets(1)
            self.assertEqual(len(got), 1)
            self.assertEqual(got[0][0], flags)
            self.assertTrue(flow.checksum_good(got[0][12:]))
            self.assertEqual(flow.payload(got[0][12:]), payload[:333])

            front.send_packets([flow.packet(payload, mss)])
            count = -(-len(payload) // mss)
            got = front.receive_packets(count)
            self.assertEqual([packet[0] for packet in got], [flags] * count)
            frames = [packet[12:] for packet in got]
            self.assertTrue(all(flow.checksum_good(frame) for frame in frames))
            self.assertEqual([flow.seq(frame) for frame in frames],
                             [1 + i * mss for i in range(count)])
            self.assertEqual(b''.join(flow.payload(frame) for frame in frames), payload)

    def refuse(self, front):
        """Nothing of that was negotiated, and all else goes on."""
        for flow in self.flows:
            front.send_packets([flow.packet(b'x' * 100), flow.packet(b'x' * 600, 300)])
        self.assertEqual(vhost_user.ping_pong(front, 40), (0, 0))

    def finish(self, front, tx_drops):
        front.close()
        result = self.daemon.stop()
        self.assert_clean(result)
        self.assertEqual(result.report['devices'][0]['tx_drops'], tx_drops)
        self.assertEqual(result.report['devices'][0]['rx_drops'], 0)

    def test_negotiated(self):
        front = self.start(FEATURES)
        for _ in range(3):
            self.exchange(front, DATA_VALID)
            self.assertEqual(vhost_user.ping_pong(front, 40), (0, 0))
            front.stop()
            front.restart()
            front.fill()
        self.finish(front, 0)

    def test_not_negotiated(self):
        front = self.start(0)
        self.refuse(front)
        self.finish(front, 4)

    def test_segments_without_checksums_negotiated(self):
        """A guest that negotiates segmentation alone breaks the rules, and gets good frames."""
        front = self.start(vhost_user.F_HOST_TSO4 | vhost_user.F_HOST_TSO6)
        self.exchange(front, 0)
        self.finish(front, 0)

    def test_changes_with_the_driver(self):
        """A guest's next driver may want other things: queues that are reused follow."""
        front = self.start(FEATURES)
        self.exchange(front, DATA_VALID)
        front.stop()
        front.features &= ~FEATURES
        front.restart()
        front.fill()
        self.refuse(front)
        front.stop()
        front.features |= FEATURES & ~vhost_user.F_GUEST_CSUM
        front.restart()
        front.fill()
        self.exchange(front, 0)
        self.finish(front, 4)


class Peer(Offloads):
    """NVIDIA's driver, which makes each queue anew."""
    devargs = {}

    def serve(self):
        return harness.Daemon(self, vdevs=test_peer.peer(**self.devargs),
                              eal_args=test_peer.eal(cores='0'))


class PeerInAdvance(Peer):
    """It makes queues in advance, with all four offloads, and takes away what was not negotiated; or
    makes them anew, when that can't be modified."""
    devargs = {'queues': 1, 'queue_size': 256}


if __name__ == '__main__':
    harness.main()
