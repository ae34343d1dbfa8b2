/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the tests of the map part of lib/vhost_iotlb share: an address space of a few cells, and
 * random maps in it.
 */
#ifndef IOTLB_SPACE_H
#define IOTLB_SPACE_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "vhost_iotlb.h"

#define CELLS 64u
#define ROUNDS 20000
#define FILES 3u
#define SEED 0x9e3779b97f4a7c15ull

static uint64_t random_state;

static inline unsigned int
rnd(unsigned int below)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (random_state >> 32) % below;
}

/* An address space of CELLS cells of 1 << shift addresses: all of 64 bits with shift 58. */
struct space {
	unsigned int shift;
};

static const struct space small_space = { .shift = 0 }, full_space = { .shift = 58 };

static inline uint64_t
cell_start(const struct space *s, unsigned int cell)
{
	return (uint64_t)cell << s->shift;
}

static inline uint64_t
cell_last(const struct space *s, unsigned int cell)
{
	return cell_start(s, cell) + (UINT64_C(1) << s->shift) - 1;
}

static inline struct vhost_iotlb_map
model_slice(const struct vhost_iotlb_map *map, uint64_t start, uint64_t last)
{
	struct vhost_iotlb_map s = *map;
	uint64_t by = start - map->start;

	s.start = start;
	s.last = last;
	if (map->backing.ino == 0 || map->addr != 0)
		s.addr += by;
	if (map->backing.ino != 0)
		s.backing.offset += by;
	return s;
}

static inline void
assert_map(const struct vhost_iotlb_map *got, const struct vhost_iotlb_map *want)
{
	assert_non_null(got);
	assert_int_equal(got->start, want->start);
	assert_int_equal(got->last, want->last);
	assert_int_equal(got->addr, want->addr);
	assert_int_equal(got->perm, want->perm);
	assert_int_equal(got->backing.dev, want->backing.dev);
	assert_int_equal(got->backing.ino, want->backing.ino);
	assert_int_equal(got->backing.offset, want->backing.offset);
	assert_int_equal(got->backing.fd, want->backing.fd);
}

/* A map of some cells. Two maps of one file at the same distance between address and offset
 * continue each other, which is likely, since there are few distances. */
static inline struct vhost_iotlb_map
random_map(const struct space *s, unsigned int most_cells)
{
	unsigned int first = rnd(CELLS), room = CELLS - first;
	unsigned int cells = 1 + rnd(room < most_cells ? room : most_cells);
	struct vhost_iotlb_map map = {
		.start = cell_start(s, first),
		.last = cell_last(s, first + cells - 1),
		.perm = rnd(4) ? VHOST_ACCESS_RW : VHOST_ACCESS_RO,
		.backing = { .fd = -1 },
	};

	if (rnd(8) == 0) {                         /* not known what it is: 1:1, or from 0 on */
		map.addr = rnd(2) ? map.start : 0;
		return map;
	}
	map.backing.dev = 1 + rnd(2);
	map.backing.ino = 1 + rnd(FILES);
	map.backing.fd = rnd(9);
	map.backing.offset = rnd(2) ? map.start : 0;
	if (rnd(4))
		map.addr = map.backing.offset;
	return map;
}

static const struct vhost_iotlb_map page = {
	.start = 0x1000, .last = 0x1fff, .addr = 0x7000, .perm = VHOST_ACCESS_RW,
	.backing = { .dev = 1, .ino = 2, .offset = 0x3000, .fd = 4 },
};

#endif /* IOTLB_SPACE_H */
