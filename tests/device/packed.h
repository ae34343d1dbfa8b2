/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The guest's side of a packed ring (virtio 1.1, section 2.7), and virtqueue objects on it.
 *
 * Owns: the ring's state as its driver keeps it. The queue object with its umems is the struct
 * queue that it is made for; that one's split ring lies idle.
 */
#ifndef TEST_PACKED_H
#define TEST_PACKED_H

#include "queue.h"

/* In an index: the rest is a position in the ring. */
#define PACKED_WRAP (1u << VRING_PACKED_EVENT_F_WRAP_CTR)

enum { PACKED_SIZE_MAX = 256 };

struct packed {
	struct queue *q;
	uint16_t size;
	struct vring_packed_desc *desc;
	struct vring_packed_desc_event *driver, *device;
	uint64_t desc_iova, driver_iova, device_iova;
	uint16_t next, used;       /* positions with wrap counters */
	uint16_t len[PACKED_SIZE_MAX]; /* descriptors of a chain, by its id */
};

struct packed_used {
	uint16_t id;
	uint32_t len;
};

/** Umems, and an empty ring at @p va of guest memory that starts at index @p start; no device
 * object yet: @p in is the mailbox that it is to be created with. */
void packed_prepare(struct packed *r, struct queue *q, struct dev *d, uint16_t index, uint16_t size,
		const struct mem *m, void *va, uint16_t start, uint8_t in[VIRTQ_IN_BYTES]);
/** A queue in INIT at index 0 of the first lap. */
void packed_create(struct packed *r, struct queue *q, struct dev *d, uint16_t index, uint16_t size,
		const struct mem *m, void *va);

/** The index @p n descriptors on. */
uint16_t packed_advance(const struct packed *r, uint16_t index, uint16_t n);
/** The descriptor that the ring's next chain starts with. */
struct vring_packed_desc *packed_next(const struct packed *r);
/** Make a chain available: @p nout buffers that the device reads, then @p nin that it writes. */
void packed_post(struct packed *r, const struct buf *bufs, unsigned int nout, unsigned int nin,
		uint16_t id);
/** The same chain as an indirect table at @p table. */
void packed_post_indirect(struct packed *r, const struct mem *m, struct vring_packed_desc *table,
		const struct buf *bufs, unsigned int nout, unsigned int nin, uint16_t id);
/** Take the next used descriptor. False when there is none. */
bool packed_take(struct packed *r, struct packed_used *u);

#endif /* TEST_PACKED_H */
