/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Dirty logs: which pages of a guest have been written since somebody looked last, and the copying
 * of those from one memory to another with the same layout.
 *
 * A log has a bit for each DIRTY_PAGE bytes of guest address space, holes included, in the layout
 * of vhost (bit n % 8 of byte n / 8). Writers set bits after they have written, with atomic
 * operations; a reader clears a bit before it copies the page. What is written in between is found
 * again.
 *
 * Any thread may mark; one thread at a time copies.
 */
#ifndef TEST_VDPA_DIRTY_H
#define TEST_VDPA_DIRTY_H

#include <stdint.h>

#include "layout.h"

#define DIRTY_PAGE 4096u

struct mem;

struct dirty_log {
	uint64_t *words;
	uint64_t bytes;
	int fd;			/* the shared file, for vhost-user */
};

/** A log without marks for all guest addresses of a layout. Returns 0 or a negative errno. */
int dirty_open(struct dirty_log *log, const struct layout *layout);
void dirty_close(struct dirty_log *log);

/** Mark the pages of a range, which lies in the layout. */
void dirty_mark(struct dirty_log *log, uint64_t gpa, uint64_t len);

/**
 * Copy the pages that are marked in one of the logs, and clear the marks. Returns how many pages.
 */
uint64_t dirty_copy(struct dirty_log *const log[], unsigned int n, const struct mem *from,
		const struct mem *to);

/** Copy all pages. */
void dirty_copy_all(const struct mem *from, const struct mem *to);

/** How many pages differ between two memories of one layout. */
uint64_t dirty_compare(const struct mem *a, const struct mem *b);

#endif /* TEST_VDPA_DIRTY_H */
