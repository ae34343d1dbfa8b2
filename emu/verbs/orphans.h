/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which pages a range consists of, and whether it still does.
 *
 * Owns: page frame numbers of this process's memory, by /proc/self/pagemap. A card keeps the pages
 * that were pinned; the emulator follows their file (host.h). Where the two part, a page has left
 * its file: a hole was punched, the file truncated and grown again. The numbers tell.
 * Threads: any; no lock.
 */
#ifndef EMU_ORPHANS_H
#define EMU_ORPHANS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Returns a file descriptor to close(), -EPERM where page frame numbers are not shown (they take
 * CAP_SYS_ADMIN), or the error of /proc. */
int emu_orphans_open(void);

/** Note the frames of @p n pages from page-aligned @p addr on, which are pinned.
 * Returns 0, -EFAULT when one is not there, or the error of /proc. */
int emu_orphans_note(int fd, const void *addr, size_t n, uint64_t *frames);

/** Are the @p n pages (at least one) from @p addr on those that were noted? Where no frame was
 * noted (0) any page will do. Touches none: a page that is not there is another. */
bool emu_orphans_same(int fd, const void *addr, size_t n, const uint64_t *frames);

#endif /* EMU_ORPHANS_H */
