#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Prepare a Debian 12 machine: install the packages that the build and the demo need, reserve 2 MiB
# hugepages, mount hugetlbfs. Does only what is missing, so it may run as often as you like; it never
# lowers what is there.
set -euo pipefail

PACKAGES=(
	gcc libc6-dev meson ninja-build pkg-config python3
	libdpdk-dev dpdk-dev		# the libraries; dpdk-testpmd
	libibverbs-dev			# libibverbs and libmlx5
	liburing-dev			# the emulator pins memory with it
	libnuma-dev libjson-c-dev libcmocka-dev
)
# With --guest, for tests that boot Linux in QEMU. The kernel is unpacked, not installed.
GUEST_PACKAGES=(qemu-system-x86 busybox-static)
GUEST_KERNEL=linux-image-cloud-amd64
GUEST_MODULES=(virtio virtio_ring virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci failover
	net_failover virtio_net)
GUEST_DIR=/var/cache/mlx5_persist/guest
HUGEPAGES=1024		# free 2 MiB pages that make demo and tests comfortable
HUGEPAGES_LEAST=256	# and what they can't do without
SYSFS=/sys/kernel/mm/hugepages/hugepages-2048kB
MOUNT=/dev/hugepages

say() { echo "setup: $*"; }
die() { echo "setup: $*" >&2; exit 1; }
root() { [ "$(id -u)" -eq 0 ] || die "run me as root: need to $*"; }

usage() {
	cat <<-EOF
	Usage: usertools/setup.sh [--guest | --help | --version]
	Installs Debian packages, reserves $HUGEPAGES hugepages of 2 MiB and mounts hugetlbfs,
	each only if missing.
	--guest  instead: what the tests with a guest of QEMU need, which are QEMU, busybox, and a
	         kernel in $GUEST_DIR
	EOF
}

# Install those of the packages named that are missing.
packages() {
	local missing=() package
	command -v dpkg-query >/dev/null || die "this is no Debian: install $* by other means"
	for package in "$@"; do
		[ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
			missing+=("$package")
	done
	if [ ${#missing[@]} -eq 0 ]; then
		say "packages: all $# installed"
		return
	fi
	root "install ${missing[*]}"
	say "packages: installing ${missing[*]}"
	export DEBIAN_FRONTEND=noninteractive
	apt-get -qq update || die "apt-get update failed: is there a network?"
	apt-get -qq -y --no-install-recommends -o Dpkg::Use-Pty=0 install "${missing[@]}" >/dev/null ||
		die "apt-get install failed: see above"
	say "packages: installed"
}

free_pages() { cat $SYSFS/free_hugepages; }
total_pages() { cat $SYSFS/nr_hugepages; }

# Pages to have in all: HUGEPAGES free ones, but no more new ones than a quarter of free memory.
wanted_pages() {
	local available_mb
	available_mb=$(awk '/^MemAvailable:/ { print int($2 / 1024) }' /proc/meminfo)
	local new=$((HUGEPAGES - $(free_pages))) most=$((available_mb / 4 / 2))
	echo $(($(total_pages) + (new < most ? new : most)))
}

hugepages() {
	local want
	[ -d $SYSFS ] || die "this kernel has no 2 MiB hugepages ($SYSFS is missing)"
	# Half of them free is plenty: a second run beside a running program reserves no more.
	if [ "$(free_pages)" -ge $((HUGEPAGES / 2)) ]; then
		say "hugepages: $(free_pages) of $(total_pages) free"
		return
	fi
	want=$(wanted_pages)
	if [ "$want" -gt "$(total_pages)" ]; then
		root "reserve hugepages"
		echo "$want" >$SYSFS/nr_hugepages || die "can't write $SYSFS/nr_hugepages"
		say "hugepages: asked for $want, got $(total_pages), $(free_pages) free"
	fi
	[ "$(free_pages)" -ge $HUGEPAGES_LEAST ] ||
		die "hugepages: $(free_pages) free, at least $HUGEPAGES_LEAST needed: free some memory"
}

hugetlbfs() {
	local mounted
	mounted=$(awk '$3 == "hugetlbfs" && $4 ~ /pagesize=2M/ { print $2; exit }' /proc/mounts)
	if [ -n "$mounted" ]; then
		say "hugetlbfs: mounted on $mounted"
		return
	fi
	root "mount hugetlbfs"
	mkdir -p $MOUNT
	mount -t hugetlbfs -o pagesize=2M none $MOUNT || die "can't mount hugetlbfs on $MOUNT"
	say "hugetlbfs: mounted on $MOUNT"
}

# The current folder gets a package's kernel, and its modules for a virtio NIC.
unpack_kernel() {
	local module
	apt-get -qq -o APT::Sandbox::User=root download "$1" || return
	dpkg-deb --extract "$1"_*.deb tree || return
	cp tree/boot/vmlinuz-* vmlinuz || return
	for module in "${GUEST_MODULES[@]}"; do
		cp "$(find tree/lib/modules -name "$module.ko")" . || return
	done
	rm -rf tree ./*.deb
}

# Made aside, and then renamed: what is there is whole.
guest_kernel() {
	local package new=$GUEST_DIR.new
	if [ -e $GUEST_DIR/vmlinuz ]; then
		say "guest: a kernel is in $GUEST_DIR"
		return
	fi
	root "make $GUEST_DIR"
	apt-get -qq update || die "apt-get update failed: is there a network?"
	package=$(apt-cache depends $GUEST_KERNEL | awk '/Depends: linux-image-/ { print $2; exit }')
	[ -n "$package" ] || die "guest: there is no package $GUEST_KERNEL"
	rm -rf $GUEST_DIR "$new"
	mkdir -p "$new"
	say "guest: unpacking $package"
	(cd "$new" && unpack_kernel "$package") || die "guest: no kernel from $package: see above"
	mv "$new" $GUEST_DIR
	say "guest: $GUEST_DIR is ready"
}

case "${1-}" in
'') ;;
--guest)
	packages "${GUEST_PACKAGES[@]}"
	guest_kernel
	exit
	;;
-h|--help) usage; exit 0 ;;
--version) "$(dirname "$0")/version.sh" setup; exit ;;
*) echo "setup: unknown argument $1; see --help" >&2; exit 2 ;;
esac
packages "${PACKAGES[@]}"
hugepages
hugetlbfs
say "ready: meson setup build && ninja -C build"
