#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Set up, build and run every test: all suites in the normal build, then the suites "unit" and
# "device" once more under the address and undefined-behaviour sanitizers. The last line counts.
set -uo pipefail

ROOT=$(cd "$(dirname "$0")/.." && pwd)
BUILD=$ROOT/build
BUILD_SANITIZED=$ROOT/build-sanitized

say() { echo "test: $*"; }

# Outcomes of a "meson test", each test counted once: "passed failed skipped". With a second log, of
# the failed tests run again alone, those count as that one says.
count() {
	python3 - "$@" <<-'EOF'
	import json, sys
	outcome = {'OK': 0, 'EXPECTEDFAIL': 0, 'SKIP': 2}
	results = {}
	try:
	    for number, path in enumerate(sys.argv[1:]):
	        with open(path) as log:
	            for line in log:
	                test = json.loads(line)
	                if number == 0 or outcome.get(results.get(test['name']), 1) == 1:
	                    results[test['name']] = test['result']
	except OSError:
	    results['log'] = 'missing'
	counts = [0, 0, 0]
	for result in results.values():
	    counts[outcome.get(result, 1)] += 1
	print(*counts)
	EOF
}

# Names of the tests that failed.
failed_tests() {
	python3 - "$1" <<-'EOF'
	import json, sys
	with open(sys.argv[1]) as log:
	    tests = [json.loads(line) for line in log]
	print(*sorted({test['name'].split(' / ')[-1] for test in tests
	               if test['result'] not in ('OK', 'EXPECTEDFAIL', 'SKIP')}))
	EOF
}

passed=0 failed=0 skipped=0

# Run suites in a build directory and add up their outcomes. What fails runs once more, alone, and
# that is said: the first log is kept as first-*.
run() {
	local dir=$1 logs=$1/meson-logs suite p f s again args=()
	shift
	for suite in "$@"; do
		args+=(--suite "$suite")
	done
	rm -f "$logs"/{,first-}testlog.json
	meson test -C "$dir" --no-rebuild --print-errorlogs "${args[@]}"
	read -r p f s < <(count "$logs/testlog.json")
	# Many failures are no accident.
	if [ "$f" -gt 0 ] && [ "$f" -le 3 ] && [ -s "$logs/testlog.json" ]; then
		again=$(failed_tests "$logs/testlog.json")
		say "FAILED AT FIRST, once more alone: $again"
		for suite in json txt; do
			mv "$logs/testlog.$suite" "$logs/first-testlog.$suite"
		done
		# shellcheck disable=SC2086  # names are words
		meson test -C "$dir" --no-rebuild --print-errorlogs --num-processes 1 \
			"${args[@]}" $again
		read -r p f s < <(count "$logs/first-testlog.json" "$logs/testlog.json")
		[ "$f" -gt 0 ] || say "unsteady, passed only alone: $again"
	fi
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
*) echo "test: unknown argument $1; see --help" >&2; exit 2 ;;
esac

cd "$ROOT" || exit 1
usertools/setup.sh || exit 1
build_and_run "$BUILD" "" unit device system
build_and_run "$BUILD_SANITIZED" "-Db_sanitize=address,undefined -Db_lundef=false" unit device
line="$passed passed, $failed failed"
[ "$skipped" -eq 0 ] || line="$line, $skipped skipped"
echo "$line"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
