# SPDX-License-Identifier: BSD-3-Clause
"""A guest of QEMU: Debian's kernel and busybox, with a shell that a test types into.

"usertools/setup.sh --guest" puts what it takes in place. KVM is not needed: QEMU emulates the
processor, and the guest is up within seconds. All of its devices are vhost-user NICs.
"""
import contextlib
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import time

GUEST = pathlib.Path(os.environ.get('MLX5_PERSIST_GUEST', '/var/cache/mlx5_persist/guest'))
QEMU = 'qemu-system-x86_64'
ACCEL = 'tcg'
BUSYBOX = 'busybox'
# In the order in which they need each other.
MODULES = ('virtio_ring', 'virtio', 'virtio_pci_legacy_dev', 'virtio_pci_modern_dev', 'virtio_pci',
           'failover', 'net_failover', 'virtio_net')
PROMPT = 'guest is up'
# How long something in the guest may take on a machine that does a lot besides.
TIMEOUT = 240

INIT = r'''#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
for module in %s; do insmod /modules/$module.ko; done
exec 3<>/dev/ttyS1
stty raw -echo <&3
echo '%s' >&3
while IFS= read -r line <&3; do eval "$line" </dev/null; status=$?; done >&3 2>&1
'''


class GuestError(Exception):
    """The guest or QEMU did not do what it was asked for."""


def missing():
    """What this machine lacks for a guest, in words; None if nothing."""
    for program in (QEMU, BUSYBOX):
        if shutil.which(program) is None:
            return '%s is not installed' % program
    if not (GUEST / 'vmlinuz').exists():
        return 'there is no kernel in %s' % GUEST
    return None


def _cpio(entries):
    """An archive in cpio's "newc" format, which Linux takes for its first file system. Each entry is
    (name, mode, content)."""
    archive = bytearray()
    for number, (name, mode, content) in enumerate([*entries, ('TRAILER!!!', 0, b'')], 1):
        path = name.encode() + b'\0'
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(path), 0)
        archive += b'070701' + b''.join(b'%08X' % field for field in fields) + path
        archive += bytes(-len(archive) % 4) + content
        archive += bytes(-len(archive) % 4)
    return bytes(archive)


def make_initramfs(path):
    """Busybox, the modules, and an init that starts a shell on the second serial line."""
    entries = [(name, 0o40755, b'') for name in ('bin', 'proc', 'sys', 'dev', 'tmp', 'modules')]
    entries.append(('bin/busybox', 0o100755, pathlib.Path(shutil.which(BUSYBOX)).read_bytes()))
    entries.append(('init', 0o100755, (INIT % (' '.join(MODULES), PROMPT)).encode()))
    for name in MODULES:
        entries.append(('modules/%s.ko' % name, 0o100644, (GUEST / (name + '.ko')).read_bytes()))
    path.write_bytes(_cpio(entries))


class _Channel:
    """A socket of QEMU's, line by line."""

    def __init__(self, path, alive):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.buffer = b''
        deadline = time.monotonic() + TIMEOUT
        while True:
            try:
                self.sock.connect(str(path))
                return
            except OSError:
                if not alive() or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def send(self, line):
        self.sock.sendall(line.encode() + b'\n')

    def line(self, deadline):
        """The next line; None once there is none until then, or none to come."""
        while b'\n' not in self.buffer:
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self.sock.settimeout(left)
            try:
                data = self.sock.recv(65536)
            except socket.timeout:
                return None
            if not data:
                return None
            self.buffer += data
        line, self.buffer = self.buffer.split(b'\n', 1)
        return line.decode(errors='replace').rstrip('\r')

    def close(self):
        self.sock.close()


class Guest:
    """One QEMU. Each of @sockets is a vhost-user back-end of a NIC: eth0, eth1, ... Those that
    @notifiers says so of take host notifiers."""

    MEMORY_MB = 192
    DIMM_MB = 128

    def __init__(self, case, sockets, name='guest', pairs=1, incoming=False,
                 notifiers=()):
        self.case, self.name, self.commands = case, name, 0
        self.dir = case.dir / name
        self.dir.mkdir()
        initramfs = case.dir / 'initramfs'
        if not initramfs.exists():
            make_initramfs(initramfs)
        line = [QEMU, '-nodefaults', '-no-user-config', '-display', 'none',
                '-machine', 'pc,memory-backend=mem', '-accel', ACCEL, '-smp', '2',
                '-m', '%dM,slots=2,maxmem=1G' % self.MEMORY_MB,
                '-object', 'memory-backend-memfd,id=mem,size=%dM,share=on' % self.MEMORY_MB,
                '-kernel', GUEST / 'vmlinuz', '-initrd', initramfs,
                '-append', 'console=ttyS0 quiet panic=-1 no_timer_check memhp_default_state=online',
                '-chardev', 'file,id=console,path=%s' % (self.dir / 'console'),
                '-chardev', 'socket,id=shell,path=%s,server=on,wait=off' % (self.dir / 'shell'),
                '-serial', 'chardev:console', '-serial', 'chardev:shell',
                '-qmp', 'unix:%s,server=on,wait=off' % (self.dir / 'qmp')]
        for number, path in enumerate(sockets):
            on = {True: 'on', False: 'off'}
            line += ['-chardev', 'socket,id=char%d,path=%s' % (number, path),
                     '-netdev', 'vhost-user,id=net%d,chardev=char%d,queues=%d' % (
                         number, number, pairs),
                     # QEMU 7.2 fails here with MSI-X, and has no use for a boot ROM.
                     '-device', 'virtio-net-pci,id=nic%d,netdev=net%d,mac=52:54:00:00:00:%02x,'
                     'mq=%s,page-per-vq=%s,vectors=0,romfile=' % (
                         number, number, number + 1, on[pairs > 1],
                         on[number < len(notifiers) and notifiers[number]])]
        self.incoming = self.dir / 'incoming'
        if incoming:
            line += ['-incoming', 'unix:%s' % self.incoming]
        self.stderr = open(self.dir / 'stderr', 'w+', encoding='utf-8')
        case.addCleanup(self.stderr.close)
        self.process = case.spawn(line, stdin=subprocess.DEVNULL,
                                  stdout=self.stderr, stderr=self.stderr)
        self.shell = self._open('shell')
        self.qmp_socket = self._open('qmp')
        self.qmp('qmp_capabilities')

    def _open(self, name):
        try:
            channel = _Channel(self.dir / name, lambda: self.process.poll() is None)
        except OSError as error:
            self._fail('QEMU does not open its socket %s: %s' % (name, error))
        self.case.addCleanup(channel.close)
        return channel

    def _fail(self, what):
        self.stderr.flush()
        if self.process.poll() is not None:
            what += ' (QEMU ended: %d)' % self.process.returncode
        texts = []
        for name in ('stderr', 'console'):
            with contextlib.suppress(OSError):
                texts.append('--- %s\n%s' % (
                    name, (self.dir / name).read_text(errors='replace')[-3000:]))
        raise GuestError('%s: %s\n%s' % (self.name, what, '\n'.join(texts)))

    # ---- the shell ----

    def wait_up(self):
        """Wait until the guest has started, or started again."""
        deadline = time.monotonic() + TIMEOUT
        while (line := self.shell.line(deadline)) != PROMPT:
            if line is None:
                self._fail('it does not come up')

    def run(self, command, status=0):
        """Run a command in the guest; returns what it printed."""
        self.commands += 1
        mark = 'done %d:' % self.commands
        self.shell.send(command)
        self.shell.send('echo; echo "%s $status"' % mark)
        deadline = time.monotonic() + TIMEOUT
        lines = []
        while True:
            line = self.shell.line(deadline)
            if line is None:
                self._fail('%r does not end: %s' % (command, lines))
            if line.startswith(mark):
                break
            lines.append(line)
        output = '\n'.join(lines)
        if status is not None and int(line[len(mark):]) != status:
            self._fail('%r ends with%s\n%s' % (command, line[len(mark):], output))
        return output

    # ---- the machine ----

    def qmp(self, command, **arguments):
        """A command to QEMU; returns its answer. What else it tells is let pass."""
        self.qmp_socket.send(json.dumps({'execute': command, 'arguments': arguments}))
        deadline = time.monotonic() + TIMEOUT
        while True:
            line = self.qmp_socket.line(deadline)
            if line is None:
                self._fail('no answer to %s' % command)
            message = json.loads(line)
            if 'error' in message:
                self._fail('%s: %s' % (command, message['error']['desc']))
            if 'return' in message:
                return message['return']

    def migrate(self, target):
        """Go on in another QEMU, which was started with incoming=True; this one is over then. The guest
        stands meanwhile: QEMU 7.2's own record of what an emulated processor writes has gaps on a
        busy machine, and the guest falls over what is missing, be it one without any NIC."""
        self.qmp('stop')
        self.qmp('migrate', uri='unix:%s' % target.incoming)

        def over():
            status = self.qmp('query-migrate')
            if status.get('status') in ('failed', 'cancelled'):
                self._fail('migration: %s' % status)
            return status.get('status') == 'completed'
        self.case.wait_for(over, 'the migration completes', TIMEOUT)
        self.case.wait_for(lambda: target.qmp('query-status')['status'] != 'inmigrate',
                           'the target has the guest', TIMEOUT)
        target.qmp('cont')
        target.commands = self.commands

    def reset(self):
        """The machine's reset button."""
        self.qmp('system_reset')
        self.wait_up()

    def plug(self, number=0):
        """One more DIMM, and wait until the guest uses it."""
        before = self.memory_kb()
        self.qmp('object-add', **{'qom-type': 'memory-backend-memfd', 'id': 'more%d' % number,
                                  'size': self.DIMM_MB << 20, 'share': True})
        self.qmp('device_add', driver='pc-dimm', id='dimm%d' % number,
                 memdev='more%d' % number)
        self.case.wait_for(lambda: self.memory_kb() >= before + (self.DIMM_MB << 10),
                           'the guest uses its DIMM', TIMEOUT)

    def memory_kb(self):
        return int(re.search(r'MemTotal:\s+(\d+)', self.run('cat /proc/meminfo')).group(1))

    def quit(self):
        """Switch the machine off."""
        self.qmp('quit')
        self.process.wait(TIMEOUT)
        self.case.assertEqual(self.process.returncode, 0)
