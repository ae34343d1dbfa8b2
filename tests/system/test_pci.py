# SPDX-License-Identifier: BSD-3-Clause
"""How programs see the devices of mlx5-emu-run among the machine's PCI functions."""
import os
import pathlib
import shutil

import harness

DEVICES = pathlib.Path('/sys/bus/pci/devices')
SECOND = '0000:e1:00.3'


def there():
    """PCI functions of the machine."""
    return sorted(os.listdir(DEVICES)) if DEVICES.is_dir() else []


class Presence(harness.Case):
    def shell(self, script, devices=(), wrap=()):
        """Standard output of a shell command on emulated devices; @wrap goes before the runner."""
        command = [*wrap, *self.emu(['sh', '-c', script], devices)]
        result = self.run_program(command)
        self.assert_status(result, 0)
        return result

    def test_functions_of_the_machine_stay(self):
        before = there()
        for devices in ((), ['name=a', 'name=b']):
            ours = [harness.BDF, SECOND][:len(devices) or 1]
            result = self.shell('ls %s' % DEVICES, devices)
            self.assertEqual(sorted(result.stdout.split()), sorted(before + ours))
        for name in before:
            script = 'cat %s/%s/vendor' % (DEVICES, name)
            self.assertEqual(self.shell(script).stdout, (DEVICES / name / 'vendor').read_text())
        self.assertEqual(there(), before, 'the runner changed more than its own namespace')

    def test_what_a_function_shows(self):
        folder = DEVICES / '0000:05:00.1'
        script = 'cd %s && cat vendor class numa_node max_vfs && ls infiniband && ' \
            'basename $(readlink driver) && wc -l < resource && ' \
            'cat infiniband/*/device/uevent | grep SLOT' % folder
        result = self.shell(script, ['bdf=0000:05:00.1,name=rdma9'])
        self.assertEqual(result.stdout.split(), ['0x15b3', '0x020000', '0', '0', 'rdma9', 'mlx5_core',
                                                 '13', 'PCI_SLOT_NAME=0000:05:00.1'])

    def test_the_switch_of_roce(self):
        """It is on, and can be turned off for as long as the command runs."""
        path = DEVICES / harness.BDF / 'roce_enable'
        for _ in range(2):
            result = self.shell('cat %s; echo 0 > %s; cat %s' % (path, path, path))
            self.assertEqual(result.stdout.split(), ['1', '0'])

    def test_an_address_of_the_machine(self):
        """An emulated device takes the place of a function with its address."""
        before = there()
        if not before:
            self.skipTest('the machine has no PCI function')
        result = self.shell('cat %s/%s/vendor; ls %s' % (DEVICES, before[0], DEVICES),
                            ['bdf=' + before[0]])
        self.assertEqual(result.stdout.split(), ['0x15b3', *before])

    def test_machines_without_pci(self):
        """The path is made where it is missing: in an empty bus folder, in an empty sysfs."""
        for cover in ('/sys/bus', '/sys'):
            with self.subTest(missing=cover):
                wrap = ['unshare', '-m', 'sh', '-c', 'mount -t tmpfs none %s && "$@"' % cover, 'sh']
                result = self.shell('ls %s; cat %s/*/vendor' % (DEVICES, DEVICES), wrap=wrap)
                self.assertEqual(result.stdout.split(), [harness.BDF, '0x15b3'])

    def test_without_the_right_to_mount(self):
        """The devices work, but for what needs a PCI function; one line says so."""
        setpriv = shutil.which('setpriv')
        self.assertIsNotNone(setpriv, 'setpriv is part of util-linux')
        wrap = [setpriv, '--bounding-set', '-sys_admin', '--inh-caps', '-sys_admin']
        result = self.shell('ls %s 2> /dev/null; true' % DEVICES, wrap=wrap)
        self.assertEqual(result.stdout.split(), there())
        self.assertRegex(result.stderr, '^mlx5-emu-run: no mount namespace: .*; programs find the '
                         'RDMA devices, but no PCI functions\n$')
        command = [harness.TEST_VDPA, *harness.eal(), harness.vdev(), '--', '--bench', 'reset',
                   '--mem', '64M', '--iterations', '2']
        result = self.run_program([*wrap, *self.emu(command)])
        self.assert_status(self.collect(result), 0)
        self.assert_clean(result)

    def test_ethernet_driver(self):
        """A program that names no device and does not leave PCI alone probes it as Ethernet, which
        the device does not do: the program goes on without."""
        others = ['--block=' + name for name in there()]
        result = self.run_emu(['dpdk-testpmd', *[o for o in harness.eal() if o != '--no-pci'],
                               *others, '--', '-i', '--total-num-mbufs=2048'], stdin='quit\n')
        self.assert_status(result, 0)
        self.assertIn('No probed ethernet devices', result.stdout + result.stderr)
        self.assert_clean(result)


if __name__ == '__main__':
    harness.main()
