/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The process's mappings: which of them make up a range, and a second mapping of shared ones.
 *
 * Owns: reading /proc/self/maps and mapping pages again. No state; any thread. The caller sees
 * to it that the program does not change its mappings in the range meanwhile (a registration
 * that races with munmap is undefined on real hardware, too).
 */
#ifndef EMU_VMA_H
#define EMU_VMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes [from, to) of one mapping [start, end). */
struct emu_vma {
	uint64_t start, end;
	uint64_t from, to;
	uint64_t page_size;        /* of its page tables: above 4096 for hugetlbfs */
	uint64_t offset;           /* of start in its file */
	bool writable;
	bool shared;
};

/** Find the mappings that cover [from, to), in ascending order.
 * Returns 0 and a list to free(), -EFAULT if a byte is not mapped readable (or, with @p write, not
 * writable), -ENOMEM, or the error of /proc. */
int emu_vma_find(uint64_t from, uint64_t to, bool write, struct emu_vma **list, size_t *n);

/* A second mapping of a range: offset by a constant from the first, so that pointers convert by one
 * addition. Parts of private mappings are holes in it, which fault. */
struct emu_alias {
	void *area;                /* to unmap; NULL when nothing could be mapped again */
	size_t len;
	uint8_t *base;             /* of the range's first byte */
};

/** Map the shared ones of @p list again; sets .shared = false in those where that is not permitted.
 * Returns 0, -ENOMEM when there is no room or no mapping left, or -EFAULT. */
int emu_vma_alias(struct emu_vma *list, size_t n, struct emu_alias *alias);
void emu_vma_unalias(struct emu_alias *alias);

#endif /* EMU_VMA_H */
