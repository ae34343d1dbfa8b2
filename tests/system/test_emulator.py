# SPDX-License-Identifier: BSD-3-Clause
"""What mlx5-emu-run's own options do to whole programs: models of cards, checking modes; and which
frames a guest gets through either driver."""
import fcntl
import os
import subprocess

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


class Capabilities(harness.Case):
    def test_a_card_of_split_rings_alone(self):
        """As the one whose capabilities are public: packed rings are not offered, split ones work."""
        daemon = harness.Daemon(self, devices=['caps=virtio_queue_type=1'])
        front = vhost_user.Frontend(daemon.socket(), packed=True)
        with self.assertRaises(vhost_user.FrontendError):
            front.start()
        front.close()
        front = vhost_user.Frontend(daemon.socket())
        front.start()
        front.fill()
        self.assertEqual(vhost_user.ping_pong(front, 20), (0, 0))
        front.close()
        self.assert_clean(daemon.stop())


class Check(harness.Case):
    def test_orphans(self):
        """Nothing leaves its file under our driver, whatever the memory is made of."""
        for backing in ('hugetlbfs',):
            with self.subTest(backing=backing):
                out = self.dir / 'bench.json'
                command = [harness.TEST_VDPA, *harness.eal(), harness.vdev(), '--', '--bench',
                           'replace', '--iterations', '1', '--mem', '64M', '--pps', '2000',
                           '--backing', backing, '--json', out]
                line = self.emu(command)
                line[1:1] = ['--check', 'orphans']
                result = self.collect(self.run_program(line))
                self.assert_status(result, 0)
                data = harness.json.loads(out.read_text())
                self.assertIsNone(data['failed'], data)
                self.assertNotIn('left its file', result.stderr)
                self.assert_clean(result)


class Report(harness.Case):
    PROGRAM = ('import ctypes, os; v = ctypes.CDLL(None); n = ctypes.c_int(); '
               'assert v.ibv_get_device_list(ctypes.byref(n)) is not None and n.value == 1; %s')

    def run_and(self, how):
        report = self.dir / 'report.json'
        # Under a sanitizer: what Python leaves behind is not our matter.
        result = self.run_program(self.emu(['env', 'ASAN_OPTIONS=detect_leaks=0', 'python3', '-c',
                                            self.PROGRAM % how]))
        return result.status, report.read_text()

    def test_a_process_that_is_killed_leaves_none(self):
        """An empty file: what it had and did is not known to be nothing."""
        for how in ('os.kill(os.getpid(), 9)', 'os.abort()'):
            status, text = self.run_and(how)
            self.assertLess(status, 0)
            self.assertEqual(text, '')
        status, text = self.run_and('pass')
        self.assertEqual(status, 0)
        self.assertEqual(harness.json.loads(text)['alive']['total'], 0)


    def test_processes_that_end_at_once_write_one_after_the_other(self):
        """Of two reports in one file one is left, and whole. The other process is ours here."""
        report = self.dir / 'report.json'
        process = self.spawn(self.emu(['env', 'ASAN_OPTIONS=detect_leaks=0', 'python3', '-c',
                                       self.PROGRAM % 'print(flush=True); input()']),
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        process.stdout.readline()
        with open(report, 'r+') as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            inode = ':%d ' % os.fstat(other.fileno()).st_ino
            process.stdin.write('\n')
            process.stdin.close()

            def waits():
                with open('/proc/locks') as locks:
                    return any('->' in line and inode in line for line in locks)
            self.wait_for(waits, 'the process has its turn behind us')
            other.write('a longer one ' * 1000)
        self.assertEqual(process.wait(harness.WAIT_TIMEOUT), 0)
        self.assertEqual(harness.json.loads(report.read_text())['alive']['total'], 0)


class Fork(harness.Case):
    """A process that forks, as a daemon or a shell of tests does: each of the two has books, rules
    of failure and devices of its own, and what both do is in the trace."""
    PROGRAM = '''
import ctypes, json, mmap, os
v = ctypes.CDLL(None)
BYTES = 1 << 16
memory = mmap.mmap(-1, BYTES)
address = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(memory)))
v.ibv_reg_mr.restype = ctypes.c_void_p
v.ibv_reg_mr.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
v.mlx5_emu_counters_json.restype = ctypes.c_char_p
for name, args in ('get_device_list', 1), ('open_device', 1), ('alloc_pd', 1):
    getattr(v, 'ibv_' + name).restype = ctypes.c_void_p
    getattr(v, 'ibv_' + name).argtypes = [ctypes.c_void_p]

def books():
    return json.loads(v.mlx5_emu_counters_json())

def start():
    devices = v.ibv_get_device_list(None)
    return v.ibv_open_device(ctypes.cast(devices, ctypes.POINTER(ctypes.c_void_p))[0])

context = start()
domain = v.ibv_alloc_pd(context)
assert domain and v.ibv_reg_mr(domain, address, BYTES, 1)
child = os.fork()
if child == 0:
    empty = books()
    assert empty['commands']['total'] == 0 and empty['devices'] == [], empty
    assert not any(empty['alive']['by_type'].values()), empty
    assert empty['pins']['bytes_now'] == 0, empty
    context = start()
domain = v.ibv_alloc_pd(context)
assert bool(domain) == (child == 0)
now = books()
if child == 0:
    assert v.ibv_reg_mr(domain, address, BYTES, 1)
    assert v.ibv_alloc_pd(context) is None
    now = books()
assert now['commands']['by_opcode']['ALLOC_PD']['count'] == 2, now
assert now['commands']['failed'] == 1 and len(now['devices']) == 1, now
assert now['pins']['bytes_now'] == BYTES and now['alive']['by_type']['mkey'] == 1, now
assert now['alive']['by_type']['pd'] == 1 and now['alive']['by_type']['context'] == 1, now
if child == 0:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
'''

    def test_each_process_has_its_own_books(self):
        result = self.run_emu(['env', 'ASAN_OPTIONS=detect_leaks=0', 'python3', '-c',
                               self.PROGRAM], fail=['ALLOC_PD:2'], trace=True)
        self.assertEqual(result.status, 0, result.stderr)
        self.assertEqual(result.report['commands']['by_opcode']['ALLOC_PD'],
                         dict(result.report['commands']['by_opcode']['ALLOC_PD'],
                              count=2, failed=1))
        trace = (self.dir / 'trace.txt').read_text()
        self.assertEqual(trace.count('mlx5_0 ALLOC_PD '), 4)


if __name__ == '__main__':
    harness.main()
