/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "queue.h"

/* ---- guest memory ---- */

struct mem
mem_create(struct ibv_pd *pd, size_t len, uint64_t iova, int access)
{
	struct mem m = { .len = len, .iova = iova };
	void *va;

	m.fd = memfd_create("guest", MFD_CLOEXEC);
	assert_true(m.fd >= 0);
	assert_int_equal(ftruncate(m.fd, len), 0);
	va = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, m.fd, 0);
	assert_ptr_not_equal(va, MAP_FAILED);
	m.va = va;
	m.mr = ibv_reg_mr_iova(pd, m.va, len, iova, access);
	assert_non_null(m.mr);
	m.mkey = m.mr->lkey;
	return m;
}

void
mem_discard(struct mem *m)
{
	if (m->mr != NULL)
		ibv_dereg_mr(m->mr);
	if (m->va != NULL) {
		munmap(m->va, m->len);
		close(m->fd);
	}
	*m = (struct mem) {0};
}

void
mem_destroy(struct mem *m)
{
	assert_int_equal(ibv_dereg_mr(m->mr), 0);
	m->mr = NULL;
	mem_discard(m);
}

uint64_t
mem_iova(const struct mem *m, const void *p)
{
	return m->iova + ((const uint8_t *)p - m->va);
}

/* ---- rings ---- */

void
ring_init(struct ring *r, const struct mem *m, void *va, uint16_t size)
{
	uint8_t *p = va;

	memset(va, 0, RING_BYTES(size));
	*r = (struct ring) { .size = size };
	r->desc = va;
	r->avail = (void *)(p + size * sizeof(*r->desc));
	/* The used ring goes to pages of its own. */
	r->used = (void *)(p + (size * (sizeof(*r->desc) + 2) + 6 + 4095) / 4096 * 4096);
	r->desc_iova = mem_iova(m, r->desc);
	r->avail_iova = mem_iova(m, r->avail);
	r->used_iova = mem_iova(m, r->used);
}

static void
publish(struct ring *r, uint16_t head)
{
	r->avail->ring[r->next_avail % r->size] = head;
	r->next_avail++;
	__atomic_store_n(&r->avail->idx, r->next_avail, __ATOMIC_RELEASE);
}

static void
fill_desc(struct vring_desc *desc, const struct buf *buf, bool write, bool last, uint16_t next)
{
	*desc = (struct vring_desc) {
		.addr = buf->iova,
		.len = buf->len,
		.flags = (write ? VRING_DESC_F_WRITE : 0) | (last ? 0 : VRING_DESC_F_NEXT),
		.next = last ? 0 : next,
	};
}

uint16_t
ring_post(struct ring *r, const struct buf *bufs, unsigned int nout, unsigned int nin)
{
	uint16_t head = r->next_desc % r->size, at = head, next;
	unsigned int i, n = nout + nin;

	for (i = 0; i < n; i++) {
		next = (at + 1) % r->size;
		fill_desc(&r->desc[at], &bufs[i], i >= nout, i + 1 == n, next);
		at = next;
	}
	r->next_desc = at;
	publish(r, head);
	return head;
}

uint16_t
ring_post_indirect(struct ring *r, const struct mem *m, struct vring_desc *table,
		const struct buf *bufs, unsigned int nout, unsigned int nin)
{
	uint16_t head = r->next_desc % r->size;
	unsigned int i, n = nout + nin;

	for (i = 0; i < n; i++)
		fill_desc(&table[i], &bufs[i], i >= nout, i + 1 == n, i + 1);
	r->desc[head] = (struct vring_desc) {
		.addr = mem_iova(m, table),
		.len = n * sizeof(*table),
		.flags = VRING_DESC_F_INDIRECT,
	};
	r->next_desc = (head + 1) % r->size;
	publish(r, head);
	return head;
}

uint16_t
ring_pending(const struct ring *r)
{
	return __atomic_load_n(&r->used->idx, __ATOMIC_ACQUIRE) - r->last_used;
}

bool
ring_take(struct ring *r, struct vring_used_elem *e)
{
	if (ring_pending(r) == 0)
		return false;
	*e = r->used->ring[r->last_used % r->size];
	r->last_used++;
	return true;
}

/* ---- virtqueue objects ---- */

static void
fill_hdr(uint8_t *in, uint16_t opcode, uint32_t id)
{
	PRM_SET(general_obj_in_cmd_hdr, in, opcode, opcode);
	PRM_SET(general_obj_in_cmd_hdr, in, obj_type, MLX5_OBJ_TYPE_VIRTIO_NET_Q);
	PRM_SET(general_obj_in_cmd_hdr, in, obj_id, id);
}

void
fill_virtq(const struct dev *d, uint8_t in[VIRTQ_IN_BYTES], const struct virtq_attr *a)
{
	void *obj = VIRTQ_OBJ(in), *ctx = VIRTQ_CTX(in);

	memset(in, 0, VIRTQ_IN_BYTES);
	fill_hdr(in, MLX5_CMD_OP_CREATE_GENERAL_OBJECT, 0);
	PRM_SET(virtio_net_q_object, obj, tisn_or_qpn, d->tisn);
	PRM_SET(virtio_net_q_object, obj, hw_available_index, a->hw_avail);
	PRM_SET(virtio_net_q_object, obj, hw_used_index, a->hw_used);
	PRM_SET(virtio_q, ctx, virtio_q_type, MLX5_VIRTQ_TYPE_SPLIT);
	PRM_SET(virtio_q, ctx, virtio_version_1_0, 1);
	PRM_SET(virtio_q, ctx, offload_type, MLX5_VIRTQ_OFFLOAD_ETH_FRAME);
	PRM_SET(virtio_q, ctx, event_mode, a->event_qpn != 0 ? MLX5_VIRTQ_EVENT_MODE_QP :
		MLX5_VIRTQ_EVENT_MODE_NO_MSIX);
	PRM_SET(virtio_q, ctx, event_qpn_or_msix, a->event_qpn);
	PRM_SET(virtio_q, ctx, queue_index, a->index);
	PRM_SET(virtio_q, ctx, queue_size, a->size);
	PRM_SET(virtio_q, ctx, desc_addr, a->desc_iova);
	PRM_SET(virtio_q, ctx, available_addr, a->avail_iova);
	PRM_SET(virtio_q, ctx, used_addr, a->used_iova);
	PRM_SET(virtio_q, ctx, virtio_q_mkey, a->mkey);
	PRM_SET(virtio_q, ctx, umem_1_id, a->umem[0].id);
	PRM_SET(virtio_q, ctx, umem_1_size, a->umem[0].size);
	PRM_SET(virtio_q, ctx, umem_2_id, a->umem[1].id);
	PRM_SET(virtio_q, ctx, umem_2_size, a->umem[1].size);
	PRM_SET(virtio_q, ctx, umem_3_id, a->umem[2].id);
	PRM_SET(virtio_q, ctx, umem_3_size, a->umem[2].size);
	PRM_SET(virtio_q, ctx, pd, d->pdn);
}

void
fill_virtq_modify(uint8_t in[VIRTQ_IN_BYTES], uint32_t id, uint64_t select)
{
	memset(in, 0, VIRTQ_IN_BYTES);
	fill_hdr(in, MLX5_CMD_OP_MODIFY_GENERAL_OBJECT, id);
	PRM_SET(virtio_net_q_object, VIRTQ_OBJ(in), modify_field_select, select);
}

struct verdict
virtq_set_state(struct obj *vq, uint8_t state)
{
	uint8_t in[VIRTQ_IN_BYTES];

	fill_virtq_modify(in, vq->id, MLX5_VIRTQ_MODIFY_STATE);
	PRM_SET(virtio_net_q_object, VIRTQ_OBJ(in), state, state);
	return dev_modify(vq, in, sizeof(in));
}

struct virtq_status
virtq_query(struct obj *vq)
{
	uint8_t in[PRM_BYTES(general_obj_in_cmd_hdr)] = {0};
	struct virtq_status s = {0};
	const void *obj = PRM_ADDR(query_virtio_net_q_out, s.out, obj_context);
	const void *ctx = PRM_ADDR(virtio_net_q_object, obj, virtio_q_context);

	fill_hdr(in, MLX5_CMD_OP_QUERY_GENERAL_OBJECT, vq->id);
	assert_accepted(dev_query(vq, in, sizeof(in), s.out, sizeof(s.out)));
	s.state = PRM_GET(virtio_net_q_object, obj, state);
	s.error_type = PRM_GET(virtio_q, ctx, error_type);
	s.hw_avail = PRM_GET(virtio_net_q_object, obj, hw_available_index);
	s.hw_used = PRM_GET(virtio_net_q_object, obj, hw_used_index);
	return s;
}

uint8_t
virtq_state(struct obj *vq)
{
	return virtq_query(vq).state;
}

size_t
virtq_umem_bytes(const struct dev *d, int which, uint16_t size)
{
	switch (which) {
	case 1:
		return (size_t)VIRTIO_CAP(d, umem_1_buffer_param_a) * size +
			VIRTIO_CAP(d, umem_1_buffer_param_b);
	case 2:
		return (size_t)VIRTIO_CAP(d, umem_2_buffer_param_a) * size +
			VIRTIO_CAP(d, umem_2_buffer_param_b);
	default:
		return (size_t)VIRTIO_CAP(d, umem_3_buffer_param_a) * size +
			VIRTIO_CAP(d, umem_3_buffer_param_b);
	}
}

/* ---- both ---- */

void
queue_prepare(struct queue *q, struct dev *d, uint16_t index, uint16_t size, const struct mem *m,
		void *va, struct virtq_attr *a)
{
	size_t bytes;
	int i;

	*q = (struct queue) { .d = d, .index = index };
	*a = (struct virtq_attr) { .index = index, .size = size, .mkey = m->mkey };
	ring_init(&q->ring, m, va, size);
	a->desc_iova = q->ring.desc_iova;
	a->avail_iova = q->ring.avail_iova;
	a->used_iova = q->ring.used_iova;
	for (i = 0; i < 3; i++) {
		bytes = virtq_umem_bytes(d, i + 1, size);
		q->umem[i] = umem_create(d, bytes);
		a->umem[i].id = q->umem[i].id;
		a->umem[i].size = bytes;
	}
}

void
queue_create(struct queue *q, struct dev *d, uint16_t index, uint16_t size,
		const struct mem *m, void *va, uint32_t event_qpn)
{
	uint8_t in[VIRTQ_IN_BYTES];
	struct virtq_attr a;

	queue_prepare(q, d, index, size, m, va, &a);
	a.event_qpn = event_qpn;
	fill_virtq(d, in, &a);
	q->vq = create(d, in, sizeof(in));
}

void
queue_discard(struct queue *q)
{
	int i;

	discard(&q->vq);
	for (i = 0; i < 3; i++)
		umem_discard(&q->umem[i]);
	*q = (struct queue) {0};
}

void
queue_destroy(struct queue *q)
{
	int i;

	destroy(&q->vq);
	for (i = 0; i < 3; i++)
		umem_destroy(&q->umem[i]);
	*q = (struct queue) {0};
}

void
queue_kick(const struct queue *q)
{
	/* The capability gives the word's place; the VAR is its page. */
	uint64_t off = VIRTIO_CAP(q->d, doorbell_bar_offset) % q->d->var->length;

	/* The ring's stores come before the doorbell. */
	atomic_thread_fence(memory_order_seq_cst);
	*(volatile uint32_t *)(q->d->var_page + off) = htole32(q->index);
}
