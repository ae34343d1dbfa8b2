#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Set up, build and run every test: all suites in the normal build, then the suites "unit" and
# "device" once more under the address and undefined-behaviour sanitizers. The last line counts.
set -uo pipefail

ROOT=$(cd "$(dirname "$0")/.." && pwd)
BUILD=$ROOT/build
BUILD_SANITIZED=$ROOT/build-sanitized

say() { echo "test: $*"; }

# Outcomes of a "meson test", each test counted once: "passed failed skipped".
count() {
	python3 - "$1" <<-'EOF'
	import json, sys
	outcome = {'OK': 0, 'EXPECTEDFAIL': 0, 'SKIP': 2}
	counts = [0, 0, 0]
	try:
	    with open(sys.argv[1]) as log:
	        for line in log:
	            counts[outcome.get(json.loads(line)['result'], 1)] += 1
	except OSError:
	    counts[1] = 1
	print(*counts)
	EOF
}

# Tests at a time: most of them wait for most of their time.
AT_ONCE=4

passed=0 failed=0 skipped=0

# Run suites in a build directory and add up their outcomes.
run() {
	local dir=$1 suite p f s args=()
	shift
	for suite in "$@"; do
		args+=(--suite "$suite")
	done
	rm -f "$dir/meson-logs/testlog.json"
	meson test -C "$dir" --no-rebuild --print-errorlogs --num-processes "$AT_ONCE" \
		"${args[@]}"
	read -r p f s < <(count "$dir/meson-logs/testlog.json")
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
}

build_and_run() {
	local dir=$1 options=$2
	shift 2
	# shellcheck disable=SC2086  # options are words
	if usertools/build.sh "$dir" -Dwerror=true $options; then
		say "running the suites $* in $(basename "$dir")"
		run "$dir" "$@"
	else
		failed=$((failed + 1))
	fi
}

case "${1-}" in
'') ;;
-h|--help) echo "Usage: devtools/test.sh: set up, build, run every test"; exit 0 ;;
--version) "$ROOT/usertools/version.sh" test; exit ;;
*) echo "test: unknown argument $1; see --help" >&2; exit 2 ;;
esac

cd "$ROOT" || exit 1
usertools/setup.sh || exit 1
usertools/setup.sh --guest || say "no guest of QEMU here: its tests are skipped"
build_and_run "$BUILD" "" unit device system
build_and_run "$BUILD_SANITIZED" "-Db_sanitize=address,undefined -Db_lundef=false" unit device
line="$passed passed, $failed failed"
[ "$skipped" -eq 0 ] || line="$line, $skipped skipped"
echo "$line"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
