# SPDX-License-Identifier: BSD-3-Clause
"""Every firmware command of a device's life fails once: the program survives, says so, and leaves
nothing behind."""
import harness
import vhost_user


class Injection(harness.Case):
    def life(self, fail=()):
        """Probe, two connections with a reset each, remove. Returns the Result, and whether the
        device could be served and each of the connections carried packets."""
        daemon = harness.Daemon(self, fail=fail)
        served = daemon.wait_socket()
        worked = []
        if served:
            worked = [self.connection(daemon) for _ in range(2)]
            result = daemon.stop()
        else:
            daemon.process.wait(harness.EXIT_TIMEOUT)
            result = daemon.result()
            self.assert_status(result, 1)
        return result, served, worked

    @staticmethod
    def connection(daemon):
        front = vhost_user.Frontend(daemon.socket(), mem_bytes=8 << 20, ring_size=64)
        try:
            front.start()
            front.fill()
            front.send([vhost_user.frame(0)])
            front.receive(1, timeout=0.5)
            front.stop()
            front.restart()
            front.fill()
            front.send([vhost_user.frame(i) for i in range(20)])
            return len(front.receive(20, timeout=0.5)) == 20
        except vhost_user.FrontendError:
            return False
        finally:
            front.close()

    def test_each_command(self):
        clean, served, worked = self.life()
        self.assertTrue(served, clean)
        self.assertEqual(worked, [True, True], clean)
        self.assert_clean(clean)
        total = clean.report['commands']['total']
        self.assertGreater(total, 0)
        for opcode, stats in clean.report['commands']['by_opcode'].items():
            for number in range(1, stats['count'] + 1):
                with self.subTest(fail='%s:%d' % (opcode, number)):
                    self.each(opcode, number)

    def each(self, opcode, number):
        result, _, _ = self.life(['%s:%d' % (opcode, number)])
        self.assertEqual(result.report['commands']['failed'], 1, result)
        self.assert_clean(result, faults=False)
        self.assertIn(opcode.lower(), (result.stdout + result.stderr).lower())


if __name__ == '__main__':
    harness.main()
