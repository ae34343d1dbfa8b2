/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Registration of the dirty log (dirty.c), with a vhost library that knows one and a card that only
 * counts.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include <linux/vhost_types.h>

#include <rte_vhost.h>

#include "dirty.h"
#include "hw.h"

int mlx5p_logtype;

enum { VID = 1, REGION_KEY = 0x1100, LOG_KEY = 0x2200 };

static const struct mlx5p_hw hw = { .name = "test" };

static struct {
	uint64_t features, addr, len;
	int fail_region, fail_klm;
	unsigned int regions, keys;
	struct mlx5p_klm klm[2];
	uint32_t nklm;
	uint64_t key_start, key_len;
} world;

int
rte_vhost_get_negotiated_features(int vid, uint64_t *features)
{
	assert_int_equal(vid, VID);
	*features = world.features;
	return 0;
}

int
rte_vhost_get_log_base(int vid, uint64_t *addr, uint64_t *len)
{
	assert_int_equal(vid, VID);
	*addr = world.addr;
	*len = world.len;
	return 0;
}

int
mlx5p_region_create(const struct mlx5p_hw *h, enum mlx5p_mr_backend backend, void *addr,
		uint64_t len, uint64_t iova, bool read_only, struct mlx5p_region *region)
{
	assert_ptr_equal(h, &hw);
	assert_false(read_only);
	assert_int_equal(backend, MLX5P_MR_DEVX);
	assert_true((uintptr_t)addr == world.addr && iova == world.addr && len == world.len);
	if (world.fail_region != 0)
		return world.fail_region;
	world.regions++;
	*region = (struct mlx5p_region) { .mkey = REGION_KEY };
	return 0;
}

void
mlx5p_region_destroy(const struct mlx5p_hw *h, struct mlx5p_region *region)
{
	(void)h;
	if (region->mkey != 0)
		world.regions--;
	region->mkey = 0;
}

int
mlx5p_devx_create_klm(const struct mlx5p_hw *h, uint64_t start, uint64_t len,
		const struct mlx5p_klm *klm, uint32_t n, struct mlx5p_obj *o)
{
	(void)h;
	assert_true(n <= 2);
	memcpy(world.klm, klm, n * sizeof(*klm));
	world.nklm = n;
	world.key_start = start;
	world.key_len = len;
	if (world.fail_klm != 0)
		return world.fail_klm;
	world.keys++;
	*o = (struct mlx5p_obj) { (void *)&world, LOG_KEY };
	return 0;
}

void
mlx5p_devx_destroy(const struct mlx5p_hw *h, struct mlx5p_obj *o, const char *what)
{
	(void)h;
	(void)what;
	if (o->obj != NULL)
		world.keys--;
	*o = (struct mlx5p_obj) { NULL, 0 };
}

static int
setup(void **state)
{
	(void)state;
	memset(&world, 0, sizeof(world));
	world.features = UINT64_C(1) << VHOST_F_LOG_ALL;
	world.addr = UINT64_C(0x7f0000000000);
	world.len = 8 << 20;
	return 0;
}

static int
open_log(struct mlx5p_dirty *dirty)
{
	return mlx5p_dirty_open(&hw, MLX5P_MR_DEVX, VID, dirty);
}

static void
test_open_and_close(void **state)
{
	struct mlx5p_dirty dirty;

	(void)state;
	assert_int_equal(open_log(&dirty), 0);
	assert_int_equal(dirty.bitmap.mkey, LOG_KEY);
	assert_true(dirty.bitmap.addr == world.addr && dirty.bitmap.size == world.len);
	assert_true(world.key_start == world.addr && world.key_len == world.len);
	assert_int_equal(world.nklm, 1);
	assert_int_equal(world.klm[0].mkey, REGION_KEY);
	mlx5p_dirty_close(&hw, &dirty);
	assert_int_equal(dirty.bitmap.mkey, 0);
	mlx5p_dirty_close(&hw, &dirty);
	assert_int_equal(world.regions, 0);
	assert_int_equal(world.keys, 0);
}

/* An entry of an indirect key covers 2 GiB. */
static void
test_long_log(void **state)
{
	struct mlx5p_dirty dirty;

	(void)state;
	world.len = UINT32_MAX;
	assert_int_equal(open_log(&dirty), 0);
	assert_int_equal(world.nklm, 2);
	assert_true(world.klm[1].address == world.addr + world.klm[0].bytes);
	assert_true((uint64_t)world.klm[0].bytes + world.klm[1].bytes == world.len);
	mlx5p_dirty_close(&hw, &dirty);
	world.len++;
	assert_int_equal(open_log(&dirty), -E2BIG);
	assert_int_equal(dirty.bitmap.mkey, 0);
}

static void
test_none(void **state)
{
	struct mlx5p_dirty dirty;

	(void)state;
	world.len = 0;
	assert_int_equal(open_log(&dirty), -ENODEV);
	world.len = 4096;
	world.addr = 0;
	assert_int_equal(open_log(&dirty), -ENODEV);
}

static void
test_refused(void **state)
{
	struct mlx5p_dirty dirty;

	(void)state;
	world.fail_region = -ENOMEM;
	assert_int_equal(open_log(&dirty), -ENOMEM);
	world.fail_region = 0;
	world.fail_klm = -EREMOTEIO;
	assert_int_equal(open_log(&dirty), -EREMOTEIO);
	assert_int_equal(dirty.bitmap.mkey, 0);
	assert_int_equal(world.regions, 0);
	mlx5p_dirty_close(&hw, &dirty);
}

static void
test_reachable(void **state)
{
	size_t page = sysconf(_SC_PAGESIZE);
	uint8_t *log = mmap(NULL, 4 * page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		0);

	(void)state;
	assert_ptr_not_equal(log, MAP_FAILED);
	assert_int_equal(munmap(log + 3 * page, page), 0);
	world.addr = (uintptr_t)log;
	world.len = 3 * page;
	assert_true(mlx5p_dirty_reachable(VID));
	world.addr += 64;
	world.len -= 64;
	assert_true(mlx5p_dirty_reachable(VID));
	/* Mapped from its beginning, and less of it than there is. */
	world.len += 1;
	assert_false(mlx5p_dirty_reachable(VID));
	world.len = page;
	world.features = 0;
	assert_false(mlx5p_dirty_reachable(VID));
	setup(NULL);
	world.addr = 0;
	assert_false(mlx5p_dirty_reachable(VID));
	munmap(log, 3 * page);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_open_and_close, setup),
		cmocka_unit_test_setup(test_long_log, setup),
		cmocka_unit_test_setup(test_none, setup),
		cmocka_unit_test_setup(test_refused, setup),
		cmocka_unit_test_setup(test_reachable, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
