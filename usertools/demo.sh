#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Show what this project does, from nothing: set up, build, measure a guest's virtio reset with memory
# registrations dropped and kept, with split and packed rings, and beside NVIDIA's driver, then let
# Debian's own dpdk-testpmd send packets through our daemon.
# All on an emulated ConnectX; may be run again at any time.
set -euo pipefail

ROOT=$(cd "$(dirname "$0")/.." && pwd)
BUILD=$ROOT/build
EMU_RUN=$BUILD/emu/mlx5-emu-run
DEVICE=dev=0000:e1:00.2	# the emulated function
MEM=2G
PAIRS=4			# queue pairs
ITERATIONS=10
COMPARED_ITERATIONS=10
RING_MEM=256M		# where rings are compared
RING_SECONDS=2
TRAFFIC_SECONDS=5
WAIT_SECONDS=30		# for another program to come up or to leave

say() { echo "demo: $*"; }
die() { echo "demo: $*" >&2; exit 1; }

case "${1-}" in
'') ;;
-h|--help) echo "Usage: usertools/demo.sh: set up, build, run the demonstration"; exit 0 ;;
--version) "$(dirname "$0")/version.sh" demo; exit ;;
*) echo "demo: unknown argument $1; see --help" >&2; exit 2 ;;
esac

DIR=$(mktemp -d)
DAEMON=''
GUEST=''

# Leaves nothing behind, however it ends.
cleanup() {
	[ -z "$GUEST" ] || kill "$GUEST" 2>/dev/null || true
	[ -z "$DAEMON" ] || kill "$DAEMON" 2>/dev/null || true
	wait
	rm -rf "$DIR"
}
trap cleanup EXIT
trap 'exit 1' INT TERM HUP

# Wait for a program in the background until a command succeeds.
wait_for() {
	local pid=$1 what=$2 log=$3 i
	shift 3
	for ((i = 0; i < WAIT_SECONDS * 10; i++)); do
		"$@" && return
		kill -0 "$pid" 2>/dev/null || break
		sleep 0.1
	done
	tail -n 10 "$log" >&2
	die "$what"
}

# Run a step with its output in a log, shown only if it fails.
quietly() {
	local log=$1
	shift
	"$@" >"$log" 2>&1 && return
	tail -n 40 "$log" >&2
	die "failed: $*"
}

# ---- a reset, with registrations dropped and kept ----

# Run a benchmark of ours: persist=, where the result goes, the benchmark's options.
bench() {
	local persist=$1 result=$2
	shift 2
	quietly "$DIR/bench.log" "$EMU_RUN" -- "$BUILD/app/test-vdpa/dpdk-test-vdpa" \
		-l 0,1 --no-pci --in-memory --file-prefix "demo$$" \
		--vdev="vdpa_mlx5_persist0,$DEVICE,persist=$persist" -- "$@" --json "$DIR/$result.json"
}

resets() {
	local persist=$1
	say "$ITERATIONS resets of a guest with $MEM and $PAIRS queue pairs, persist=$persist"
	bench "$persist" "$persist" --bench reset --mem $MEM --queues $PAIRS --iterations $ITERATIONS
}

table() {
	python3 - "$DIR/off.json" "$DIR/reset.json" <<-'EOF'
	import json, sys
	off, reset = (json.load(open(path)) for path in sys.argv[1:])
	failed = [data['failed'] for data in (off, reset) if data['failed']]
	if failed:
	    sys.exit('demo: ' + failed[0])
	for data in (off, reset):
	    bad = {k: data['packets'][k] for k in ('corrupt', 'lost', 'duplicated') if data['packets'][k]}
	    if bad or data['dma_faults']:
	        sys.exit('demo: packets %s, DMA faults %d' % (bad, data['dma_faults']))
	rows = [(name + ' (ms, median)', [data[key]['median'] / 1000 for data in (off, reset)], '%.3f')
	        for name, key in (('guest without network', 'blackout_us'), ('stop: close', 'close_us'),
	                          ('start: conf', 'conf_us'))]
	rows.append(('memory pinned per reset (MiB)',
	             [data['pinned_bytes'] / 2**20 for data in (off, reset)], '%.0f'))
	rows.append(('firmware commands per reset',
	             [sum(data['commands'].values()) for data in (off, reset)], '%.0f'))
	print()
	print('%-36s%14s%14s%12s' % ('A virtio reset', 'persist=off', 'persist=reset', 'off/reset'))
	for name, (a, b), form in rows:
	    print('%-36s%14s%14s%12s' % (name, form % a, form % b, '%.1f' % (a / b) if b else '-'))
	print('packets received: %d and %d; corrupt, lost, duplicated: none'
	      % (off['packets']['received'], reset['packets']['received']))
	print()
	EOF
}

# ---- split and packed rings ----

rings() {
	local rings
	say "the same driver with split and with packed rings: $ITERATIONS resets, $RING_SECONDS s of traffic"
	for rings in split packed; do
		local option=()
		[ $rings = split ] || option=(--packed)
		bench reset "reset-$rings" --bench reset --mem $RING_MEM --queues $PAIRS \
			--iterations $ITERATIONS "${option[@]}"
		bench reset "throughput-$rings" --bench throughput --mem $RING_MEM \
			--seconds $RING_SECONDS "${option[@]}"
	done
}

rings_table() {
	python3 - "$DIR" <<-'EOF'
	import json, sys
	kinds = ('split', 'packed')
	load = lambda bench, kind: json.load(open('%s/%s-%s.json' % (sys.argv[1], bench, kind)))
	resets, flows = ([load(bench, kind) for kind in kinds] for bench in ('reset', 'throughput'))
	for data in resets + flows:
	    bad = {k: data['packets'][k] for k in ('corrupt', 'lost', 'duplicated') if data['packets'][k]}
	    if data['failed'] or bad or data['dma_faults']:
	        sys.exit('demo: %s, packets %s' % (data['failed'], bad))
	rows = [('reset: close + conf (ms, median)',
	         [(d['close_us']['median'] + d['conf_us']['median']) / 1000 for d in resets]),
	        ('packets there and back, 64 bytes (M/s)', [d['mpps']['rx'] for d in flows])]
	print('\n%-40s%10s%14s' % ('Rings', *kinds))
	for name, values in rows:
	    print('%-40s%10.3f%14.3f' % (name, *values))
	print('corrupt, lost, duplicated: none\n')
	EOF
}

# ---- beside NVIDIA's driver ----

have_peer() {
	compgen -G "$(pkg-config --variable=libdir libdpdk)/dpdk/pmds-*/librte_vdpa_mlx5.so" >"$DIR/peer"
}

# bench.sh's short form. What NVIDIA's driver makes of it is shown, whatever it is.
compare() {
	say "$COMPARED_ITERATIONS resets of NVIDIA's own driver, unmodified, and of ours on one device," \
		"whose commands take what a card's take"
	quietly "$DIR/compare.log" devtools/bench.sh --build "$BUILD" --out "$DIR/compare" --bench reset \
		--gap 0 --config nvidia,reset --attempts 1 --profile cx6dx \
		--mem $MEM --pairs $PAIRS --iterations $COMPARED_ITERATIONS
	printf '\n%s\n\n' "$(<"$DIR/compare/table.txt")"
}

# ---- an unmodified guest program on the daemon ----

start_daemon() {
	"$EMU_RUN" -- "$BUILD/examples/vdpa/dpdk-vdpa" -l 0 -m 64 --no-pci --in-memory \
		--file-prefix "demod$$" --vdev="vdpa_mlx5_persist0,$DEVICE" -- \
		--iface "$DIR/vdpa" >"$DIR/daemon.log" 2>&1 &
	DAEMON=$!
	wait_for $DAEMON "dpdk-vdpa opens no socket" "$DIR/daemon.log" test -S "$DIR/vdpa0"
}

start_testpmd() {
	mkfifo "$DIR/keys"
	# By lines: else its echo of commands lands in the middle of its output.
	stdbuf -oL dpdk-testpmd -l 0,1 -m 256 --no-pci --in-memory --single-file-segments \
		--file-prefix "demog$$" --vdev="net_virtio_user0,path=$DIR/vdpa0,queues=$PAIRS" -- \
		-i --rxq=$PAIRS --txq=$PAIRS --total-num-mbufs=8192 --txonly-multi-flow \
		<"$DIR/keys" >"$DIR/testpmd.log" 2>&1 &
	GUEST=$!
	exec 3>"$DIR/keys"
	wait_for $GUEST "dpdk-testpmd does not start" "$DIR/testpmd.log" \
		grep -q 'testpmd> ' "$DIR/testpmd.log"
}

# A burst of packets from each queue goes round and round for a while; then testpmd only receives, so
# that those under way arrive before we count. All of them together fit into one receive ring.
traffic() {
	local command
	for command in 'set fwd io' 'start tx_first 1'; do echo "$command" >&3; done
	sleep $TRAFFIC_SECONDS
	for command in stop 'set fwd rxonly' start; do echo "$command" >&3; done
	sleep 1
	for command in stop 'show port stats 0'; do echo "$command" >&3; done
	sleep 1
	echo quit >&3
	exec 3>&-
	wait $GUEST || die "dpdk-testpmd failed: $(tail -n 3 "$DIR/testpmd.log")"
	GUEST=
}

stop_daemon() {
	kill -TERM $DAEMON
	wait $DAEMON || die "dpdk-vdpa failed: $(tail -n 3 "$DIR/daemon.log")"
	DAEMON=
	[ ! -e "$DIR/vdpa0" ] || die "dpdk-vdpa left its socket behind"
}

# The last "show port stats" of testpmd's output.
packets() {
	python3 - "$DIR/testpmd.log" <<-'EOF'
	import re, sys
	text = open(sys.argv[1]).read().rsplit('NIC statistics', 1)[-1]
	count = {key: int(value) for key, value in re.findall(r'([RT]X)-packets:\s*(\d+)', text)}
	if not count.get('TX'):
	    sys.exit('demo: dpdk-testpmd sent nothing')
	lost = count['TX'] - count['RX']
	print('\ndpdk-testpmd: sent %d, received %d, lost %d\n' % (count['TX'], count['RX'], lost))
	sys.exit('demo: packets were lost' if lost else 0)
	EOF
}

cd "$ROOT"
usertools/setup.sh
usertools/build.sh
resets off
resets reset
table
rings
rings_table
if have_peer; then
	compare
else
	say "NVIDIA's driver is not installed (librte_vdpa_mlx5.so): ours is not compared with it"
fi
say "$TRAFFIC_SECONDS s of traffic: Debian's dpdk-testpmd as the guest of dpdk-vdpa, $PAIRS queue pairs"
start_daemon
start_testpmd
traffic
stop_daemon
packets
echo "You just saw a guest lose its network for a virtio reset $ITERATIONS times on a software ConnectX," \
	"with its $MEM of memory registered again each time and with the registrations kept, and then" \
	"Debian's own dpdk-testpmd exchange packets through the same driver."
