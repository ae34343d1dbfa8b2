/* SPDX-License-Identifier: BSD-3-Clause */
/* dpdk-test-vdpa: the guest's rings, against a device that follows virtio 1.2 to the letter. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "ring.h"

#define SIZE 16
#define GPA 0x100000u
#define TABLE_GPA 0x900000u
#define AVAIL (1u << 7)
#define USED (1u << 15)

static struct ring r;
static uint8_t *mem;
static struct vring_desc table_mem[RING_MAX_SEGS];
static const struct ring_table table = { .ptr = table_mem, .gpa = TABLE_GPA };

/* What a device found in a chain. */
struct chain {
	uint16_t id;		/* split: head; packed: buffer id */
	uint16_t descs;
	unsigned int n;
	struct ring_seg seg[RING_MAX_SEGS];
};

/* The device's own state. */
static uint16_t dev_avail, dev_used;
static bool dev_avail_wrap, dev_used_wrap;

static void
make(const struct ring_ops *ops)
{
	assert_int_equal(ring_init(&r, ops, 1, SIZE), 0);
	mem = calloc(1, r.bytes);
	assert_non_null(mem);
	ring_bind(&r, GPA, mem);
	assert_int_equal(ring_reset(&r), 0);
	dev_avail = dev_used = 0;
	dev_avail_wrap = dev_used_wrap = true;
}

static int
make_split(void **state)
{
	(void)state;
	make(&ring_split);
	return 0;
}

static int
make_packed(void **state)
{
	(void)state;
	make(&ring_packed);
	return 0;
}

static int
unmake(void **state)
{
	(void)state;
	ring_fini(&r);
	free(mem);
	return 0;
}

/* ---- a device ---- */

static void
note(struct chain *c, uint64_t gpa, uint32_t len, uint16_t flags)
{
	assert_true(c->n < RING_MAX_SEGS);
	c->seg[c->n++] = (struct ring_seg){ .gpa = gpa, .len = len,
		.device_writes = (flags & VRING_DESC_F_WRITE) != 0 };
}

static bool
split_get(struct chain *c)
{
	const struct vring_desc *d = (const void *)(mem + r.desc_off);
	const struct vring_avail *avail = (const void *)(mem + r.avail_off);
	uint16_t at;

	*c = (struct chain){0};
	if (avail->idx == dev_avail)
		return false;
	c->id = at = avail->ring[dev_avail++ % SIZE];
	if (d[at].flags & VRING_DESC_F_INDIRECT) {
		assert_int_equal(d[at].addr, TABLE_GPA);
		c->descs = 1;
		d = table_mem;
		at = 0;
	}
	for (;; at = d[at].next) {
		note(c, d[at].addr, d[at].len, d[at].flags);
		c->descs += d != table_mem;
		if (!(d[at].flags & VRING_DESC_F_NEXT))
			return true;
	}
}

static void
split_put(const struct chain *c, uint32_t len)
{
	struct vring_used *used = (void *)(mem + r.used_off);

	used->ring[dev_used % SIZE] = (struct vring_used_elem){ .id = c->id, .len = len };
	used->idx = ++dev_used;
}

static bool
packed_get(struct chain *c)
{
	const struct vring_packed_desc *d = (const void *)(mem + r.desc_off);
	const struct vring_packed_desc *t = (const void *)table_mem;
	uint16_t flags = d[dev_avail].flags, i;

	*c = (struct chain){0};
	if (!!(flags & AVAIL) != dev_avail_wrap || !!(flags & USED) == dev_avail_wrap)
		return false;
	do {
		flags = d[dev_avail].flags;
		c->id = d[dev_avail].id;
		if (flags & VRING_DESC_F_INDIRECT) {
			assert_int_equal(d[dev_avail].addr, TABLE_GPA);
			for (i = 0; i < d[dev_avail].len / sizeof(*t); i++)
				note(c, t[i].addr, t[i].len, t[i].flags);
		} else {
			note(c, d[dev_avail].addr, d[dev_avail].len, flags);
		}
		c->descs++;
		if (++dev_avail == SIZE) {
			dev_avail = 0;
			dev_avail_wrap = !dev_avail_wrap;
		}
	} while (flags & VRING_DESC_F_NEXT);
	return true;
}

static void
packed_put(const struct chain *c, uint32_t len)
{
	struct vring_packed_desc *d = (void *)(mem + r.desc_off);

	d[dev_used].id = c->id;
	d[dev_used].len = len;
	d[dev_used].flags = dev_used_wrap ? AVAIL | USED : 0;
	dev_used += c->descs;
	if (dev_used >= SIZE) {
		dev_used -= SIZE;
		dev_used_wrap = !dev_used_wrap;
	}
}

static bool
dev_get(struct chain *c)
{
	return r.ops == &ring_split ? split_get(c) : packed_get(c);
}

static void
dev_put(const struct chain *c, uint32_t len)
{
	if (r.ops == &ring_split)
		split_put(c, len);
	else
		packed_put(c, len);
}

/* ---- tests of both formats ---- */

static void
segments(struct ring_seg *seg, unsigned int n, uint64_t base)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		seg[i] = (struct ring_seg){ .gpa = base + i * 0x100, .len = 10 + i,
			.device_writes = i > 0 };
}

static void
check_chain(const struct chain *c, unsigned int n, uint64_t base)
{
	struct ring_seg want[RING_MAX_SEGS];
	unsigned int i;

	segments(want, n, base);
	assert_int_equal(c->n, n);
	for (i = 0; i < n; i++) {
		assert_int_equal(c->seg[i].gpa, want[i].gpa);
		assert_int_equal(c->seg[i].len, want[i].len);
		assert_int_equal(c->seg[i].device_writes, want[i].device_writes);
	}
}

static void
test_invisible_until_published(void **state)
{
	struct ring_seg seg[2];
	struct chain c;

	(void)state;
	segments(seg, 2, 0x1000);
	assert_int_equal(r.ops->add(&r, 3, seg, 2, NULL), 0);
	assert_int_equal(r.ops->add(&r, 4, seg, 1, NULL), 0);
	assert_false(dev_get(&c));
	assert_true(r.ops->publish(&r));
	assert_true(dev_get(&c));
	check_chain(&c, 2, 0x1000);
	assert_true(dev_get(&c));
	check_chain(&c, 1, 0x1000);
	assert_false(dev_get(&c));
	assert_false(r.ops->publish(&r));
}

static void
test_full_ring(void **state)
{
	struct ring_seg seg[3];
	struct chain c;
	uint16_t id;
	uint32_t len;
	unsigned int i;

	(void)state;
	segments(seg, 3, 0);
	for (i = 0; i < SIZE / 3; i++)
		assert_int_equal(r.ops->add(&r, i, seg, 3, NULL), 0);
	assert_int_equal(r.ops->add(&r, i, seg, 3, NULL), -ENOSPC);
	assert_int_equal(r.ops->add(&r, i, seg, 1, NULL), 0);
	assert_int_equal(r.ops->add(&r, i + 1, seg, 1, NULL), -ENOSPC);
	r.ops->publish(&r);
	assert_true(dev_get(&c));
	dev_put(&c, 5);
	assert_int_equal(r.ops->used(&r, &id, &len), 1);
	assert_true(id == 0 && len == 5);
	assert_int_equal(r.ops->add(&r, 0, seg, 3, NULL), 0);
}

/* Thousands of chains of all shapes, returned in another order than they came. */
static void
test_long_run(void **state)
{
	unsigned int in_flight = 0, round;
	struct ring_seg seg[RING_MAX_SEGS];
	struct chain held[SIZE];
	bool busy[SIZE] = {0};
	uint64_t base[SIZE];
	unsigned int n[SIZE];

	(void)state;
	srand(1);
	for (round = 0; round < 20000; round++) {
		uint16_t id = rand() % SIZE;
		bool indirect = rand() % 4 == 0;
		struct chain c;
		uint32_t len;

		if (!busy[id]) {
			n[id] = 1 + rand() % RING_MAX_SEGS;
			base[id] = 0x10000 * (1 + round);
			segments(seg, n[id], base[id]);
			if (r.ops->add(&r, id, seg, n[id], indirect ? &table : NULL) == 0) {
				busy[id] = true;
				r.ops->publish(&r);
				assert_true(dev_get(&c));
				check_chain(&c, n[id], base[id]);
				held[in_flight++] = c;
			}
		}
		while (in_flight > (unsigned int)rand() % 6) {
			unsigned int pick = rand() % in_flight;

			dev_put(&held[pick], round);
			held[pick] = held[--in_flight];
			assert_int_equal(r.ops->used(&r, &id, &len), 1);
			assert_true(busy[id]);
			assert_int_equal(len, round);
			busy[id] = false;
		}
		assert_int_equal(r.ops->used(&r, &id, &len), 0);
	}
}

static void
test_reset_forgets(void **state)
{
	struct ring_seg seg[1];
	struct chain c;
	uint16_t id;
	uint32_t len;
	unsigned int i;

	(void)state;
	segments(seg, 1, 0x5000);
	for (i = 0; i < SIZE; i++)
		r.ops->add(&r, i, seg, 1, NULL);
	r.ops->publish(&r);
	assert_true(dev_get(&c));
	dev_put(&c, 1);
	assert_int_equal(ring_reset(&r), 0);
	dev_avail = dev_used = 0;
	dev_avail_wrap = dev_used_wrap = true;
	assert_int_equal(r.ops->used(&r, &id, &len), 0);
	assert_false(dev_get(&c));
	for (i = 0; i < SIZE; i++)
		assert_int_equal(r.ops->add(&r, i, seg, 1, NULL), 0);
}

/* A device that returns what it does not have is caught, not followed. */
static void
test_returned_twice(void **state)
{
	struct ring_seg seg[1];
	struct chain c;
	uint16_t id;
	uint32_t len;

	(void)state;
	segments(seg, 1, 0);
	r.ops->add(&r, 1, seg, 1, NULL);
	r.ops->add(&r, 2, seg, 1, NULL);
	r.ops->publish(&r);
	assert_true(dev_get(&c));
	dev_put(&c, 0);
	dev_put(&c, 0);
	assert_int_equal(r.ops->used(&r, &id, &len), 1);
	assert_int_equal(r.ops->used(&r, &id, &len), -EIO);
}

static void
test_returned_nonsense(void **state)
{
	struct chain c = { .id = SIZE, .descs = 1 };
	struct ring_seg seg[1];
	uint16_t id;
	uint32_t len;

	(void)state;
	segments(seg, 1, 0);
	r.ops->add(&r, 0, seg, 1, NULL);
	r.ops->publish(&r);
	dev_put(&c, 0);
	assert_int_equal(r.ops->used(&r, &id, &len), -EIO);
}

/* ---- of one format ---- */

static void
test_split_index_too_far(void **state)
{
	struct vring_used *used;
	uint16_t id;
	uint32_t len;

	(void)state;
	used = (void *)(mem + r.used_off);
	used->idx = SIZE + 1;
	assert_int_equal(r.ops->used(&r, &id, &len), -EIO);
}

static void
test_split_suppression(void **state)
{
	struct vring_avail *avail = (void *)(mem + r.avail_off);
	struct vring_used *used = (void *)(mem + r.used_off);
	struct ring_seg seg[1];

	(void)state;
	segments(seg, 1, 0);
	used->flags = VRING_USED_F_NO_NOTIFY;
	r.ops->add(&r, 0, seg, 1, NULL);
	assert_false(r.ops->publish(&r));
	used->flags = 0;
	r.ops->add(&r, 1, seg, 1, NULL);
	assert_true(r.ops->publish(&r));
	r.ops->call(&r, false);
	assert_int_equal(avail->flags, VRING_AVAIL_F_NO_INTERRUPT);
	r.ops->call(&r, true);
	assert_int_equal(avail->flags, 0);
	assert_int_equal(r.ops->first_base(), 0);
}

static void
test_packed_suppression(void **state)
{
	struct vring_packed_desc_event *driver = (void *)(mem + r.avail_off);
	struct vring_packed_desc_event *device = (void *)(mem + r.used_off);
	struct ring_seg seg[1];

	(void)state;
	segments(seg, 1, 0);
	device->flags = VRING_PACKED_EVENT_FLAG_DISABLE;
	r.ops->add(&r, 0, seg, 1, NULL);
	assert_false(r.ops->publish(&r));
	device->flags = VRING_PACKED_EVENT_FLAG_ENABLE;
	r.ops->add(&r, 1, seg, 1, NULL);
	assert_true(r.ops->publish(&r));
	r.ops->call(&r, false);
	assert_int_equal(driver->flags, VRING_PACKED_EVENT_FLAG_DISABLE);
	r.ops->call(&r, true);
	assert_int_equal(driver->flags, VRING_PACKED_EVENT_FLAG_ENABLE);
	assert_int_equal(r.ops->first_base(), 0x80008000u);
}

/* Areas as virtio wants them aligned, one behind the other, of the sizes that it gives. */
static void
test_areas(void **state)
{
	uint64_t desc, avail, used, end;

	(void)state;
	end = ring_split.areas(256, &desc, &avail, &used);
	assert_true(desc == 0 && avail == 4096 && used >= avail + 6 + 2 * 256 && used % 4 == 0);
	assert_int_equal(end, used + 6 + 8 * 256);
	end = ring_packed.areas(256, &desc, &avail, &used);
	assert_true(desc == 0 && avail == 4096 && used == avail + 4);
	assert_int_equal(end, used + 4);
}

#define BOTH(t) \
	cmocka_unit_test_setup_teardown(t, make_split, unmake), \
	cmocka_unit_test_setup_teardown(t, make_packed, unmake)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(test_invisible_until_published),
		BOTH(test_full_ring),
		BOTH(test_long_run),
		BOTH(test_reset_forgets),
		BOTH(test_returned_twice),
		BOTH(test_returned_nonsense),
		cmocka_unit_test_setup_teardown(test_split_index_too_far, make_split, unmake),
		cmocka_unit_test_setup_teardown(test_split_suppression, make_split, unmake),
		cmocka_unit_test_setup_teardown(test_packed_suppression, make_packed, unmake),
		cmocka_unit_test(test_areas),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
