/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pool: memory of the nodes of one kind of one table.
 *
 * Owns: where nodes lie. The first ones are allocated one by one, so that a small table is small.
 * The many nodes of a large one lie in chunks of the size and alignment of a huge page, which the
 * kernel is asked to use for them (transparent huge pages, where they are "always" or "madvise"): a
 * search through a million maps goes to memory all over, and with small pages it would wait for the
 * addresses of pages as long as for what is in them.
 *
 * A chunk whose nodes are all given back is freed, but for one, which is kept for the next node.
 *
 * For node.c alone; threads as vhost_iotlb.h.
 */
#ifndef VHOST_IOTLB_POOL_H
#define VHOST_IOTLB_POOL_H

#include <stdbool.h>
#include <stddef.h>

/** Size and alignment of a chunk: a huge page of x86-64 and of most others. (Tests make it
 * small.) */
#ifndef VHOST_IOTLB_CHUNK
#define VHOST_IOTLB_CHUNK (2u << 20)
#endif
/** Nodes that are allocated one by one before there are chunks: somewhat less than a chunk. */
#ifndef VHOST_IOTLB_SINGLES
#define VHOST_IOTLB_SINGLES 512u
#endif

struct vhost_iotlb_chunk;

/** Zero: no memory. */
struct vhost_iotlb_pool {
	/** Allocated one by one and not given back. */
	size_t singles;
	/** Chunks with room, in a list. Those without are in none. */
	struct vhost_iotlb_chunk *roomy;
	/** One of them is empty. */
	bool spare;
};

/** Memory of @p size bytes, always the same and a multiple of a cache line, at a cache line; or
 * NULL. @p *in_chunk is to be told when it is given back. */
void *
vhost_iotlb_pool_get(struct vhost_iotlb_pool *pool, size_t size, bool *in_chunk);

void
vhost_iotlb_pool_put(struct vhost_iotlb_pool *pool, void *memory, bool in_chunk);

/** Free what is kept. All was given back. */
void
vhost_iotlb_pool_fini(struct vhost_iotlb_pool *pool);

#endif /* VHOST_IOTLB_POOL_H */
