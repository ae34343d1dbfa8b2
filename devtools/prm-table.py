#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Table of PRM fields (layout, field, bit offset, width, count) out of other projects' headers.

Linux's mlx5_ifc*.h and DPDK's mlx5_prm.h describe mailboxes as C structs whose members are arrays
of u8, one element a bit. This program reads such headers, computes where every member lies, and
prints the rows of those fields that our layouts.def names too; and the constants that they call as
we do. tests/unit/test_prm.c holds our files to the result, so neither is derived from the other.

  prm-table.py --layouts lib/mlx5_prm/layouts.def --constants lib/mlx5_prm/mlx5_prm_const.h \\
      --source 'Linux 6.12, include/linux/mlx5' mlx5_ifc.h mlx5_ifc_fpga.h mlx5_ifc_vdpa.h \\
      device.h qp.h > tests/unit/prm_linux.inc
  prm-table.py --layouts lib/mlx5_prm/layouts.def --constants lib/mlx5_prm/mlx5_prm_const.h \\
      --source 'DPDK 22.11, drivers/common/mlx5' --alias virtio_net_q_object=virtio_net_q \\
      mlx5_prm.h > tests/unit/prm_dpdk.inc
"""

import argparse
import os
import re
import sys
from dataclasses import dataclass, field

sys.dont_write_bytecode = True    # not in the source tree
import cli    # noqa: E402


class HeaderError(Exception):
    """A header that this program can't read."""


@dataclass
class Member:
    """A member of a struct: count elements of width bits (count 0: a flexible array)."""
    name: str
    offset: int
    width: int
    count: int
    type: str = ''      # nested struct or union


@dataclass
class Struct:
    """A struct or union as its header spells it, and its members once they were computed."""
    kind: str
    tokens: list
    source: str
    members: list = field(default_factory=list)
    bits: int = -1


class Headers:
    """All mlx5_ifc structs of some headers."""

    # An enumerator of a plain value or a single bit.
    CONSTANT = re.compile(r'\b(MLX5_\w+)\s*=\s*((?:\(u64\))?1U?L*\s*<<\s*)?'
                          r'(0x[0-9a-fA-F]+|\d+)\s*[,}]')
    NAME = re.compile(r'mlx5_ifc_(\w+?)(?:_bits)?$')

    def __init__(self):
        self.structs = {}
        self.constants = {}     # name: (value, source)

    def read(self, path, source):
        with open(path, encoding='utf-8') as f:
            text = f.read()
        text = re.sub(r'/\*.*?\*/|//[^\n]*', ' ', text, flags=re.S)
        text = re.sub(r'^\s*#(?:[^\n]*\\\n)*[^\n]*', ' ', text, flags=re.M)
        for name, shift, value in self.CONSTANT.findall(text):
            value = 1 << int(value, 0) if shift else int(value, 0)
            self.constants.setdefault(name, (value, source))
        tokens = re.findall(r'\w+|[^\s\w]', text)
        i = 0
        while i + 2 < len(tokens):
            kind, tag, brace = tokens[i:i + 3]
            name = self.NAME.match(tag)
            if kind in ('struct', 'union') and name and brace == '{':
                end = self.closing(tokens, i + 2)
                self.structs[name.group(1)] = Struct(kind, tokens[i + 3:end], source)
                i = end
            else:
                i += 1

    @staticmethod
    def closing(tokens, at):
        """Index of the brace that closes the one at index at."""
        depth = 0
        for i in range(at, len(tokens)):
            depth += {'{': 1, '}': -1}.get(tokens[i], 0)
            if depth == 0:
                return i
        raise HeaderError('a brace is never closed')

    def get(self, name):
        """A struct with its members computed, None if no header has it."""
        struct = self.structs.get(name)
        if struct is not None and struct.bits < 0:
            struct.bits = self.place(struct.tokens, struct.kind, 0, struct.members)
        return struct

    def place(self, tokens, kind, base, members):
        """Place the members of one struct or union at bit base. Returns its size in bits."""
        at, size = base, 0
        for declaration in self.split(tokens):
            bits = self.declare(declaration, at, members)
            size = max(size, at + bits - base)
            if kind == 'struct':
                at += bits
        return size

    def split(self, tokens):
        """Declarations of a struct's body, each without its semicolon."""
        start, i = 0, 0
        while i < len(tokens):
            if tokens[i] == '{':
                i = self.closing(tokens, i)
            elif tokens[i] == ';':
                yield tokens[start:i]
                start = i + 1
            i += 1

    def declare(self, tokens, at, members):
        """Add what one declaration declares. Returns the bits that it occupies."""
        if tokens[0] in ('struct', 'union') and tokens[1] == '{':
            end = self.closing(tokens, 1)
            return self.place(tokens[2:end], tokens[0], at, members)
        if tokens[0] == 'DECLARE_FLEX_ARRAY':
            comma = tokens.index(',')
            tokens = tokens[2:comma] + [tokens[comma + 1], '[', ']']
        if tokens[0] == 'u8':
            dims = self.dims(tokens[2:])
            name, nested, width, dims = tokens[1], '', dims[-1], dims[:-1]
        elif tokens[0] in ('struct', 'union'):
            nested = self.NAME.match(tokens[1])
            struct = self.get(nested.group(1)) if nested else None
            if struct is None:
                # Without the _bits suffix it is a struct of CPU types; none of ours is one.
                raise HeaderError('unknown ' + ' '.join(tokens))
            name, nested, width = tokens[2], nested.group(1), struct.bits
            dims = self.dims(tokens[3:])
        else:
            raise HeaderError('cannot read: ' + ' '.join(tokens))
        count = 1
        for n in dims:
            count *= n
        members.append(Member(name, at, width, count, nested))
        return width * count

    @staticmethod
    def dims(tokens):
        """[a][b] as numbers, [] as 0."""
        text = ''.join(tokens)
        if not re.fullmatch(r'(\[\w*\])*', text):
            raise HeaderError('cannot read the dimensions ' + text)
        return [int(n, 0) if n else 0 for n in re.findall(r'\[(\w*)\]', text)]


def read_layouts(path):
    """Our layouts: {layout: {field}} in file order."""
    layouts = {}
    with open(path, encoding='utf-8') as f:
        for line in f:
            m = re.match(r'(LAYOUT|FIELD|ARRAY|SUB)\(([^)]*)\)', line)
            if not m:
                continue
            kind, args = m.group(1), [a.strip() for a in m.group(2).split(',')]
            if kind == 'LAYOUT':
                layouts[args[0]] = set()
            else:
                layouts[args[0]].add(args[1])
    return layouts


def read_constants(path):
    """Names of our constants, those of the X lists spelled out."""
    names = []
    with open(path, encoding='utf-8') as f:
        text = f.read()
    for list_prefix, item, name in re.findall(
            r'(MLX5_\w+_)##name|\bX\((\w+), 0x|\b(MLX5_\w+)\s*=', text):
        if item:
            names.append(item)
        elif name:
            names.append(name)
        else:
            # The list's items came before the line that gives them their prefix.
            names = [list_prefix + n if not n.startswith('MLX5_') else n for n in names]
    return names


def rows(headers, name, layout, fields):
    """Rows of one layout as text, empty if the headers do not have it."""
    struct = headers.get(name)
    if struct is None:
        return []
    out = [f'SIZE({layout}, {struct.bits:#x})']
    for m in struct.members:
        if m.name in fields:
            nested = m.type or 'none'
            out.append(f'ROW({layout}, {m.name}, {m.offset:#05x}, {m.width}, {m.count}, {nested})')
    return out


def print_constants(headers, names):
    """Rows of the constants that both know, by the header that they are from."""
    known = [n for n in names if n in headers.constants]
    for source in dict.fromkeys(headers.constants[n][1] for n in known):
        print(f'\n/* Source: {source} */')
        for name in known:
            value, where = headers.constants[name]
            if where == source:
                print(f'CONST({name}, {value:#x})')


def main():
    parser = cli.Parser('prm-table', description=__doc__,
                        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--layouts', required=True, help='our layouts.def')
    parser.add_argument('--constants', required=True, help='our mlx5_prm_const.h')
    parser.add_argument('--source', required=True, help='release and folder of the headers')
    parser.add_argument('--alias', action='append', default=[], metavar='OURS=THEIRS',
                        help='a layout that the headers call otherwise')
    parser.add_argument('headers', nargs='+', metavar='HEADER')
    args = parser.parse_args()

    headers = Headers()
    for path in args.headers:
        headers.read(path, f'{args.source}/{os.path.basename(path)}')
    alias = dict(a.split('=', 1) for a in args.alias)

    print('/* SPDX-License-Identifier: BSD-3-Clause')
    print(' *')
    print(' * Written by devtools/prm-table.py. SIZE(layout, bits),')
    print(' * ROW(layout, field, bit offset, bits of an element, elements (0: flexible), struct),')
    print(' * CONST(name, value).')
    print(' */')
    source = None
    for layout, fields in read_layouts(args.layouts).items():
        name = alias.get(layout, layout)
        lines = rows(headers, name, layout, fields)
        if not lines:
            continue
        print()
        if headers.structs[name].source != source:
            source = headers.structs[name].source
            print(f'/* Source: {source} */')
        print('\n'.join(lines))
    print_constants(headers, read_constants(args.constants))


if __name__ == '__main__':
    try:
        main()
    except (HeaderError, OSError) as error:
        sys.exit(f'prm-table.py: {error}')
