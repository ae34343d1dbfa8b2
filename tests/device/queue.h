/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guest memory, split rings in it, and the device's virtqueue objects on them.
 *
 * Owns: registered guest memory, the guest's side of a split ring (virtio 1.1, section 2.6), and
 * the commands of a virtio-net queue object. Queues of even index receive, of odd index transmit.
 */
#ifndef TEST_QUEUE_H
#define TEST_QUEUE_H

#include <linux/virtio_ring.h>

#include "device.h"

/* ---- guest memory ---- */

struct mem {
	uint8_t *va;
	size_t len;
	uint64_t iova;             /* guest physical address of its first byte */
	int fd;                    /* memfd behind it */
	struct ibv_mr *mr;
	uint32_t mkey;
};

/** Shared memory at guest address @p iova, registered for @p access in @p pd. */
struct mem mem_create(struct ibv_pd *pd, size_t len, uint64_t iova, int access);
void mem_destroy(struct mem *m);
void mem_discard(struct mem *m);
/** The guest address of a pointer into it. */
uint64_t mem_iova(const struct mem *m, const void *p);

enum { MEM_RW = IBV_ACCESS_LOCAL_WRITE };

/* ---- the guest's side of a ring ---- */

struct ring {
	uint16_t size;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint64_t desc_iova, avail_iova, used_iova;
	uint16_t next_desc;        /* descriptors are taken in turn */
	uint16_t next_avail;
	uint16_t last_used;
};

struct buf {
	uint64_t iova;
	uint32_t len;
};

/* Bytes that a ring takes in guest memory. */
#define RING_BYTES(size) ((((size_t)(size) * 26 + 12) + 8191) / 4096 * 4096)

/** Lay an empty ring out at @p va of guest memory. */
void ring_init(struct ring *r, const struct mem *m, void *va, uint16_t size);
/** Make a chain available: @p nout buffers that the device reads, then @p nin that it writes.
 * Returns its head. */
uint16_t ring_post(struct ring *r, const struct buf *bufs, unsigned int nout, unsigned int nin);
/** The same chain as an indirect table at @p table. */
uint16_t ring_post_indirect(struct ring *r, const struct mem *m, struct vring_desc *table,
		const struct buf *bufs, unsigned int nout, unsigned int nin);
/** Take the next used entry. False when there is none. */
bool ring_take(struct ring *r, struct vring_used_elem *e);
/** Entries that the device has returned and nobody took. */
uint16_t ring_pending(const struct ring *r);

/* ---- virtqueues of the device ---- */

struct virtq_attr {
	uint16_t index, size;
	uint64_t desc_iova, avail_iova, used_iova;
	uint32_t mkey;
	uint32_t event_qpn;        /* 0: no events */
	uint16_t hw_avail, hw_used;
	struct { uint32_t id, size; } umem[3];
};

#define VIRTQ_IN_BYTES PRM_BYTES(create_virtio_net_q_in)

void fill_virtq(const struct dev *d, uint8_t in[VIRTQ_IN_BYTES], const struct virtq_attr *a);
/* The object and its queue context in such a mailbox. */
#define VIRTQ_OBJ(in) PRM_ADDR(create_virtio_net_q_in, in, obj_context)
#define VIRTQ_CTX(in) PRM_ADDR(virtio_net_q_object, VIRTQ_OBJ(in), virtio_q_context)

/** A modify that selects @p select; the test sets the fields. */
void fill_virtq_modify(uint8_t in[VIRTQ_IN_BYTES], uint32_t id, uint64_t select);
struct verdict virtq_set_state(struct obj *vq, uint8_t state);

struct virtq_status {
	uint8_t state, error_type;
	uint16_t hw_avail, hw_used;
	uint8_t out[PRM_BYTES(query_virtio_net_q_out)]; /* the whole answer */
};
struct virtq_status virtq_query(struct obj *vq);
uint8_t virtq_state(struct obj *vq);

/** Bytes of firmware's memory number 1 to 3 that a queue of this size needs. */
size_t virtq_umem_bytes(const struct dev *d, int which, uint16_t size);

/* ---- both ---- */

struct queue {
	struct dev *d;
	uint16_t index;
	struct ring ring;
	struct umem umem[3];
	struct obj vq;
};

/** Umems and a ring at @p va, but no device object yet; *a is what it is to be created with. */
void queue_prepare(struct queue *q, struct dev *d, uint16_t index, uint16_t size,
		const struct mem *m, void *va, struct virtq_attr *a);
/** A queue in INIT. */
void queue_create(struct queue *q, struct dev *d, uint16_t index, uint16_t size,
		const struct mem *m, void *va, uint32_t event_qpn);
void queue_destroy(struct queue *q);
void queue_discard(struct queue *q);
/** INIT or SUSPEND to RDY, or RDY to SUSPEND; has to be accepted. */
#define queue_go(q, state) assert_accepted(virtq_set_state(&(q)->vq, MLX5_VIRTQ_STATE_##state))
/** Ring its doorbell. */
void queue_kick(const struct queue *q);

#endif /* TEST_QUEUE_H */
