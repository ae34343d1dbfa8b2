/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Host memory of an in-process device: struct emu_host_ops over this process's own pages.
 *
 * Owns: bus addresses and what they mean, the aliases through which DMA goes, the fault guard.
 * Locks: one for the table of bus addresses, held briefly by pin and unpin; reads and writes
 * take none.
 *
 * A pin means pages, not addresses. Shared memory is mapped a second time (its alias), so that
 * DMA still reaches the pinned pages when the program has unmapped them or mapped others at
 * their address. Private memory can't be mapped twice: DMA goes to the program's address. A page
 * that is gone at the time of the access (its file was truncated, private memory was unmapped)
 * is -EFAULT, never a crash: SIGBUS and SIGSEGV are caught around each copy, and passed to the
 * program's own handlers otherwise.
 *
 * The alias follows the file, where a card keeps the page. In checking mode that is not left to
 * chance: an access to a page that is not the pinned one any more is -EFAULT, and said once a pin.
 */
#ifndef EMU_HOST_H
#define EMU_HOST_H

#include "emu.h"

struct emu_host;

/** Returns 0 or -ENOMEM. */
int emu_host_create(struct emu_host **host);

/** Check every access from here on; before the first pin.
 * Returns 0, -EPERM where page frame numbers are not shown (orphans.h), or another negative
 * errno. */
int emu_host_check_orphans(struct emu_host *host);

/** Unpins what is left. No other call may be under way. @p host may be NULL. */
void emu_host_destroy(struct emu_host *host);

/** The operations; their host argument is a struct emu_host. */
extern const struct emu_host_ops emu_host_ops;

#endif /* EMU_HOST_H */
