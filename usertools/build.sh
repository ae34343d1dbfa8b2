#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Build, quietly unless it fails. A build directory that exists is brought to the options given.
set -euo pipefail

ROOT=$(cd "$(dirname "$0")/.." && pwd)

usage() {
	cat <<-EOT
	Usage: usertools/build.sh [--only "TARGET..."] [DIR [-DOPTION=VALUE]...]
	Builds in DIR (build/ of this tree), with these options of meson, all or only some targets of
	ninja's. See usertools/setup.sh first.
	EOT
}

configure() {
	local dir=$1
	shift
	if [ ! -f "$dir/build.ninja" ]; then
		meson setup "$dir" "$ROOT" "$@"
	elif [ $# -gt 0 ]; then
		meson configure "$dir" "$@"
	fi
}

TARGETS=()
if [ "${1-}" = --only ] && [ $# -gt 1 ]; then
	read -ra TARGETS <<<"$2"
	shift 2
fi
case "${1-}" in
-h|--help) usage; exit 0 ;;
--version) "$ROOT/usertools/version.sh" build; exit ;;
-*) echo "build: $1 is no folder; see --help" >&2; exit 2 ;;
esac
DIR=${1-$ROOT/build}
[ $# -eq 0 ] || shift
LOG=$DIR/build.log
echo "build: building in $(basename "$DIR")/"
mkdir -p "$DIR"
if ! { configure "$DIR" "$@" && ninja -C "$DIR" "${TARGETS[@]}"; } >"$LOG" 2>&1; then
	tail -n 100 "$LOG" >&2
	echo "build: failed, see $LOG" >&2
	exit 1
fi
