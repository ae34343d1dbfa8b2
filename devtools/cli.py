# SPDX-License-Identifier: BSD-3-Clause
"""What the command lines of the tools have in common."""
import argparse
import os
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[1]


def version():
    """The project's, as its build file has it."""
    return re.search(r"version: '([^']+)'", (ROOT / 'meson.build').read_text())[1]


class Parser(argparse.ArgumentParser):
    """--version; and on bad usage one line, which begins with @name, and status 2."""

    def __init__(self, name, **kwargs):
        super().__init__(allow_abbrev=False, **kwargs)
        self.name = name
        self.add_argument('--version', action='version', version='%s %s' % (
            os.path.basename(self.prog), version()))

    def error(self, message):
        self.exit(2, '%s: %s; see --help\n' % (self.name, message))
