/* SPDX-License-Identifier: BSD-3-Clause */
/* Split virtqueues: virtio 1.2, section 2.7. */
#include <endian.h>
#include <errno.h>
#include <stddef.h>

#include "ring.h"

#define USED_ALIGN 4u	/* section 2.7: alignment of the device area */

static struct vring_desc *
desc_of(const struct ring *r)
{
	return (struct vring_desc *)(r->mem + r->desc_off);
}

static struct vring_avail *
avail_of(const struct ring *r)
{
	return (struct vring_avail *)(r->mem + r->avail_off);
}

static struct vring_used *
used_of(const struct ring *r)
{
	return (struct vring_used *)(r->mem + r->used_off);
}

static uint64_t
split_areas(uint16_t size, uint64_t *desc, uint64_t *avail, uint64_t *used)
{
	*desc = 0;
	*avail = sizeof(struct vring_desc) * size;
	/* Both rings end with the field of VIRTIO_RING_F_EVENT_IDX, unused without it. */
	*used = *avail + sizeof(struct vring_avail) + sizeof(__virtio16) * (size + 1u);
	*used = (*used + USED_ALIGN - 1) / USED_ALIGN * USED_ALIGN;
	return *used + sizeof(struct vring_used) + sizeof(struct vring_used_elem) * size +
		sizeof(__virtio16);
}

static void
split_reset(struct ring *r)
{
	uint16_t i;

	for (i = 0; i < r->size; i++)
		r->chain[i] = i + 1;
	r->free_head = 0;
}

static void
put_desc(struct vring_desc *d, const struct ring_seg *seg, bool more, uint16_t next)
{
	d->addr = htole64(seg->gpa);
	d->len = htole32(seg->len);
	d->flags = htole16((seg->device_writes ? VRING_DESC_F_WRITE : 0) |
			(more ? VRING_DESC_F_NEXT : 0));
	d->next = htole16(more ? next : 0);
}

static int
split_add(struct ring *r, uint16_t id, const struct ring_seg *seg, unsigned int n,
		const struct ring_table *table)
{
	struct vring_desc *desc = desc_of(r);
	uint16_t need = table ? 1 : n, head = r->free_head, at = head;
	unsigned int i;

	if (r->nfree < need)
		return -ENOSPC;
	if (table != NULL) {
		struct ring_seg all = { .gpa = table->gpa, .len = n * sizeof(*desc) };

		for (i = 0; i < n; i++)
			put_desc((struct vring_desc *)table->ptr + i, &seg[i], i + 1 < n, i + 1);
		put_desc(&desc[head], &all, false, 0);
		desc[head].flags = htole16(VRING_DESC_F_INDIRECT);
	} else {
		for (i = 0; i < n; i++) {
			put_desc(&desc[at], &seg[i], i + 1 < n, r->chain[at]);
			if (i + 1 < n)
				at = r->chain[at];
		}
	}
	r->free_head = r->chain[at];
	r->nfree -= need;
	r->owner[head] = id;
	r->taken[head] = need;
	avail_of(r)->ring[r->next_avail++ % r->size] = htole16(head);
	return 0;
}

static bool
split_publish(struct ring *r)
{
	if (r->published == r->next_avail)
		return false;
	r->published = r->next_avail;
	__atomic_store_n(&avail_of(r)->idx, htole16(r->next_avail), __ATOMIC_RELEASE);
	/* The device may set its flag between our store and our look: order them (2.7.13.4.1). */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return (le16toh(__atomic_load_n(&used_of(r)->flags, __ATOMIC_RELAXED)) &
			VRING_USED_F_NO_NOTIFY) == 0;
}

static int
split_used(struct ring *r, uint16_t *id, uint32_t *len)
{
	struct vring_used *used = used_of(r);
	struct vring_used_elem *e = &used->ring[r->next_used % r->size];
	uint16_t idx = le16toh(__atomic_load_n(&used->idx, __ATOMIC_ACQUIRE));
	uint32_t head;
	uint16_t last, i;

	if (idx == r->next_used)
		return 0;
	if ((uint16_t)(idx - r->next_used) > r->size)
		return -EIO;
	head = le32toh(e->id);
	if (head >= r->size || r->taken[head] == 0)
		return -EIO;
	*id = r->owner[head];
	*len = le32toh(e->len);
	for (last = head, i = 1; i < r->taken[head]; i++)
		last = r->chain[last];
	r->chain[last] = r->free_head;
	r->free_head = head;
	r->nfree += r->taken[head];
	r->taken[head] = 0;
	r->next_used++;
	return 1;
}

static void
split_call(struct ring *r, bool on)
{
	avail_of(r)->flags = htole16(on ? 0 : VRING_AVAIL_F_NO_INTERRUPT);
}

static uint32_t
split_first_base(void)
{
	return 0;
}

const struct ring_ops ring_split = {
	.areas = split_areas,
	.reset = split_reset,
	.add = split_add,
	.publish = split_publish,
	.used = split_used,
	.call = split_call,
	.first_base = split_first_base,
};
