/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading a ring from the vhost library and logging what the device wrote into it (ring.c), with a
 * vhost library that knows one ring.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include <rte_vhost.h>

#include "aspace.h"
#include "ring.h"

int mlx5p_logtype;

enum { VID = 3, QUEUE = 5 };

#define GPA UINT64_C(0x40000000)
#define PACKED (UINT64_C(1) << VIRTIO_F_RING_PACKED)

/* ---- the vhost library and the guest's memory ---- */

static _Alignas(4096) uint8_t memory[16 * 4096];

static struct {
	struct rte_vhost_vring vring;
	int ret;
	uint16_t avail_index, used_index;
	struct { uint64_t addr, len; } logged[4];
	unsigned int nlogged;
} vhost;

int
rte_vhost_get_vhost_vring(int vid, uint16_t queue, struct rte_vhost_vring *vring)
{
	assert_int_equal(vid, VID);
	assert_int_equal(queue, QUEUE);
	*vring = vhost.vring;
	return vhost.ret;
}

int
rte_vhost_get_vring_base(int vid, uint16_t queue, uint16_t *avail, uint16_t *used)
{
	assert_int_equal(vid, VID);
	assert_int_equal(queue, QUEUE);
	*avail = vhost.avail_index;
	*used = vhost.used_index;
	return 0;
}

void
rte_vhost_log_write(int vid, uint64_t addr, uint64_t len)
{
	assert_int_equal(vid, VID);
	vhost.logged[vhost.nlogged].addr = addr;
	vhost.logged[vhost.nlogged++].len = len;
}

int
mlx5p_aspace_gpa(const struct vhost_iotlb *maps, const void *addr, uint64_t len, uint64_t *gpa)
{
	size_t offset = (const uint8_t *)addr - memory;

	(void)maps;
	if (offset >= sizeof(memory) || len > sizeof(memory) - offset)
		return -EFAULT;
	*gpa = GPA + offset;
	return 0;
}

static int
setup(void **state)
{
	(void)state;
	memset(&vhost, 0, sizeof(vhost));
	memset(memory, 0xff, sizeof(memory));
	vhost.vring = (struct rte_vhost_vring) {
		.size = 256, .kickfd = 7, .callfd = -1,
		.desc = (void *)memory,
		.avail = (void *)(memory + 4096),
		.used = (void *)(memory + 8192),
	};
	return 0;
}

static int
read_ring(uint64_t features, struct mlx5p_ring *ring)
{
	/* Nobody looks into it: mlx5p_aspace_gpa() is ours. */
	const struct vhost_iotlb *maps = (const void *)memory;

	return mlx5p_ring_read("test", VID, QUEUE, features, maps, ring);
}

/* ---- tests ---- */

static void
test_split(void **state)
{
	struct mlx5p_ring ring;

	(void)state;
	vhost.avail_index = 65535;
	vhost.used_index = 65530;
	assert_int_equal(read_ring(0, &ring), 0);
	assert_false(ring.packed);
	assert_int_equal(ring.size, 256);
	assert_int_equal(ring.avail_index, 65535);
	assert_int_equal(ring.used_index, 65530);
	assert_true(ring.desc == GPA && ring.avail == GPA + 4096 && ring.used == GPA + 8192);
	assert_int_equal(ring.kickfd, 7);
	assert_int_equal(ring.callfd, -1);
	/* used.flags: the device wants kicks. Nothing else is written. */
	assert_int_equal(vhost.vring.used->flags, 0);
	assert_int_equal(vhost.vring.used->idx, 0xffff);
}

static void
test_packed(void **state)
{
	struct mlx5p_ring ring;

	(void)state;
	vhost.vring.size = 100;
	vhost.avail_index = 0x8000 | 17;
	vhost.used_index = 0x8000 | 16;
	assert_int_equal(read_ring(PACKED, &ring), 0);
	assert_true(ring.packed);
	assert_int_equal(ring.size, 100);
	assert_int_equal(ring.avail_index, 0x8011);
	assert_int_equal(ring.used_index, 0x8010);
	/* Descriptors, driver area, device area. */
	assert_true(ring.desc == GPA && ring.avail == GPA + 4096 && ring.used == GPA + 8192);
	assert_int_equal(vhost.vring.device_event->flags, 0);
	assert_int_equal(vhost.vring.device_event->off_wrap, 0xffff);
	assert_int_equal(vhost.vring.driver_event->flags, 0xffff);
}

/* Where the ring is, the caller knows. */
static void
test_not_translated(void **state)
{
	struct mlx5p_ring ring = { .desc = 1, .avail = 2, .used = 3 };
	const struct vhost_iotlb *none = NULL;

	(void)state;
	assert_int_equal(mlx5p_ring_read("test", VID, QUEUE, 0, none, &ring), 0);
	assert_true(ring.desc == 1 && ring.avail == 2 && ring.used == 3);
}

static void
test_sizes(void **state)
{
	static const struct { uint16_t size; bool split, packed; } sizes[] = {
		{ 0, false, false }, { 1, true, true }, { 3, false, true }, { 255, false, true },
		{ 1024, true, true }, { 65535, false, false },
	};
	struct mlx5p_ring ring;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		vhost.vring.size = sizes[i].size;
		assert_int_equal(read_ring(0, &ring), sizes[i].split ? 0 : -EINVAL);
		assert_int_equal(read_ring(PACKED, &ring), sizes[i].packed ? 0 : -EINVAL);
	}
}

static void
test_not_configured(void **state)
{
	struct mlx5p_ring ring;
	uint64_t features;

	(void)state;
	for (features = 0; features <= PACKED; features += PACKED) {
		setup(NULL);
		vhost.vring.desc = NULL;
		assert_int_equal(read_ring(features, &ring), -EINVAL);
		setup(NULL);
		vhost.vring.avail = NULL;
		assert_int_equal(read_ring(features, &ring), -EINVAL);
		setup(NULL);
		vhost.vring.used = NULL;
		assert_int_equal(read_ring(features, &ring), -EINVAL);
		setup(NULL);
		vhost.ret = -1;
		assert_int_equal(read_ring(features, &ring), -EINVAL);
	}
}

/* Each part has to lie in memory to its end. */
static void
test_outside(void **state)
{
	uint8_t *end = memory + sizeof(memory);
	struct mlx5p_ring ring;

	(void)state;
	vhost.vring.desc = (void *)(end - 256 * sizeof(struct vring_desc));
	assert_int_equal(read_ring(0, &ring), 0);
	vhost.vring.desc = (void *)(end - 256 * sizeof(struct vring_desc) + 16);
	assert_int_equal(read_ring(0, &ring), -EFAULT);
	assert_int_equal(read_ring(PACKED, &ring), -EFAULT);
	setup(NULL);
	vhost.vring.avail = (void *)(end - 4 - 2 * 256 + 2);
	assert_int_equal(read_ring(0, &ring), -EFAULT);
	setup(NULL);
	vhost.vring.used = (void *)(end - 4 - 8 * 256 + 4);
	assert_int_equal(read_ring(0, &ring), -EFAULT);
	setup(NULL);
	vhost.vring.device_event = (void *)(end - 2);
	assert_int_equal(read_ring(PACKED, &ring), -EFAULT);
	setup(NULL);
	vhost.vring.driver_event = (void *)(end - 2);
	assert_int_equal(read_ring(PACKED, &ring), -EFAULT);
	/* What is refused is not written to. */
	assert_int_equal(memory[sizeof(memory) - 1], 0xff);
	assert_int_equal(vhost.vring.device_event->flags, 0xffff);
}

static void
test_log(void **state)
{
	struct mlx5p_ring ring;

	(void)state;
	assert_int_equal(read_ring(0, &ring), 0);
	mlx5p_ring_log(VID, &ring);
	assert_int_equal(vhost.nlogged, 1);
	assert_true(vhost.logged[0].addr == GPA + 8192 && vhost.logged[0].len == 4 + 8 * 256);
	setup(NULL);
	assert_int_equal(read_ring(PACKED, &ring), 0);
	mlx5p_ring_log(VID, &ring);
	assert_int_equal(vhost.nlogged, 2);
	assert_true(vhost.logged[0].addr == GPA && vhost.logged[0].len == 16 * 256);
	assert_true(vhost.logged[1].addr == GPA + 8192 && vhost.logged[1].len == 4);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_split, setup),
		cmocka_unit_test_setup(test_packed, setup),
		cmocka_unit_test_setup(test_not_translated, setup),
		cmocka_unit_test_setup(test_sizes, setup),
		cmocka_unit_test_setup(test_not_configured, setup),
		cmocka_unit_test_setup(test_outside, setup),
		cmocka_unit_test_setup(test_log, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
