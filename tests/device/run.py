#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Run a conformance test on an emulated device, and hold it to leave nothing behind.

  run.py MLX5-EMU-RUN [its options] -- PROGRAM [ARG...]

The program's own verdict comes first: its exit status is ours. If it is 0, the report of the device
must be empty: no object alive, no byte pinned. On a card run the program itself.
"""

import json
import os
import subprocess
import sys
import tempfile


def left_behind(report):
    """What a report says is left, as one line a kind."""
    left = [f'{n} {kind}' for kind, n in report['alive']['by_type'].items() if n != 0]
    if report['alive']['total'] != 0 and not left:
        left.append(f"{report['alive']['total']} objects")
    if report['pins']['bytes_now'] != 0:
        left.append(f"{report['pins']['bytes_now']} pinned bytes")
    return left


def main():
    if '--' not in sys.argv[2:-1]:
        print(__doc__, file=sys.stderr)
        return 2
    at = sys.argv.index('--')
    runner, options, program = sys.argv[1], sys.argv[2:at], sys.argv[at + 1:]
    with tempfile.TemporaryDirectory(prefix='mlx5-device-') as folder:
        path = os.path.join(folder, 'report.json')
        status = subprocess.run([runner, '--report', path] + options + ['--'] + program,
                                check=False).returncode
        if status != 0:
            print(f'{os.path.basename(program[0])} ended with status {status}', file=sys.stderr)
            return 1
        try:
            with open(path, encoding='utf-8') as f:
                report = json.load(f)
        except (OSError, ValueError) as error:
            print(f'no report: {error}', file=sys.stderr)
            return 1
    left = left_behind(report)
    if left:
        print('left behind: ' + ', '.join(left), file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
