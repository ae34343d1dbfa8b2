/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mlx5-emu-pin-bench SIZE_MB [ROUNDS]: what it takes to pin memory, and nothing else.
 *
 * The memory is shared (a memfd), in use by somebody, and newly mapped here in every round, as a
 * guest's memory is when a back-end gets it. One thread pins it, in regions of at most 1 GiB.
 *
 * Prints one line of JSON: {"bytes":N,"us":{"min":N,"median":N,"max":N}}.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "host.h"

#define EXIT_USAGE 2
#define NS_PER_S UINT64_C(1000000000)
#define NS_PER_US 1e3
#define BYTES_PER_MB (UINT64_C(1) << 20)
#define SIZE_MB_MAX (UINT64_C(1) << 20)
/* What one memory region of the host interface holds at most: io_uring's limit for a buffer. */
#define REGION_BYTES (UINT64_C(1) << 30)

enum { ROUNDS_DEFAULT = 5, ROUNDS_MAX = 1000 };

static uint64_t
now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * NS_PER_S + now.tv_nsec;
}

/* Pin all of [addr, addr + len), and unpin it. @return 0 or a negative errno; *ns is the time that
 * pinning took. */
static int
round_trip(struct emu_host *host, uint64_t addr, uint64_t len, uint64_t *buses, uint64_t *ns)
{
	uint64_t at, start = now_ns();
	unsigned int n = 0;
	int ret = 0;

	for (at = 0; at < len && ret == 0; at += REGION_BYTES) {
		ret = emu_host_ops.pin(host, addr + at,
			len - at < REGION_BYTES ? len - at : REGION_BYTES, EMU_PIN_WRITE,
			&buses[n]);
		n += ret == 0;
	}
	*ns = now_ns() - start;
	while (n > 0)
		emu_host_ops.unpin(host, buses[--n]);
	return ret;
}

static int
by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* @p ns gets the time of each round. @return 0 or a negative errno. */
static int
measure(struct emu_host *host, int fd, uint64_t len, uint64_t *ns, unsigned int rounds)
{
	uint64_t *buses = calloc((len + REGION_BYTES - 1) / REGION_BYTES, sizeof(*buses));
	unsigned int i;
	void *map;
	int ret = buses != NULL ? 0 : -ENOMEM;

	for (i = 0; i < rounds && ret == 0; i++) {
		map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (map == MAP_FAILED) {
			ret = -errno;
			break;
		}
		ret = round_trip(host, (uintptr_t)map, len, buses, &ns[i]);
		munmap(map, len);
	}
	free(buses);
	return ret;
}

/* A file whose pages are in memory, mapped by whoever uses it. @return its descriptor or a negative
 * errno. */
static int
make_file(uint64_t len, void **user)
{
	int fd = memfd_create("pin-bench", MFD_CLOEXEC), ret;

	if (fd < 0)
		return -errno;
	*user = MAP_FAILED;
	if (ftruncate(fd, len) == 0)
		*user = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (*user == MAP_FAILED) {
		ret = -errno;
		close(fd);
		return ret;
	}
	memset(*user, 1, len);
	return fd;
}

static int
run(uint64_t len, unsigned int rounds)
{
	uint64_t *ns = calloc(rounds, sizeof(*ns));
	struct emu_host *host = NULL;
	void *user;
	int fd = -1, ret;

	ret = ns != NULL ? emu_host_create(&host) : -ENOMEM;
	if (ret == 0)
		ret = fd = make_file(len, &user);
	if (fd >= 0) {
		ret = measure(host, fd, len, ns, rounds);
		munmap(user, len);
		close(fd);
	}
	if (ret == 0) {
		qsort(ns, rounds, sizeof(*ns), by_size);
		printf("{\"bytes\":%" PRIu64 ",\"us\":{\"min\":%.1f,\"median\":%.1f,\"max\":%.1f}}\n",
			len, ns[0] / NS_PER_US, ns[rounds / 2] / NS_PER_US,
			ns[rounds - 1] / NS_PER_US);
	}
	emu_host_destroy(host);
	free(ns);
	return ret;
}

/* A number from 1 to @p most, 0 if it is none. */
static uint64_t
number(const char *text, uint64_t most)
{
	char *end;
	uint64_t value;

	errno = 0;
	value = strtoull(text, &end, 10);
	return errno == 0 && *end == '\0' && text[0] >= '0' && text[0] <= '9' && value <= most ?
		value : 0;
}

int
main(int argc, char **argv)
{
	uint64_t size = argc > 1 ? number(argv[1], SIZE_MB_MAX) : 0;
	uint64_t rounds = argc > 2 ? number(argv[2], ROUNDS_MAX) : ROUNDS_DEFAULT;
	int ret;

	if (size == 0 || rounds == 0 || argc > 3) {
		fprintf(stderr, "Usage: mlx5-emu-pin-bench SIZE_MB [ROUNDS (%d)]\n",
			ROUNDS_DEFAULT);
		return EXIT_USAGE;
	}
	ret = run(size * BYTES_PER_MB, rounds);
	if (ret < 0) {
		fprintf(stderr, "mlx5-emu-pin-bench: cannot pin %" PRIu64 " MiB: %s\n", size,
			strerror(-ret));
		return EXIT_FAILURE;
	}
	return EXIT_SUCCESS;
}
