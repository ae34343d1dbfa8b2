/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The driver's side of a virtqueue (virtio 1.2, sections 2.7 split and 2.8 packed).
 *
 * Owns: the descriptors and indices of one ring, and its two eventfds. What is in flight is named
 * by an id that the caller picks; ids and descriptor chains are remembered in private memory, so
 * that a device that scribbles over the ring is found out, not followed.
 *
 * Threads: one at a time. The layouts differ per format behind struct ring_ops; nothing else knows
 * which one is in use.
 */
#ifndef TEST_VDPA_RING_H
#define TEST_VDPA_RING_H

#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stdint.h>

/* A buffer of the guest: device-readable ones come first in a chain. */
struct ring_seg {
	uint64_t gpa;
	uint32_t len;
	bool device_writes;
};

/* Where an indirect table may be written: room for @p max descriptors. */
struct ring_table {
	void *ptr;
	uint64_t gpa;
};

#define RING_MAX_SEGS 4

struct ring;

struct ring_ops {
	/* Bytes of a ring of @size entries, and where its three areas lie in it. */
	uint64_t (*areas)(uint16_t size, uint64_t *desc, uint64_t *avail, uint64_t *used);
	/* Bring the (zeroed) ring to its state after a reset. */
	void (*reset)(struct ring *r);
	/* Enter a chain; with @table it takes one descriptor. -ENOSPC: too few are free. */
	int (*add)(struct ring *r, uint16_t id, const struct ring_seg *seg, unsigned int n,
			const struct ring_table *table);
	/* Show the device what was added. Returns whether it wants a kick. */
	bool (*publish)(struct ring *r);
	/* 1: a chain came back; 0: none; -EIO: the device returned what it never had. */
	int (*used)(struct ring *r, uint16_t *id, uint32_t *len);
	/* Tell the device whether to call. */
	void (*call)(struct ring *r, bool on);
	/* Value of SET_VRING_BASE after a reset. */
	uint32_t (*first_base)(void);
};

extern const struct ring_ops ring_split;
extern const struct ring_ops ring_packed;

struct ring {
	const struct ring_ops *ops;
	uint16_t index;		/* of the virtqueue */
	uint16_t size;
	uint64_t gpa;
	uint8_t *mem;		/* where we see it; changes when memory is mapped elsewhere */
	uint64_t desc_off, avail_off, used_off, bytes;
	int kick_fd, call_fd;

	/* Of the format. Split: free-running indices. Packed: positions with wrap counters. */
	uint16_t next_avail, next_used;
	uint16_t published;	/* split: index that the device sees; packed: what is held */
	bool avail_wrap, used_wrap;
	uint16_t nfree;
	uint16_t free_head;	/* split: list of free descriptors through chain[] */
	uint16_t *chain;	/* split: next descriptor of a chain or of the free list */
	uint16_t *owner;	/* split: id of the chain whose head this is */
	uint16_t *taken;	/* descriptors of a chain in flight, by head (split) or id */
	uint16_t held_flags;	/* packed: of the first descriptor to publish, held until then */
	bool held;
};

/** Size in memory of a ring. */
uint64_t ring_bytes(const struct ring_ops *ops, uint16_t size);

/** Make a ring without memory. Returns 0, -ENOMEM or the errno of eventfd. */
int ring_init(struct ring *r, const struct ring_ops *ops, uint16_t index, uint16_t size);
void ring_fini(struct ring *r);

/** The ring's memory is now to be seen at @p mem. Its contents are as they were. */
static inline void
ring_bind(struct ring *r, uint64_t gpa, uint8_t *mem)
{
	r->gpa = gpa;
	r->mem = mem;
}

/** New eventfds, for another device: the old may be signalled still. Returns 0 or their errno. */
int ring_renew_fds(struct ring *r);

/** Zero the memory and forget what was in flight. New eventfds: the old may be signalled still. */
int ring_reset(struct ring *r);

#endif /* TEST_VDPA_RING_H */
