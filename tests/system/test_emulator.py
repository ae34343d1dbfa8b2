# SPDX-License-Identifier: BSD-3-Clause
"""What mlx5-emu-run's own options do to whole programs: models of cards, checking modes; and which
frames a guest gets through either driver."""
import harness
import test_peer
import vhost_user


class Models(harness.Case):
    """Every other test runs on the default one, cx6dx."""

    def test_our_driver_on_a_cx7(self):
        for flags in ({}, {'packed': True}):
            with self.subTest(**flags):
                data, result = self.bench('reset', devices=['model=cx7'], iterations=3, queues=2,
                                          mem='64M', **flags)
                self.assertIsNone(data['failed'], data)
                self.assertGreater(data['packets']['received'], 0, data)
                for key in ('corrupt', 'lost', 'duplicated'):
                    self.assertEqual(data['packets'][key], 0, data)
                self.assert_clean(result)

    def test_capabilities_of_a_model_can_be_taken_away(self):
        """Without freeze_to_rdy queues are made anew at each reset; that is seen, not an error."""
        data, result = self.bench('reset', devices=['model=cx7,caps=-freeze_to_rdy_supported'],
                                  iterations=3, queues=1, mem='64M')
        self.assertIsNone(data['failed'], data)
        self.assertGreater(result.count('CREATE_VIRTIO_NET_Q', 'CREATE_GENERAL_OBJECT'), 4, result)
        self.assert_clean(result)


class Addresses(harness.Case):
    """Neither driver's rules look at addresses: the guest gets every frame of the wire."""
    KINDS = ('020000000001', '02000000cafe', 'ffffffffffff', '01005e0000fb', '333300000001')

    def exchange(self, **daemon):
        daemon = harness.Daemon(self, **daemon)
        front = vhost_user.Frontend(daemon.socket())
        front.start()
        front.fill()
        frames = [bytes.fromhex(dmac + '020000000002' + '88b5') + bytes([n]) * 50
                  for n, dmac in enumerate(self.KINDS)]
        front.send_packets([bytes(12) + frame for frame in frames])
        got = [packet[12:] for packet in front.receive_packets(len(frames))]
        self.assertEqual(got, frames)
        front.close()
        result = daemon.stop()
        self.assert_clean(result)
        self.assertEqual(result.report['devices'][0]['rx_drops'], 0)

    def test_ours(self):
        self.exchange()

    def test_nvidias(self):
        self.exchange(vdevs=test_peer.peer(), eal_args=test_peer.eal(cores='0'))


class Check(harness.Case):
    def test_orphans(self):
        """Nothing leaves its file under our driver, whatever the memory is made of."""
        for backing in ('memfd', 'hugetlbfs'):
            with self.subTest(backing=backing):
                out = self.dir / 'bench.json'
                command = [harness.TEST_VDPA, *harness.eal(), harness.vdev(), '--', '--bench',
                           'replace', '--iterations', '2', '--mem', '64M', '--pps', '2000',
                           '--backing', backing, '--json', out]
                line = self.emu(command)
                line[1:1] = ['--check', 'orphans']
                result = self.collect(self.run_program(line))
                self.assert_status(result, 0)
                data = harness.json.loads(out.read_text())
                self.assertIsNone(data['failed'], data)
                self.assertNotIn('left its file', result.stderr)
                self.assert_clean(result)


if __name__ == '__main__':
    harness.main()
