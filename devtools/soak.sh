#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Thousands of resets under traffic, watched for what grows: see devtools/soak.sh --help.
set -euo pipefail

exec python3 -B "$(cd "$(dirname "$0")" && pwd)/soak.py" "$@"
