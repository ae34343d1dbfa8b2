/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Copies between the device and host memory that survive the memory's disappearance.
 *
 * Owns: the handlers of SIGBUS and SIGSEGV, which the program may cover with its own (signals.c
 * sees it), and one record a thread: which table entry it is using, so that an unpin can wait for
 * it, and where a fault in its copy returns to.
 * Threads: any; a thread's first copy allocates its record, which the next thread inherits.
 */
#ifndef EMU_GUARD_H
#define EMU_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct emu_guard;              /* a thread's record */

/** Install the handlers, on top of the program's; again when the program replaced them. Cheap. */
void emu_guard_install(void);

/** Did the program change a handler since it was last asked? Then emu_guard_install() is due. */
bool emu_guard_covered(void);

/** In a child of fork(): another thread, which is not here, may have been at work on the records. */
void emu_guard_forked(void);

/** This thread's record; NULL without memory. */
struct emu_guard *emu_guard_self(void);

/**
 * From here to emu_guard_leave(), emu_guard_wait() on @p entry waits for this thread. Read what
 * @p entry says only afterwards.
 */
void emu_guard_enter(struct emu_guard *g, const void *entry);
void emu_guard_leave(struct emu_guard *g);

/** Wait until no thread is inside with an entry in [from, to). Entries were invalidated before. */
void emu_guard_wait(const void *from, const void *to);

enum emu_guard_op {
	EMU_GUARD_LOAD,
	EMU_GUARD_STORE,
	EMU_GUARD_SET_BITS,        /* of one byte, in one atomic access */
};

/** Copy between host memory and @p buf, at least one byte. An aligned access of 2, 4 or 8 bytes
 * is one load (acquire) or store (release); others are ordered as a whole in the same way.
 * Returns 0, or -EFAULT after a fault in host memory. */
int emu_guard_copy(struct emu_guard *g, void *host, void *buf, uint32_t len, enum emu_guard_op op);

#endif /* EMU_GUARD_H */
