/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The guest's physical address space: which file backs which guest addresses, where rings and
 * buffers lie in it, and how a vhost-user memory table may slice it. Arithmetic alone; no memory is
 * touched.
 *
 *   one region:    span 0 (file 0)
 *   two:           span 0 (file 0) | hole up to 4 GiB | span 1 (file 0, behind span 0)
 *   three or more: span 0 (file 0) | hole up to 4 GiB | span 1 (file 0) | span 2 (file 1)
 *
 * as QEMU lays out a PC's memory below and above 4 GiB, with a second memory back-end for three or
 * more. Guest address to (file, offset) never changes; slices only cut spans in pieces. Rings lie
 * at the head of the spans and are never cut, since a vhost back-end wants each within one region.
 * Buffers are spread over all that is left and may well be cut.
 *
 * Memory that is plugged in later is a region of its own behind all spans, with room for every
 * second buffer. It is no span: slices do not show it.
 *
 * No locks, any thread.
 */
#ifndef TEST_VDPA_LAYOUT_H
#define TEST_VDPA_LAYOUT_H

#include <stdint.h>

#define LAYOUT_MAX_SPANS 3
#define LAYOUT_MAX_FILES 2
#define LAYOUT_MAX_SLICES 8		/* what DPDK's vhost library takes in a table */
#define LAYOUT_PAGE (2ull << 20)	/* spans are made of these: 2 MiB hugepages fit */
#define LAYOUT_BUF_BYTES 2048u

struct layout_cfg {
	uint64_t bytes;		/* of guest memory, a multiple of page */
	uint64_t page;		/* granularity of spans: LAYOUT_PAGE or a larger hugepage */
	unsigned int regions;	/* 1 to LAYOUT_MAX_SLICES */
	unsigned int rings;
	uint64_t ring_bytes;	/* room for one ring */
	unsigned int bufs;	/* of LAYOUT_BUF_BYTES */
	uint64_t plug_bytes;	/* of memory that is plugged in later; may be 0 */
};

struct layout_span {
	uint64_t gpa;
	uint64_t bytes;
	uint64_t file_off;
	unsigned int file;
	uint64_t rings_off;	/* first ring; never guest address 0 */
	uint64_t data_off;	/* behind the rings: from here on it may be cut */
};

struct layout {
	struct layout_cfg cfg;
	unsigned int nspans;
	struct layout_span span[LAYOUT_MAX_SPANS];
	unsigned int nfiles;
	uint64_t file_bytes[LAYOUT_MAX_FILES];
	uint64_t ring_stride;
	uint64_t buf_stride;
	uint64_t plug_gpa;
	uint64_t plug_stride;
};

struct layout_slice {
	uint64_t gpa;
	uint64_t bytes;
	uint64_t file_off;
	unsigned int file;
};

struct layout_slices {
	unsigned int n;
	struct layout_slice s[LAYOUT_MAX_SLICES];
};

/** Returns 0, or -ENOSPC when the memory is too small for its contents or its regions. */
int layout_init(struct layout *l, const struct layout_cfg *cfg);

uint64_t layout_ring_gpa(const struct layout *l, unsigned int ring);
uint64_t layout_buf_gpa(const struct layout *l, unsigned int buf);
/** Where a buffer lies in memory that is plugged in. Returns 0, or -ENOENT if it has no place. */
int layout_plug_off(const struct layout *l, unsigned int buf, uint64_t *off);

/**
 * Slice the spans into @p n regions of unequal size, cut at multiples of @p align.
 * The cuts depend on @p seed. Returns 0, or -ENOSPC if there is no room for so many.
 */
int layout_slice(const struct layout *l, unsigned int n, uint64_t align, uint64_t seed,
		struct layout_slices *out);

#endif /* TEST_VDPA_LAYOUT_H */
