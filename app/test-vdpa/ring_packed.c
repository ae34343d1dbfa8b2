/* SPDX-License-Identifier: BSD-3-Clause */
/* Packed virtqueues: virtio 1.2, section 2.8. */
#include <endian.h>
#include <errno.h>
#include <stddef.h>

#include "ring.h"

#define DESC_F_AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define DESC_F_USED (1u << VRING_PACKED_DESC_F_USED)
#define BASE_AVAIL_WRAP (1u << 15)	/* of SET_VRING_BASE: both counters start at 1 */
#define BASE_USED_WRAP (1u << 31)

static struct vring_packed_desc *
desc_of(const struct ring *r)
{
	return (struct vring_packed_desc *)(r->mem + r->desc_off);
}

static uint64_t
packed_areas(uint16_t size, uint64_t *desc, uint64_t *avail, uint64_t *used)
{
	*desc = 0;
	*avail = sizeof(struct vring_packed_desc) * size;
	*used = *avail + sizeof(struct vring_packed_desc_event);
	return *used + sizeof(struct vring_packed_desc_event);
}

static void
packed_reset(struct ring *r)
{
	r->avail_wrap = r->used_wrap = true;
}

static uint16_t
avail_flags(const struct ring *r, const struct ring_seg *seg, bool more)
{
	return (r->avail_wrap ? DESC_F_AVAIL : DESC_F_USED) | (more ? VRING_DESC_F_NEXT : 0) |
		(seg->device_writes ? VRING_DESC_F_WRITE : 0);
}

/* Enter one descriptor. The first one since the last publish() stays invisible. */
static void
put_desc(struct ring *r, uint16_t id, uint64_t gpa, uint32_t len, uint16_t flags)
{
	struct vring_packed_desc *d = &desc_of(r)[r->next_avail];

	d->addr = htole64(gpa);
	d->len = htole32(len);
	d->id = htole16(id);
	if (r->held) {
		d->flags = htole16(flags);
	} else {
		r->held = true;
		r->held_flags = flags;
		r->published = r->next_avail;
	}
	if (++r->next_avail == r->size) {
		r->next_avail = 0;
		r->avail_wrap = !r->avail_wrap;
	}
}

static void
put_table(const struct ring_table *table, const struct ring_seg *seg, unsigned int n)
{
	struct vring_packed_desc *d = table->ptr;
	unsigned int i;

	for (i = 0; i < n; i++) {
		d[i].addr = htole64(seg[i].gpa);
		d[i].len = htole32(seg[i].len);
		d[i].id = 0;
		d[i].flags = htole16(seg[i].device_writes ? VRING_DESC_F_WRITE : 0);
	}
}

static int
packed_add(struct ring *r, uint16_t id, const struct ring_seg *seg, unsigned int n,
		const struct ring_table *table)
{
	const struct ring_seg all = { .device_writes = false };
	uint16_t need = table ? 1 : n;
	unsigned int i;

	if (r->nfree < need)
		return -ENOSPC;
	if (table != NULL) {
		put_table(table, seg, n);
		put_desc(r, id, table->gpa, n * sizeof(struct vring_packed_desc),
				avail_flags(r, &all, false) | VRING_DESC_F_INDIRECT);
	} else {
		for (i = 0; i < n; i++)
			put_desc(r, id, seg[i].gpa, seg[i].len,
					avail_flags(r, &seg[i], i + 1 < n));
	}
	r->nfree -= need;
	r->taken[id] = need;
	return 0;
}

static bool
packed_publish(struct ring *r)
{
	const struct vring_packed_desc_event *device =
		(const struct vring_packed_desc_event *)(r->mem + r->used_off);

	if (!r->held)
		return false;
	r->held = false;
	__atomic_store_n(&desc_of(r)[r->published].flags, htole16(r->held_flags), __ATOMIC_RELEASE);
	/* The device may set its flag between our store and our look: order them (2.8.21.3.1). */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return le16toh(__atomic_load_n(&device->flags, __ATOMIC_RELAXED)) !=
		VRING_PACKED_EVENT_FLAG_DISABLE;
}

static int
packed_used(struct ring *r, uint16_t *id, uint32_t *len)
{
	const struct vring_packed_desc *d = &desc_of(r)[r->next_used];
	uint16_t flags = le16toh(__atomic_load_n(&d->flags, __ATOMIC_ACQUIRE));

	if (r->nfree == r->size || !!(flags & DESC_F_AVAIL) != r->used_wrap ||
			!!(flags & DESC_F_USED) != r->used_wrap)
		return 0;
	*id = le16toh(d->id);
	*len = le32toh(d->len);
	if (*id >= r->size || r->taken[*id] == 0)
		return -EIO;
	r->next_used += r->taken[*id];
	if (r->next_used >= r->size) {
		r->next_used -= r->size;
		r->used_wrap = !r->used_wrap;
	}
	r->nfree += r->taken[*id];
	r->taken[*id] = 0;
	return 1;
}

static void
packed_call(struct ring *r, bool on)
{
	struct vring_packed_desc_event *driver =
		(struct vring_packed_desc_event *)(r->mem + r->avail_off);

	driver->flags = htole16(on ? VRING_PACKED_EVENT_FLAG_ENABLE :
			VRING_PACKED_EVENT_FLAG_DISABLE);
}

static uint32_t
packed_first_base(void)
{
	return BASE_AVAIL_WRAP | BASE_USED_WRAP;
}

const struct ring_ops ring_packed = {
	.areas = packed_areas,
	.reset = packed_reset,
	.add = packed_add,
	.publish = packed_publish,
	.used = packed_used,
	.call = packed_call,
	.first_base = packed_first_base,
};
