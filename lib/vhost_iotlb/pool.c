/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "pool.h"

/* What all memory is aligned to. */
#define LINE 64u
/* Chunks of tests are smaller. */
#define HUGE_PAGE (2u << 20)

/* Memory that was given back. */
struct hole {
	struct hole *next;
};

/* The beginning of a chunk. */
struct vhost_iotlb_chunk {
	struct vhost_iotlb_chunk *prev, *next;     /* in the list of those with room */
	struct hole *holes;
	bool roomy;                                /* is it in that list? */
	size_t used;                               /* given out now */
	size_t fresh;                              /* where what was never given out begins */
};

_Static_assert(sizeof(struct vhost_iotlb_chunk) <= LINE, "the first line of a chunk is its head");

static void
roomy_add(struct vhost_iotlb_pool *pool, struct vhost_iotlb_chunk *c)
{
	c->roomy = true;
	c->prev = NULL;
	c->next = pool->roomy;
	if (c->next != NULL)
		c->next->prev = c;
	pool->roomy = c;
}

static void
roomy_remove(struct vhost_iotlb_pool *pool, struct vhost_iotlb_chunk *c)
{
	c->roomy = false;
	if (c->prev != NULL)
		c->prev->next = c->next;
	else
		pool->roomy = c->next;
	if (c->next != NULL)
		c->next->prev = c->prev;
}

static bool
has_room(const struct vhost_iotlb_chunk *c, size_t size)
{
	return c->holes != NULL || c->fresh + size <= VHOST_IOTLB_CHUNK;
}

static struct vhost_iotlb_chunk *
chunk_create(struct vhost_iotlb_pool *pool)
{
	struct vhost_iotlb_chunk *c = aligned_alloc(VHOST_IOTLB_CHUNK, VHOST_IOTLB_CHUNK);

	if (c == NULL)
		return NULL;
	/* Before it is touched for the first time. A kernel without huge pages says no, and small
	 * ones do. */
	if (VHOST_IOTLB_CHUNK % HUGE_PAGE == 0)
		(void)madvise(c, VHOST_IOTLB_CHUNK, MADV_HUGEPAGE);
	*c = (struct vhost_iotlb_chunk){ .fresh = LINE };
	roomy_add(pool, c);
	pool->spare = true;
	return c;
}

/* Take memory out of a chunk that has room. */
static void *
chunk_get(struct vhost_iotlb_pool *pool, struct vhost_iotlb_chunk *c, size_t size)
{
	void *memory = c->holes;

	if (memory != NULL) {
		c->holes = c->holes->next;
	} else {
		memory = (char *)c + c->fresh;
		c->fresh += size;
	}
	if (c->used++ == 0)
		pool->spare = false;
	if (!has_room(c, size))
		roomy_remove(pool, c);
	return memory;
}

static void
chunk_put(struct vhost_iotlb_pool *pool, void *memory)
{
	struct vhost_iotlb_chunk *c = (void *)((uintptr_t)memory & ~(VHOST_IOTLB_CHUNK - 1ul));
	struct hole *hole = memory;

	hole->next = c->holes;
	c->holes = hole;
	if (!c->roomy)
		roomy_add(pool, c);
	if (--c->used > 0)
		return;
	if (!pool->spare) {
		pool->spare = true;
		return;
	}
	roomy_remove(pool, c);
	free(c);
}

void *
vhost_iotlb_pool_get(struct vhost_iotlb_pool *pool, size_t size, bool *in_chunk)
{
	struct vhost_iotlb_chunk *c = pool->roomy;
	void *memory;

	*in_chunk = c != NULL || pool->singles >= VHOST_IOTLB_SINGLES;
	if (*in_chunk) {
		if (c == NULL)
			c = chunk_create(pool);
		return c == NULL ? NULL : chunk_get(pool, c, size);
	}
	memory = aligned_alloc(LINE, size);
	if (memory != NULL)
		pool->singles++;
	return memory;
}

void
vhost_iotlb_pool_put(struct vhost_iotlb_pool *pool, void *memory, bool in_chunk)
{
	if (in_chunk) {
		chunk_put(pool, memory);
		return;
	}
	free(memory);
	pool->singles--;
}

void
vhost_iotlb_pool_fini(struct vhost_iotlb_pool *pool)
{
	struct vhost_iotlb_chunk *c;

	while ((c = pool->roomy) != NULL) {
		roomy_remove(pool, c);
		free(c);
	}
}
