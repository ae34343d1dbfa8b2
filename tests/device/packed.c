/* SPDX-License-Identifier: BSD-3-Clause */
#include "packed.h"

enum {
	AVAIL = 1 << VRING_PACKED_DESC_F_AVAIL,
	USED = 1 << VRING_PACKED_DESC_F_USED,
	EVENTS_OFF = 4096 - 64,    /* of a ring's page: behind its descriptors */
};

static uint16_t
position(uint16_t index)
{
	return index & (PACKED_WRAP - 1);
}

uint16_t
packed_advance(const struct packed *r, uint16_t index, uint16_t n)
{
	uint32_t pos = position(index) + (uint32_t)n;

	return pos < r->size ? index + n : (pos - r->size) | ((index & PACKED_WRAP) ^ PACKED_WRAP);
}

/* What lies before the start was used in this lap, the rest in the one before. */
static void
lay_out(struct packed *r, const struct mem *m, void *va, uint16_t start)
{
	uint8_t *page = va;
	uint16_t i;

	assert_true(r->size <= (size_t)EVENTS_OFF / sizeof(*r->desc));
	memset(va, 0, 4096);
	r->desc = va;
	r->driver = (void *)(page + EVENTS_OFF);
	r->device = r->driver + 1;
	r->desc_iova = mem_iova(m, r->desc);
	r->driver_iova = mem_iova(m, r->driver);
	r->device_iova = mem_iova(m, r->device);
	r->next = r->used = start;
	for (i = 0; i < r->size; i++) {
		if ((i < position(start)) == ((start & PACKED_WRAP) != 0))
			r->desc[i].flags = AVAIL | USED;
	}
}

void
packed_prepare(struct packed *r, struct queue *q, struct dev *d, uint16_t index, uint16_t size,
		const struct mem *m, void *va, uint16_t start, uint8_t in[VIRTQ_IN_BYTES])
{
	struct virtq_attr a;

	queue_prepare(q, d, index, size, m, va, &a);
	*r = (struct packed) { .q = q, .size = size };
	lay_out(r, m, va, start);
	a.desc_iova = r->desc_iova;
	a.avail_iova = r->driver_iova;
	a.used_iova = r->device_iova;
	a.hw_avail = a.hw_used = start;
	fill_virtq(d, in, &a);
	PRM_SET(virtio_q, VIRTQ_CTX(in), virtio_q_type, MLX5_VIRTQ_TYPE_PACKED);
}

void
packed_create(struct packed *r, struct queue *q, struct dev *d, uint16_t index, uint16_t size,
		const struct mem *m, void *va)
{
	uint8_t in[VIRTQ_IN_BYTES];

	packed_prepare(r, q, d, index, size, m, va, PACKED_WRAP, in);
	q->vq = create(d, in, sizeof(in));
}

struct vring_packed_desc *
packed_next(const struct packed *r)
{
	return &r->desc[position(r->next)];
}

static void
put(struct packed *r, uint16_t index, const struct buf *buf, uint16_t id, uint16_t flags)
{
	struct vring_packed_desc *d = &r->desc[position(index)];

	d->addr = buf->iova;
	d->len = buf->len;
	d->id = id;
	/* The flags make it available. */
	__atomic_store_n(&d->flags, flags | (index & PACKED_WRAP ? AVAIL : USED), __ATOMIC_RELEASE);
}

/* The head last: it makes the whole chain available. */
void
packed_post(struct packed *r, const struct buf *bufs, unsigned int nout, unsigned int nin,
		uint16_t id)
{
	unsigned int n = nout + nin, i;

	assert_true(id < PACKED_SIZE_MAX);
	for (i = n; i-- > 0;)
		put(r, packed_advance(r, r->next, i), &bufs[i], id,
			(i >= nout ? VRING_DESC_F_WRITE : 0) |
			(i + 1 < n ? VRING_DESC_F_NEXT : 0));
	r->len[id] = n;
	r->next = packed_advance(r, r->next, n);
}

void
packed_post_indirect(struct packed *r, const struct mem *m, struct vring_packed_desc *table,
		const struct buf *bufs, unsigned int nout, unsigned int nin, uint16_t id)
{
	unsigned int n = nout + nin, i;
	struct buf whole = { mem_iova(m, table), n * sizeof(*table) };

	assert_true(id < PACKED_SIZE_MAX);
	for (i = 0; i < n; i++)
		table[i] = (struct vring_packed_desc) {
			.addr = bufs[i].iova,
			.len = bufs[i].len,
			.flags = i >= nout ? VRING_DESC_F_WRITE : 0,
		};
	put(r, r->next, &whole, id, VRING_DESC_F_INDIRECT);
	r->len[id] = 1;
	r->next = packed_advance(r, r->next, 1);
}

bool
packed_take(struct packed *r, struct packed_used *u)
{
	const struct vring_packed_desc *d = &r->desc[position(r->used)];
	uint16_t flags = __atomic_load_n(&d->flags, __ATOMIC_ACQUIRE);
	uint16_t both = flags & (AVAIL | USED);

	if (both != (r->used & PACKED_WRAP ? AVAIL | USED : 0))
		return false;
	u->id = d->id;
	u->len = d->len;
	assert_true(u->id < PACKED_SIZE_MAX && r->len[u->id] > 0);
	r->used = packed_advance(r, r->used, r->len[u->id]);
	return true;
}
