#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Compare NVIDIA's driver and ours on one emulated device: see devtools/bench.sh --help.
set -euo pipefail

TOOLS=$(cd "$(dirname "$0")" && pwd)

# bench.py reads the options, then sets up the rest and builds.
command -v python3 >/dev/null || "$TOOLS/../usertools/setup.sh"
exec python3 -B "$TOOLS/bench.py" "$@"
