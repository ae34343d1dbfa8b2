#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Compare how fast the software ConnectX and DPDK's software vhost move a guest's packets.
#
# Same guest, same cores, same topology for both: dpdk-test-vdpa's guest on one core sends plain
# packets, the other side on the other core brings each of them back. That other side is the
# emulated device behind our driver (wire=loop), or net_vhost in testpmd, forwarding its one port
# to itself.
set -euo pipefail

ROOT=$(cd "$(dirname "$0")/.." && pwd)
BUILD=$ROOT/build
SECONDS_EACH=5
QUEUES=1
RINGS="split packed"
ROUNDS=3
MEM=256M
BDF=0000:e1:00.2
GUEST_CORE=1			# the guest's; its main lcore and the peer use the other one
OTHER_CORE=0
SOCKET_TIMEOUT=20		# seconds until testpmd must have opened its socket

usage() {
	cat <<-EOT
	Usage: devtools/throughput.sh [--build DIR] [--seconds N] [--queues N]
	                              [--rings split|packed] [--rounds N]
	Prints millions of packets a second through the emulated device and through DPDK's net_vhost,
	with split and packed rings or only one of them, and their ratio: medians of so many rounds (3)
	of so many seconds (5), taken in turns.
	EOT
}

bad() { echo "throughput: $1; see --help" >&2; exit 2; }

while [ $# -gt 0 ]; do
	case "$1" in
	-h|--help) usage; exit 0 ;;
	--version) "$ROOT/usertools/version.sh" throughput; exit ;;
	--build|--seconds|--queues|--rings|--rounds) [ $# -gt 1 ] || bad "$1 needs a value" ;;
	*) bad "unknown argument $1" ;;
	esac
	case "$1" in
	--build) BUILD=$2 ;;
	--seconds) SECONDS_EACH=$2 ;;
	--queues) QUEUES=$2 ;;
	--rings) RINGS=$2 ;;
	--rounds) ROUNDS=$2 ;;
	esac
	shift 2
done
case "$RINGS" in
"split packed"|split|packed) ;;
*) bad "--rings $RINGS: must be split or packed" ;;
esac
[[ "$ROUNDS" =~ ^[1-9][0-9]*$ ]] || bad "--rounds $ROUNDS: must be a number from 1 on"
APP=$BUILD/app/test-vdpa/dpdk-test-vdpa
[ -x "$APP" ] || bad "$APP is not built"

DIR=$(mktemp -d)
PEER=
leave() {
	if [ -n "$PEER" ]; then
		kill "$PEER" 2>/dev/null || true
		wait "$PEER" 2>/dev/null || true
	fi
	rm -rf "$DIR"
}
trap leave EXIT

eal() { echo "-m 128 --no-pci --in-memory --no-telemetry --file-prefix throughput$$-$1"; }

# Run the bench with the options given behind "--", after what comes in front of it. Prints nothing.
bench() {
	"${@:1:$#-1}" --bench throughput --seconds "$SECONDS_EACH" --queues "$QUEUES" --mem "$MEM" \
		--json "$DIR/result.json" ${!#} >"$DIR/bench.log" 2>&1 && return
	cat "$DIR/bench.log" >&2
	return 1
}

# Packets a second that came back, in millions.
mpps() { python3 -c 'import json, sys; print("%.3f" % json.load(open(sys.argv[1]))["mpps"]["rx"])' \
	"$DIR/result.json"; }

median() { python3 -c 'import statistics, sys; print("%.3f" % statistics.median(map(float, sys.argv[1:])))' \
	"$@"; }

run_emulated() {
	# shellcheck disable=SC2046  # options are words
	bench "$BUILD/emu/mlx5-emu-run" -- "$APP" -l "$OTHER_CORE,$GUEST_CORE" $(eal guest) \
		"--vdev=vdpa_mlx5_persist0,dev=$BDF" -- "$1"
}

start_peer() {
	local waited=0
	mkfifo "$DIR/stdin"	# testpmd leaves when its input ends
	# shellcheck disable=SC2046
	dpdk-testpmd --main-lcore "$GUEST_CORE" -l "$GUEST_CORE,$OTHER_CORE" $(eal peer) \
		"--vdev=net_vhost0,iface=$DIR/vhost,queues=$QUEUES" -- --auto-start \
		--forward-mode=io --port-topology=loop --rxq="$QUEUES" --txq="$QUEUES" \
		--total-num-mbufs=16384 --no-lsc-interrupt <>"$DIR/stdin" >"$DIR/peer.log" 2>&1 &
	PEER=$!
	until [ -S "$DIR/vhost" ]; do
		if ! kill -0 "$PEER" 2>/dev/null || [ $((waited += 1)) -gt $((SOCKET_TIMEOUT * 10)) ]; then
			cat "$DIR/peer.log" >&2
			echo "throughput: dpdk-testpmd does not start" >&2
			return 1
		fi
		sleep 0.1
	done
	sleep 1		# it starts forwarding after it has opened the socket
}

stop_peer() {
	kill "$PEER"
	wait "$PEER" 2>/dev/null || true
	PEER=
	rm -f "$DIR/stdin" "$DIR/vhost"
}

run_vhost() {
	start_peer "$1"
	# shellcheck disable=SC2046
	bench "$APP" -l "$OTHER_CORE,$GUEST_CORE" $(eal guest) -- --socket "$DIR/vhost" "$1"
	stop_peer
}

echo "Packets that come back, millions a second, $QUEUES queue pair(s), packets of 64 bytes:"
printf '%-8s %12s %12s %8s\n' rings emulated net_vhost ratio
for rings in $RINGS; do
	option=
	[ "$rings" = split ] || option=--packed
	emulated=() vhost=()
	for ((round = 0; round < ROUNDS; round++)); do
		run_emulated "$option"
		emulated+=("$(mpps)")
		run_vhost "$option"
		vhost+=("$(mpps)")
	done
	emulated=$(median "${emulated[@]}")
	vhost=$(median "${vhost[@]}")
	printf '%-8s %12s %12s %8s\n' "$rings" "$emulated" "$vhost" \
		"$(python3 -c "print('%.2f' % ($emulated / $vhost))")"
done
