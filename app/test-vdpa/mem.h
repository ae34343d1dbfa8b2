/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guest memory: the files behind a layout, and one mapping of them in this process.
 *
 * Like a VMM's: shared files whose descriptors go to the back-end in the memory table, mapped here
 * at the userspace addresses that the table names. All pages are present from the start, as in a
 * guest that has touched its memory, so that no measurement contains their first touch, unless that
 * is what is to be measured. A struct mem does not change once made: memory at other addresses is a
 * second struct mem, and a region that is plugged in a struct mem_file beside it. No locks, any
 * thread.
 */
#ifndef TEST_VDPA_MEM_H
#define TEST_VDPA_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "layout.h"
#include "msg.h"

enum mem_backing { MEM_MEMFD, MEM_HUGETLBFS };

struct mem_file {
	int fd;
	uint8_t *base;
	uint64_t bytes;
};

struct mem {
	const struct layout *layout;
	enum mem_backing backing;
	struct mem_file file[LAYOUT_MAX_FILES];
};

/** Size of the default hugepage, which MEM_HUGETLBFS is made of; 0 if the kernel has none. */
uint64_t mem_hugepage_bytes(void);

/**
 * New files and a mapping, zeroed; @p touched: all pages are present. @p layout outlives it.
 * Returns 0, or a negative errno with one line in @p err.
 */
int mem_create(struct mem **m, const struct layout *layout, enum mem_backing backing, bool touched,
		char *err, size_t errlen);

/** The same files, mapped at other addresses than @p of. Returns 0 or as mem_create(). */
int mem_map_again(struct mem **m, const struct mem *of, char *err, size_t errlen);

/** A new file and its mapping, zeroed and touched, as mem_create(). */
int mem_file_create(struct mem_file *f, enum mem_backing backing, uint64_t bytes, char *err,
		size_t errlen);
/** Unmap and close. One that was destroyed, or never made but { .fd = -1 }, is fine. */
void mem_file_destroy(struct mem_file *f);

/** Unmap, and close the files. NULL is fine. */
void mem_destroy(struct mem *m);

/** Where guest address @p gpa is mapped. It must lie in a span of the layout. */
void *mem_ptr(const struct mem *m, uint64_t gpa);

/** The memory table for a set of slices. Descriptors stay owned by @p m. */
void mem_table(const struct mem *m, const struct layout_slices *slices, struct vu_mem_table *table);
/** Add a whole file to a table that has room. */
void mem_table_add(struct vu_mem_table *table, uint64_t gpa, const struct mem_file *f);

#endif /* TEST_VDPA_MEM_H */
