# SPDX-License-Identifier: BSD-3-Clause
"""devtools/trace-diff: what it calls a difference, how it finds phases, and its output for two
traces of real runs (tests/unit/traces)."""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
TOOL = HERE.parents[1] / 'devtools' / 'trace-diff'
TRACES = HERE / 'traces'

VIRTQ, COUNTERS = 0xd, 0x1c
SELECT_STATE, RDY, SUSPEND = 1, 1, 2


def command(op, fields='', answer='', uid=1, status='OK(0x0)', length=64):
    """One command as the emulator traces it, with a piece of its hex dump."""
    return (f'mlx5_0 {op} uid {uid} status {status} syndrome 0x0 ns 417 in: opcode=0x100 {fields}'
            f' out: {answer}\ninput {length} bytes\n000: 08000000 00000000 00000000 00000000\n'
            'output 16 bytes\n000: 00000000 00000000 00000000 00000000\n').replace('in:  ', 'in: ')


def mark(name):
    return f'# phase {name}\n'


def queue(number, index, extra=''):
    return command('CREATE_GENERAL_OBJECT', f'general_obj_in_cmd_hdr.obj_type={VIRTQ:#x} '
                   f'obj_context.virtio_q_context.queue_index={index:#x} {extra}' if index else
                   f'general_obj_in_cmd_hdr.obj_type={VIRTQ:#x} {extra}', f'obj_id={number:#x}')


def to_state(number, state, extra=''):
    return command('MODIFY_GENERAL_OBJECT', f'hdr.obj_type={VIRTQ:#x} hdr.obj_id={number:#x} '
                   f'obj_context.modify_field_select=0x1 obj_context.state={state:#x} {extra}')


def destroy_queue(number):
    return command('DESTROY_GENERAL_OBJECT', f'obj_type={VIRTQ:#x} obj_id={number:#x}')


class TraceDiff(unittest.TestCase):
    longMessage = True

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix='trace-diff-')
        self.addCleanup(folder.cleanup)
        self.dir = pathlib.Path(folder.name)

    def tool(self, *args):
        return subprocess.run([sys.executable, TOOL, *args], capture_output=True, text=True,
                              check=False)

    def write(self, name, text):
        path = self.dir / name
        path.write_text(text)
        return path

    def diff(self, a, b, *options):
        return self.tool(self.write('a.trace', a), self.write('b.trace', b), *options)

    def compare(self, a, b):
        """The JSON result; the text agrees with it about whether there is a difference."""
        text, result = self.diff(a, b), self.diff(a, b, '--json')
        self.assertEqual(text.stderr + result.stderr, '')
        self.assertEqual(text.returncode, result.returncode)
        data = json.loads(result.stdout)
        self.assertEqual(data['different'], result.returncode == 1)
        return data

    def phase(self, data, name):
        return next(phase for phase in data['phases'] if phase['phase'] == name)

    def fields(self, a, b, phase='probe'):
        """Fields that differ: {name: (of a, of b)}."""
        rows = self.phase(self.compare(a, b), phase)['fields']
        return {row['field']: (list(row['a']), list(row['b'])) for row in rows}

    def counts(self, data, name='probe'):
        return {row['command']: (row['a'], row['b']) for row in self.phase(data, name)['counts']}

    # ---- fields ----

    def test_no_difference(self):
        a = mark('conf') + command('CREATE_CQ', 'cq_context.cc=0x1', 'cqn=0x1')
        self.assertFalse(self.compare(a, a)['different'])
        self.assertIn('no difference', self.diff(a, a).stdout)

    def test_time_and_uid_number_say_nothing(self):
        a = command('CREATE_CQ', 'uid=0x1', 'cqn=0x1')
        b = command('CREATE_CQ', 'uid=0x7', 'cqn=0x30', uid=7).replace('ns 417', 'ns 99')
        self.assertFalse(self.compare(a, b)['different'])

    def test_values(self):
        a = command('CREATE_CQ', 'cq_context.cc=0x1 cq_context.log_cq_size=0x8')
        b = command('CREATE_CQ', 'cq_context.cc=0x1 cq_context.log_cq_size=0x9 cq_context.oi=0x1')
        self.assertEqual(self.fields(a, b), {'cq_context.log_cq_size': (['0x8'], ['0x9']),
                                             'cq_context.oi': (['not set'], ['0x1'])})

    def test_same_kind(self):
        a = command('CREATE_CQ',
                    'cq_umem_id=0x3 cq_context.dbr_addr=0x4000 cq_context.uar_page=0x1')
        b = command('CREATE_CQ', 'cq_umem_id=0x9 cq_context.dbr_addr=0x80')
        self.assertEqual(self.fields(a, b), {'cq_context.uar_page': (['set'], ['not set'])})

    def test_not_compared(self):
        a = queue(1, 0, 'obj_context.hw_available_index=0x77')
        self.assertFalse(self.compare(a, queue(1, 0))['different'])

    def test_pages_of_direct_keys_follow_from_addresses(self):
        context = 'memory_key_mkey_entry.'
        direct = context + 'access_mode_1_0=0x1 '
        indirect = context + 'access_mode_1_0=0x2 '
        page = context + 'log_page_size='
        self.assertFalse(self.compare(command('CREATE_MKEY', direct + page + '0x1a', length=300),
                                      command('CREATE_MKEY', direct + page + '0xc'))['different'])
        self.assertEqual(self.fields(command('CREATE_MKEY', indirect + page + '0x1a'),
                                     command('CREATE_MKEY', indirect), 'conf'),
                         {context + 'log_page_size': (['0x1a'], ['not set'])})

    def test_arrays(self):
        key = 'ctx.rx_hash_toeplitz_key[%d]=0x%x'
        a = command('CREATE_TIR', ' '.join(key % (i, i + 1) for i in range(8)) +
                    ' ctx.rx_hash_toeplitz_key...2')
        self.assertFalse(self.compare(a, a)['different'])
        b = a.replace('key[7]=0x8', 'key[7]=0x9')
        self.assertEqual(list(self.fields(a, b)), ['ctx.rx_hash_toeplitz_key[]'])

    def test_what_has_no_name(self):
        a = command('CREATE_CQ', '?0x40=0x00000001')
        self.assertEqual(self.fields(a, command('CREATE_CQ')),
                         {'?0x40': (['0x00000001'], ['not set'])})

    def test_length(self):
        a, b = command('CREATE_QP', length=272), command('CREATE_QP', length=464)
        self.assertEqual(self.fields(a, b), {'input bytes': (['272'], ['464'])})

    # ---- kinds ----

    def test_counts(self):
        a = command('ALLOC_PD', '', 'pd=0x1')
        data = self.compare(a + a, a)
        self.assertEqual(self.counts(data), {'ALLOC_PD': ([2, 2], [1, 1])})

    def test_objects(self):
        """A kind is known by what the object is, from its creation to its end."""
        mode = 'memory_key_mkey_entry.access_mode_1_0='
        text = (command('CREATE_UMEM', '', 'umem_id=0x1') +
                command('CREATE_UMEM', '', 'umem_id=0x2') +
                command('CREATE_CQ', 'cq_umem_id=0x2 cq_umem_valid=0x1', 'cqn=0x1') +
                command('CREATE_MKEY', mode + '0x1', 'mkey_index=0x5') +
                command('CREATE_MKEY', mode + '0x2', 'mkey_index=0x6') +
                command('DESTROY_MKEY', 'mkey_index=0x6') +
                command('CREATE_QP', 'qpc.rq_type=0x3', 'qpn=0x1') +
                command('CREATE_QP', '', 'qpn=0x2') +
                command('RST2INIT_QP', 'qpn=0x2') + command('2RST_QP', 'qpn=0x1') +
                command('CREATE_GENERAL_OBJECT', f'hdr.obj_type={COUNTERS:#x}', 'obj_id=0x1') +
                queue(0x1, 0) + to_state(1, RDY) + to_state(1, SUSPEND) + destroy_queue(1) +
                command('CREATE_TIR', 'ctx.rx_hash_field_selector_outer.selected_fields=0xf '
                        'ctx.rx_hash_field_selector_outer.l3_prot_type=0x1', 'tirn=0x1') +
                command('SET_FLOW_TABLE_ENTRY',
                        'flow_context.match_value.outer_headers.ip_version=0x6') +
                command('CREATE_PD', status='LIM_ERR(0x8)'))
        data = self.compare(text, text)
        kinds = {row['command'] for phase in data['phases'] for row in phase['counts']}
        self.assertEqual(kinds, {
            'CREATE_UMEM (of nothing)', 'CREATE_UMEM (of a CQ)', 'CREATE_CQ',
            'CREATE_MKEY (direct)', 'CREATE_MKEY (indirect)', 'DESTROY_MKEY (indirect)',
            'CREATE_QP (firmware)',
            'CREATE_QP (software)', 'RST2INIT_QP (software)', '2RST_QP (firmware)',
            'CREATE_virtio_q_counters', 'CREATE_virtio_net_q', 'MODIFY_virtio_net_q (to RDY)',
            'MODIFY_virtio_net_q (to SUSPEND)', 'DESTROY_virtio_net_q',
            'CREATE_TIR (IPv6 TCP, addresses and ports)', 'SET_FLOW_TABLE_ENTRY (ip_version=0x6)',
            'CREATE_PD (fails with LIM_ERR)'})

    def test_queues_are_paired_by_index(self):
        a = queue(1, 0, 'obj_context.rx_csum=0x1') + queue(2, 1)
        b = queue(7, 1) + queue(8, 0, 'obj_context.rx_csum=0x1')
        self.assertFalse(self.compare(a, b)['different'])
        states_a = a + to_state(1, RDY, 'obj_context.dirty_bitmap_size=0x1') + to_state(2, RDY)
        states_b = b + to_state(7, RDY) + to_state(8, RDY, 'obj_context.dirty_bitmap_size=0x1')
        self.assertFalse(self.compare(states_a, states_b)['different'])

    # ---- phases ----

    def run_of(self, close, again):
        return (command('ALLOC_PD', '', 'pd=0x1') + mark('probe') + mark('conf') +
                command('CREATE_CQ', '', 'cqn=0x1') + mark('close') + close + mark('conf') + again +
                mark('close') + close + mark('conf') + again + mark('cleanup') + mark('remove') +
                command('DEALLOC_PD', 'pd=0x1'))

    def test_marks(self):
        ping, pong = command('QUERY_CQ'), command('MODIFY_CQ')
        data = self.compare(self.run_of(ping, pong), self.run_of(ping, pong + pong))
        self.assertEqual([phase['phase'] for phase in data['phases']],
                         ['probe', 'conf', 'close', 'conf again', 'close again', 'remove'])
        self.assertEqual(self.phase(data, 'conf again')['occurrences'], [2, 2])
        self.assertEqual(self.counts(data, 'conf again'), {'MODIFY_CQ': ([1, 1], [2, 2])})
        self.assertFalse(self.phase(data, 'close')['fields'])

    def test_phases_without_marks(self):
        key = command('CREATE_MKEY', 'memory_key_mkey_entry.access_mode_1_0=0x1', 'mkey_index=0x2')
        stop = to_state(1, SUSPEND) + command('QUERY_GENERAL_OBJECT',
                                              f'obj_type={VIRTQ:#x} obj_id=0x1')
        text = (command('ALLOC_PD', '', 'pd=0x1') + command('CREATE_TIS', '', 'tisn=0x1') +
                key + queue(1, 0) + to_state(1, RDY) + stop + destroy_queue(1) +
                command('CREATE_RQT', '', 'rqtn=0x1') + queue(1, 0) + to_state(1, RDY) +
                stop + to_state(1, RDY) + stop +
                command('DESTROY_MKEY', 'mkey_index=0x2') + destroy_queue(1) +
                command('DESTROY_TIS', 'tisn=0x1') + command('DEALLOC_PD', 'pd=0x1'))
        data = self.compare(text, text)
        self.assertFalse(data['a']['marked'])
        self.assertEqual([(phase['phase'], phase['commands'][0]) for phase in data['phases']], [
            ('probe', 2), ('conf', 3), ('close', 3), ('conf again', 4), ('close again', 4),
            ('cleanup', 2), ('remove', 2)])
        self.assertIn('phases inferred', self.diff(text, text).stdout)

    # ---- the command line ----

    def test_help_and_version(self):
        for option, word in (('--help', 'phases:'), ('--version', 'trace-diff')):
            result = self.tool(option)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertIn(word, result.stdout)

    def test_bad_usage(self):
        good = self.write('good', command('ALLOC_PD'))
        bad = self.write('bad', command('ALLOC_PD') + 'rubbish\n')
        empty = self.write('empty', '')
        for args, word in (([], 'A.trace'), ([good], 'B.trace'), ([good, '/nosuch'], '/nosuch'),
                           ([good, bad], 'bad:6: '), ([empty, good], 'no command'),
                           ([good, good, '--what'], '--what'), ([good, self.dir], str(self.dir))):
            result = self.tool(*args)
            self.assertEqual(result.returncode, 2, (args, result.stdout, result.stderr))
            self.assertIn(word, result.stderr)

    # ---- real runs ----

    def golden(self, *options):
        return subprocess.run([sys.executable, TOOL, 'persist.trace', 'peer.trace', *options],
                              cwd=TRACES, capture_output=True, text=True, check=False)

    def test_golden_text(self):
        result = self.golden()
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertEqual(result.stdout, (TRACES / 'persist-peer.txt').read_text())

    def test_golden_json(self):
        data = json.loads(self.golden('--json').stdout)
        self.assertEqual([phase['phase'] for phase in data['phases']], [
            'probe', 'conf', 'close', 'conf again', 'close again', 'cleanup', 'remove'])
        self.assertEqual(sum(phase['commands'][0] for phase in data['phases']),
                         data['a']['commands'])
        again = self.counts(data, 'conf again')
        self.assertEqual(again['MODIFY_virtio_net_q (to RDY)'], ([2, 2], [2, 2]))
        self.assertEqual(again['CREATE_virtio_net_q'], ([0, 0], [2, 2]))

    def test_golden_without_marks(self):
        """Inference finds the phases that a run marked, for drivers that make nothing in advance;
        what a driver takes down with the connection before its keys counts as the last close."""
        for name in ('persist', 'peer'):
            text = (TRACES / f'{name}.trace').read_text()
            bare = ''.join(line + '\n' for line in text.splitlines() if not line.startswith('#'))
            data = self.compare(text, bare)
            for phase in data['phases']:
                if phase['phase'] in ('probe', 'conf', 'close', 'conf again'):
                    self.assertEqual(*phase['commands'], (name, phase['phase']))


if __name__ == '__main__':
    unittest.main(verbosity=2)
