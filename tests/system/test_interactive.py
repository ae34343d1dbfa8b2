# SPDX-License-Identifier: BSD-3-Clause
"""The shell of dpdk-test-vdpa, driven through a pipe and through a terminal."""
import os
import pathlib
import pty
import re
import select
import signal
import subprocess
import time

import harness

PROMPT = 'test-vdpa> '
DEVICE = 'vdpa_mlx5_persist0'
ANSWER_TIMEOUT = 60


class Shell:
    """A running shell. Commands go in one by one; what precedes the next prompt is the answer."""

    def __init__(self, case, terminal=False, **options):
        self.case = case
        command = [harness.TEST_VDPA, *harness.eal(), harness.vdev(), '--', '--interactive']
        for key, value in {'mem': '64M', 'queues': 2, **options}.items():
            command.append('--' + key.replace('_', '-'))
            if value is not True:
                command.append(str(value))
        if terminal:
            self.output, slave = pty.openpty()
            self.input = self.output
        else:
            (self.output, slave), (slave_in, self.input) = os.pipe(), os.pipe()
        self.process = case.spawn(case.emu(command), stdin=slave if terminal else slave_in,
                                  stdout=slave, stderr=subprocess.DEVNULL)
        os.close(slave)
        if not terminal:
            os.close(slave_in)
            case.addCleanup(os.close, self.output)
        case.addCleanup(self.hang_up)
        self.text = ''
        self.until(PROMPT)

    def hang_up(self):
        """No more input."""
        if self.input is not None:
            os.close(self.input)
        self.input = None

    def until(self, pattern):
        """Read up to a pattern. Returns what came before it."""
        deadline = time.monotonic() + ANSWER_TIMEOUT
        while True:
            match = re.search(pattern, self.text)
            if match:
                before, self.text = self.text[:match.start()], self.text[match.end():]
                return before
            ready = select.select([self.output], [], [], deadline - time.monotonic())[0] \
                if time.monotonic() < deadline else []
            chunk = os.read(self.output, 4096) if ready else b''
            if not chunk:
                self.case.fail('no %r in %r' % (pattern, self.text))
            self.text += chunk.decode(errors='replace')

    def type(self, text):
        os.write(self.input, text.encode())

    def ask(self, command):
        """Type a command. Returns the answer."""
        self.type(command + '\n')
        self.until(re.escape(command) + r'\s*\n')
        return self.until(PROMPT)

    def traffic(self):
        """Counters of "show traffic" by name."""
        text = self.ask('show traffic')
        return {key.strip(): int(value) for key, value in re.findall(r'([\w -]+): *(\d+)', text)}

    def end(self, status=0):
        """Wait for the end, and judge what is left."""
        self.case.assertEqual(self.process.wait(harness.EXIT_TIMEOUT), status)
        result = self.case.collect(harness.Result(status, self.text, ''))
        self.case.assert_clean(result)
        return result


class Interactive(harness.Case):
    def assert_unharmed(self, traffic):
        for key in ('RX-corrupt', 'RX-duplicated', 'Lost'):
            self.assertEqual(traffic[key], 0, traffic)

    def quit(self, shell):
        shell.type('quit\n')
        return shell.end()

    def test_traffic(self):
        shell = Shell(self)
        self.assertEqual(shell.traffic()['TX-packets'], 0)
        self.assertIn('traffic is on', shell.ask('start'))
        self.assertIn('already', shell.ask('start'))
        self.wait_for(lambda: shell.traffic()['RX-packets'] > 1000, 'packets')
        self.assertIn('pps is 1000', shell.ask('set pps 1000'))

        def slower():
            time.sleep(0.5)
            return shell.traffic()['Tx-pps'] < 2000
        self.wait_for(slower, 'the new pace')
        self.assertIn('traffic is off', shell.ask('stop'))
        last = shell.traffic()
        self.assertEqual(last['RX-packets'] + last['In blackouts'], last['TX-packets'])
        self.assertEqual(shell.traffic()['TX-packets'], last['TX-packets'])
        self.assert_unharmed(last)
        self.quit(shell)

    def test_resets(self):
        """With traffic and without, the blackout is measured if there is one."""
        shell = Shell(self)
        for verb in ('reset', 'remap'):
            self.assertRegex(shell.ask(verb), r'^close [\d.]+ us, conf [\d.]+ us\s*$')
        shell.ask('start')
        for verb in ('reset', 'remap', 'reset'):
            before = shell.traffic()['RX-packets']
            self.wait_for(lambda: shell.traffic()['RX-packets'] > before + 100, 'packets')
            self.assertRegex(shell.ask(verb), r'blackout [\d.]+ us')
        shell.ask('stop')
        self.assert_unharmed(shell.traffic())
        self.quit(shell)

    def test_queues(self):
        """The other queue pair goes on while one is disabled; then all go on."""
        shell = Shell(self)
        shell.ask('start')
        for queue in (3, 2):
            self.assertIn('disabled', shell.ask('queue disable %d' % queue))
        before = shell.traffic()['RX-packets']
        self.wait_for(lambda: shell.traffic()['RX-packets'] > before + 100, 'the other pair')
        for queue in (2, 3):
            self.assertIn('enabled', shell.ask('queue enable %d' % queue))
        self.assertIn('the last one is 3', shell.ask('queue enable 4'))
        self.assertIn('Bad arguments', shell.ask('queue enable'))
        shell.ask('stop')
        self.quit(shell)

    def test_show(self):
        shell = Shell(self)
        for name in ('all', DEVICE):
            self.assertIn('Infos for device ' + DEVICE, shell.ask('show device ' + name))
        self.assertIn('no vDPA device nosuch', shell.ask('show device nosuch'))
        config = shell.ask('show config')
        for text in ('Driver: vdpa_mlx5_persist', 'Queue pairs: 2 of 256 entries, split',
                     'Device status: 0x0f'):
            self.assertIn(text, config)
        shell.ask('start')
        self.wait_for(lambda: shell.traffic()['RX-packets'] > 100, 'packets')
        shell.ask('stop')

        def sent():
            text = shell.ask('show stats %s 1' % DEVICE)
            return int(re.search(r'completed_descriptors\s+(\d+)', text).group(1))
        self.assertGreater(sent(), 0)
        self.assertIn('Counters of 4 queues are cleared', shell.ask('clear stats'))
        self.assertEqual(sent(), 0)
        self.assertIn('no vDPA device', shell.ask('show stats nosuch 0'))
        self.quit(shell)

    def test_bench(self):
        """A benchmark has a guest of its own; the shell's comes back."""
        shell = Shell(self, iterations=2, seconds=1)
        shell.ask('start')
        for name in ('reset', 'replace', 'throughput'):
            text = shell.ask('bench ' + name)
            self.assertIn('0 corrupt, 0 lost, 0 duplicated', text)
            self.assertNotIn('FAILED', text)
        self.assertIn('Bad arguments', shell.ask('bench nosuch'))
        self.assertIn('traffic is on', shell.ask('start'))
        self.quit(shell)

    def test_help(self):
        shell = Shell(self)
        text = shell.ask('help')
        for verb in ('start', 'stop', 'reset', 'remap', 'queue', 'bench', 'show', 'clear', 'set',
                     'drop', 'quit'):
            self.assertRegex(text, r'(?m)^%s\b' % verb)
        self.assertIn('Command not found', shell.ask('nonsense'))
        self.quit(shell)

    def test_end_of_input(self):
        shell = Shell(self)
        shell.ask('start')
        shell.hang_up()
        shell.end()

    def test_signal(self):
        shell = Shell(self)
        shell.ask('start')
        pid = shell.process.pid
        children = pathlib.Path('/proc/%d/task/%d/children' % (pid, pid)).read_text().split()
        os.kill(int(children[0]) if children else pid, signal.SIGTERM)
        shell.end()

    def test_completion(self):
        shell = Shell(self, terminal=True)
        shell.type('sh\t')
        shell.until('show ')
        shell.type('conf\t')
        shell.until('config')
        shell.type('\n')
        self.assertIn('Device status', shell.until(PROMPT))
        shell.type('queue e\t 1\n')
        self.assertIn('enabled', shell.until(PROMPT))
        shell.type('bench \t\t')
        for name in ('reset', 'remap', 'replace', 'throughput'):
            shell.until(name)
        shell.type('\x03')
        shell.type('quit\n')
        shell.end()


if __name__ == '__main__':
    harness.main()
