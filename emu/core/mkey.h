/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory keys, as mkey.c makes them and dma.c walks them. Nobody else looks inside.
 * Lock: dev->lock.
 */
#ifndef EMU_MKEY_H
#define EMU_MKEY_H

#include "core.h"

/* A run of bytes of a key that translate in one piece: to a bus address, or to an address in
 * another key. It reaches to the next run, the last one to the end of the key. */
struct emu_mkey_run {
	uint64_t off;              /* from the key's start */
	uint64_t target;
	uint32_t key;              /* indirect keys: whose address target is */
};

struct emu_mkey {
	struct emu_obj obj;
	struct emu_obj *pd;        /* held */
	struct emu_umem *umem;     /* held; NULL if the pages came with the command */
	uint8_t variant;           /* the key's low 8 bits */
	bool indirect;
	bool local_read, local_write;
	uint64_t start, len;       /* len > 0, start + len - 1 does not wrap */
	uint64_t nruns;
	struct emu_mkey_run run[]; /* run[0].off is 0, ascending */
};

#endif /* EMU_MKEY_H */
