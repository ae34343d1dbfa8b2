# SPDX-License-Identifier: BSD-3-Clause
"""Bad usage of every program: exit status 2 and one line that says which option and why."""
import harness

EAL_NOISE = ('EAL:', 'TELEMETRY:')


class UsageCase(harness.Case):
    def bad(self, command, word):
        """One line on stderr, with @word."""
        result = self.run_program(command)
        self.assert_status(result, 2)
        lines = [line for line in result.stderr.splitlines()
                 if line.strip() and not line.startswith(EAL_NOISE)]
        self.assertEqual(len(lines), 1, result)
        self.assertIn(word, lines[0], result)

    def good(self, command, word):
        result = self.run_program(command)
        self.assert_status(result, 0)
        self.assertIn(word, result.stdout, result)


class EmuRun(UsageCase):
    def test_options(self):
        for options, word in (
                (['--nosuch'], '--nosuch'),
                (['--device', 'nokey=1'], 'nokey'),
                (['--device', 'model=cx4'], 'cx4'),
                (['--device', 'bdf=nonsense'], 'nonsense'),
                (['--device', 'wire=pigeon'], 'pigeon'),
                (['--device', 'max_vqs=many'], 'many'),
                (['--device', 'max_vqs=0'], 'max_vqs'),
                (['--device', 'mac=12'], 'mac'),
                (['--device', 'caps=-no_such_cap'], 'no_such_cap'),
                (['--device', 'name=a', '--device', 'name=a'], 'name'),
                (['--device', 'bdf=0000:e1:00.2', '--device', 'bdf=0000:e1:00.2'],
                 '0000:e1:00.2'),
                (['--latency', 'warp'], 'warp'),
                (['--check', 'nothing'], 'orphans'),
                (['--fail', 'NO_SUCH_COMMAND:1'], 'NO_SUCH_COMMAND'),
                (['--fail', 'CREATE_MKEY'], 'CREATE_MKEY'),
                (['--fail', 'CREATE_MKEY:0'], 'CREATE_MKEY:0'),
                (['--fail', 'CREATE_MKEY:1:256'], 'CREATE_MKEY:1:256'),
                (['--report', '/no/such/folder/r.json'], '/no/such/folder/r.json'),
                (['--trace', '/no/such/folder/t.txt'], '/no/such/folder/t.txt')):
            with self.subTest(options=options):
                self.bad([harness.EMU_RUN, *options, '--', 'true'], word)

    def test_missing_value(self):
        for option in ('--device', '--latency', '--fail', '--check', '--report', '--trace'):
            with self.subTest(option=option):
                self.bad([harness.EMU_RUN, option], option)

    def test_what_a_file_had_is_lost_to_no_typing_error(self):
        """The report and the trace of the run before, when this one does not come about."""
        old, new = self.dir / 'old', self.dir / 'new'
        old.write_text('of the run before')
        for option in ('--report', '--trace'):
            for line, word in (([option, old, '--latency', 'warp', 'true'], 'warp'),
                               ([option, new, '--device', 'nokey=1', 'true'], 'nokey'),
                               ([option, old, '--device', 'wire=pair:none', 'true'], 'none'),
                               ([option, old], 'COMMAND')):
                with self.subTest(line=line):
                    self.bad([harness.EMU_RUN, *line], word)
                    self.assertEqual(old.read_text(), 'of the run before')
                    self.assertFalse(new.exists())

    def test_no_command(self):
        self.bad([harness.EMU_RUN], 'COMMAND')
        self.bad([harness.EMU_RUN, '--'], 'COMMAND')

    def test_help(self):
        self.good([harness.EMU_RUN, '--help'], '--device')
        self.good([harness.EMU_RUN, '--version'], '0.')

    def test_exit_status(self):
        """The status is the command's."""
        for status in (0, 1, 7):
            result = self.run_program([harness.EMU_RUN, '--', 'sh', '-c', 'exit %d' % status])
            self.assert_status(result, status)


class TestVdpa(UsageCase):
    def test_options(self):
        for options, word in (
                (['--nosuch'], '--nosuch'),
                (['--bench', 'nosuch'], 'nosuch'),
                (['--bench', 'reset', '--mem', '0'], '--mem'),
                (['--bench', 'reset', '--mem', '1T5'], '--mem'),
                (['--bench', 'reset', '--regions', '0'], '--regions'),
                (['--bench', 'reset', '--regions', '9'], '--regions'),
                (['--bench', 'reset', '--backing', 'clay'], '--backing'),
                (['--bench', 'reset', '--queues', '0'], '--queues'),
                (['--bench', 'reset', '--queues', 'x'], '--queues'),
                (['--bench', 'reset', '--queue-size', '100'], '--queue-size'),
                (['--bench', 'reset', '--iterations', '0'], '--iterations'),
                (['--bench', 'reset', '--gap', '-1'], '--gap'),
                (['--bench', 'reset', '--seconds', 'x'], '--seconds'),
                (['--bench', 'reset', '--pps', 'x'], '--pps'),
                (['--bench', 'reset', '--interactive'], '--interactive'),
                (['--bench', 'reset', '--untouched'], '--untouched'),
                (['--interactive', '--json', 'x.json'], '--json'),
                (['--bench', 'reset', 'word'], 'word')):
            with self.subTest(options=options):
                self.bad([harness.TEST_VDPA, *harness.eal(), '--', *options], word)

    def test_missing_value(self):
        for option in ('--bench', '--mem', '--json', '--device'):
            with self.subTest(option=option):
                self.bad([harness.TEST_VDPA, *harness.eal(), '--', option], option)

    def test_help(self):
        self.good([harness.TEST_VDPA, '--help'], '--bench')
        self.good([harness.TEST_VDPA, '--version'], '0.')


class Daemon(UsageCase):
    def test_options(self):
        for options, word in (
                (['--nosuch'], '--nosuch'),
                (['-x'], '-x'),
                (['--iface'], '--iface'),
                (['--iface', ''], '--iface'),
                (['--iface', 'x' * 200], '--iface'),
                (['--client'], '--interactive'),
                (['--interactive', 'word'], 'word'),
                ([], '--iface')):
            with self.subTest(options=options):
                self.bad([harness.DAEMON, *harness.eal(), '--', *options], word)

    def test_help(self):
        self.good([harness.DAEMON, '--help'], '--iface')
        self.good([harness.DAEMON, '--version'], '0.')

    def test_no_device(self):
        result = self.run_program([harness.DAEMON, *harness.eal(), '--', '--iface', self.dir / 's'])
        self.assert_status(result, 1)
        self.assertIn('no vDPA device', result.stderr)


class Scripts(UsageCase):
    NAMES = ('usertools/setup.sh', 'usertools/build.sh', 'usertools/demo.sh', 'devtools/test.sh',
             'devtools/bench.sh', 'devtools/soak.sh', 'devtools/throughput.sh',
             'devtools/prm-table.py', 'devtools/trace-diff')

    def test_what_all_have(self):
        for name in self.NAMES:
            with self.subTest(script=name):
                script = harness.SOURCE / name
                self.good([script, '--help'], script.name)
                self.assertRegex(self.run_program([script, '--version']).stdout,
                                 r'^[\w.-]+ \d+\.\d+\.\d+\n$')
                self.bad([script, '--nosuch'], '; see --help')


if __name__ == '__main__':
    harness.main()
