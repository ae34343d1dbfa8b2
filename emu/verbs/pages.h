/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Page pinning of an ordinary process: a stand-in for what the kernel does for a memory region.
 *
 * Owns: io_uring rings whose registered buffers pin user pages, by the same kernel path as a
 * memory region (pinned for long, faulted in, charged as locked memory). Where io_uring is
 * forbidden, mlock(): it keeps pages resident but not in place, which is said once.
 * Threads: any; registrations on different rings run in parallel, short locks otherwise.
 */
#ifndef EMU_PAGES_H
#define EMU_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct emu_pages;

/* Pages that are held: at most a registered buffer's length. */
struct emu_pages_hold {
	uint8_t *addr;
	size_t len;
	int ring;                  /* or EMU_PAGES_LOCKED */
	unsigned int index;        /* in the ring's table */
};

#define EMU_PAGES_LOCKED (-1)

/* A registered buffer is at most this long. */
#define EMU_PAGES_HOLD_MAX (UINT64_C(1) << 30)

/** Returns 0 or -ENOMEM. */
int emu_pages_create(struct emu_pages **pages);
/** Everything was dropped before. @p pages may be NULL. */
void emu_pages_destroy(struct emu_pages *pages);

/**
 * Hold [addr, addr + len), page-aligned and at most EMU_PAGES_HOLD_MAX, within one mapping.
 * Where that is not @p writable, its pages can only be locked.
 * Returns 0, -EFAULT (a page can't be had), -ENOMEM (limit of locked memory, or table full),
 * -EPERM.
 */
int emu_pages_hold(struct emu_pages *pages, void *addr, size_t len, bool writable,
		struct emu_pages_hold *hold);
/** The addresses may be unmapped by now, or mapped to other memory. */
void emu_pages_drop(struct emu_pages *pages, const struct emu_pages_hold *hold);

#endif /* EMU_PAGES_H */
