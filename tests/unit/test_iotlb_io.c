/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The IOTLB of a vhost-user connection: what its messages make of its maps, and what of them stays
 * when the memory table behind them is another one.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <linux/vhost_types.h>

#include "user_iotlb.h"

#define MIB (UINT64_C(1) << 20)
#define USER UINT64_C(0x7f0000000000)
#define HOST UINT64_C(0x500000000000)
#define IOVA UINT64_C(0xfeed00000000)

static struct user_iotlb *io;
static struct user_backings *mem;

/* A region of @size bytes at @user, which shows file @ino from @offset on. */
static void
add_backing(uint64_t user, uint64_t size, ino_t ino, uint64_t offset, int fd)
{
	mem = realloc(mem, sizeof(*mem) + (mem->n + 1) * sizeof(mem->v[0]));
	mem->v[mem->n++] = (struct user_backing){
		.user_addr = user,
		.map = {
			.start = 16 * MIB * mem->n, .last = 16 * MIB * mem->n + size - 1,
			.addr = HOST * mem->n, .perm = VHOST_ACCESS_RW,
			.backing = { .dev = 1, .ino = ino, .offset = offset, .fd = fd },
		},
	};
}

static int
set_up(void **state)
{
	(void)state;
	io = user_iotlb_create();
	mem = calloc(1, sizeof(*mem));
	if (io == NULL || mem == NULL)
		return -1;
	add_backing(USER, 8 * MIB, 10, 0, 100);
	add_backing(USER + 8 * MIB, 4 * MIB, 11, 2 * MIB, 101);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	user_iotlb_destroy(io);
	free(mem);
	return 0;
}

static const char *
check(uint8_t type, uint64_t iova, uint64_t size, uint64_t user, uint8_t perm)
{
	struct vhost_iotlb_msg msg = {
		.type = type, .iova = iova, .size = size, .uaddr = user, .perm = perm };
	const char *problem = user_iotlb_check(io, mem, &msg);

	/* The vhost library knows no others. */
	if (problem == NULL)
		assert_true(msg.type == VHOST_IOTLB_UPDATE || msg.type == VHOST_IOTLB_INVALIDATE);
	if (problem == NULL && msg.type != type)
		assert_int_equal(msg.size, 0);
	return problem;
}

/* A good message: what user_iotlb_apply() says. */
static int
does(uint8_t type, uint64_t iova, uint64_t size, uint64_t user)
{
	int ret;

	assert_null(check(type, iova, size, user, VHOST_ACCESS_RW));
	ret = user_iotlb_apply(io);
	if (ret > 0)
		user_iotlb_keep(io, true);
	return ret;
}

static void
refused(const char *why, uint8_t type, uint64_t iova, uint64_t size, uint64_t user, uint8_t perm)
{
	const char *problem = check(type, iova, size, user, perm);

	assert_non_null(problem);
	if (strstr(problem, why) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", problem, why);
}

static const struct vhost_iotlb_map *
at(uint64_t iova)
{
	return vhost_iotlb_lookup(user_iotlb_maps(io), iova);
}

static void
an_update_maps_the_memory_behind_its_addresses(void **state)
{
	const struct vhost_iotlb_map *map;

	(void)state;
	assert_null(check(VHOST_IOTLB_UPDATE, IOVA, MIB, USER + 9 * MIB, VHOST_ACCESS_RO));
	assert_int_equal(user_iotlb_apply(io), 1);
	user_iotlb_keep(io, true);
	map = at(IOVA + 5);
	assert_non_null(map);
	assert_true(map->start == IOVA && map->last == IOVA + MIB - 1);
	assert_int_equal(map->perm, VHOST_ACCESS_RO);
	assert_int_equal(map->backing.ino, 11);
	assert_int_equal(map->backing.offset, 3 * MIB);
	assert_int_equal(map->backing.fd, 101);
	assert_true(map->addr == 2 * HOST + MIB);
}

static void
what_is_there_already_is_no_change_and_no_error(void **state)
{
	(void)state;
	assert_int_equal(does(VHOST_IOTLB_UPDATE, IOVA, MIB, USER), 1);
	assert_int_equal(does(VHOST_IOTLB_UPDATE, IOVA + MIB, MIB, USER + MIB), 1);
	assert_int_equal(does(VHOST_IOTLB_UPDATE, IOVA + MIB / 2, MIB, USER + MIB / 2), 0);
	refused("overlaps", VHOST_IOTLB_UPDATE, IOVA, MIB, USER + MIB, VHOST_ACCESS_RW);
	refused("overlaps", VHOST_IOTLB_UPDATE, IOVA, MIB, USER, VHOST_ACCESS_RO);
	refused("overlaps", VHOST_IOTLB_UPDATE, IOVA, 3 * MIB, USER, VHOST_ACCESS_RW);
	assert_int_equal(vhost_iotlb_count(user_iotlb_maps(io)), 2);
}

static void
an_invalidation_cuts(void **state)
{
	(void)state;
	assert_int_equal(does(VHOST_IOTLB_UPDATE, IOVA, 4 * MIB, USER), 1);
	assert_int_equal(does(VHOST_IOTLB_INVALIDATE, IOVA + MIB, MIB, 0), 1);
	assert_int_equal(vhost_iotlb_count(user_iotlb_maps(io)), 2);
	assert_int_equal(at(IOVA + 3 * MIB)->backing.offset, 2 * MIB);
	assert_null(at(IOVA + MIB));
	assert_int_equal(does(VHOST_IOTLB_INVALIDATE, 0, UINT64_MAX, 0), 1);
	assert_int_equal(vhost_iotlb_count(user_iotlb_maps(io)), 0);
}

static void
what_the_device_refuses_is_undone(void **state)
{
	(void)state;
	assert_int_equal(does(VHOST_IOTLB_UPDATE, IOVA, MIB, USER), 1);
	assert_null(check(VHOST_IOTLB_INVALIDATE, IOVA, MIB, 0, 0));
	assert_int_equal(user_iotlb_apply(io), 1);
	user_iotlb_keep(io, false);
	assert_non_null(at(IOVA));
	assert_int_equal(does(VHOST_IOTLB_BATCH_BEGIN, 0, 0, 0), 0);
	assert_int_equal(does(VHOST_IOTLB_INVALIDATE, IOVA, MIB, 0), 0);
	assert_null(check(VHOST_IOTLB_BATCH_END, 0, 0, 0, 0));
	assert_int_equal(user_iotlb_apply(io), 1);
	user_iotlb_keep(io, false);
	assert_non_null(at(IOVA));
}

static void
a_batch_shows_at_its_end(void **state)
{
	(void)state;
	refused("no batch", VHOST_IOTLB_BATCH_END, 0, 0, 0, 0);
	assert_int_equal(does(VHOST_IOTLB_UPDATE, IOVA, MIB, USER), 1);
	assert_int_equal(does(VHOST_IOTLB_BATCH_BEGIN, 0, 0, 0), 0);
	refused("is open", VHOST_IOTLB_BATCH_BEGIN, 0, 0, 0, 0);
	assert_int_equal(does(VHOST_IOTLB_INVALIDATE, IOVA, MIB, 0), 0);
	assert_int_equal(does(VHOST_IOTLB_UPDATE, IOVA, MIB, USER + MIB), 0);
	assert_int_equal(at(IOVA)->backing.offset, 0);
	assert_int_equal(does(VHOST_IOTLB_BATCH_END, 0, 0, 0), 1);
	assert_int_equal(at(IOVA)->backing.offset, MIB);
}

static void
bad_messages_say_what_is_wrong(void **state)
{
	(void)state;
	refused("size is 0", VHOST_IOTLB_UPDATE, IOVA, 0, USER, VHOST_ACCESS_RW);
	refused("size is 0", VHOST_IOTLB_INVALIDATE, IOVA, 0, 0, 0);
	refused("past the last", VHOST_IOTLB_UPDATE, UINT64_MAX, 2, USER, VHOST_ACCESS_RW);
	refused("permission", VHOST_IOTLB_UPDATE, IOVA, MIB, USER, 0);
	refused("permission", VHOST_IOTLB_UPDATE, IOVA, MIB, USER, 4);
	refused("not within", VHOST_IOTLB_UPDATE, IOVA, MIB, USER - 1, VHOST_ACCESS_RW);
	refused("not within", VHOST_IOTLB_UPDATE, IOVA, MIB, USER + 8 * MIB - 1, VHOST_ACCESS_RW);
	refused("not within", VHOST_IOTLB_UPDATE, IOVA, MIB, USER + 12 * MIB, VHOST_ACCESS_RW);
	refused("not within", VHOST_IOTLB_UPDATE, IOVA, UINT64_MAX - IOVA, USER, VHOST_ACCESS_RW);
	refused("back-end's", VHOST_IOTLB_MISS, IOVA, MIB, USER, VHOST_ACCESS_RW);
	refused("back-end's", VHOST_IOTLB_ACCESS_FAIL, IOVA, MIB, USER, VHOST_ACCESS_RW);
	refused("unknown", 7, IOVA, MIB, USER, VHOST_ACCESS_RW);
	mem->n = 0;
	refused("not within", VHOST_IOTLB_UPDATE, IOVA, MIB, USER, VHOST_ACCESS_RW);
	assert_int_equal(vhost_iotlb_count(user_iotlb_maps(io)), 0);
}

static void
maps_stay_with_their_memory_in_another_table(void **state)
{
	(void)state;
	assert_int_equal(does(VHOST_IOTLB_UPDATE, IOVA, 8 * MIB, USER), 1);
	assert_int_equal(does(VHOST_IOTLB_UPDATE, IOVA + 16 * MIB, 4 * MIB, USER + 8 * MIB), 1);
	assert_int_equal(does(VHOST_IOTLB_BATCH_BEGIN, 0, 0, 0), 0);
	assert_int_equal(does(VHOST_IOTLB_UPDATE, IOVA + 32 * MIB, MIB, USER + 8 * MIB), 0);
	assert_int_equal(does(VHOST_IOTLB_UPDATE, IOVA + 48 * MIB, MIB, USER), 0);
	/* File 10 in two pieces with a hole between them, elsewhere; file 11 not at all. */
	mem->n = 0;
	add_backing(USER * 2, 3 * MIB, 10, 5 * MIB, 102);
	add_backing(USER * 3, 2 * MIB, 10, 0, 103);
	assert_int_equal(user_iotlb_rebase(io, mem), 3 * MIB + 4 * MIB);
	assert_int_equal(vhost_iotlb_count(user_iotlb_maps(io)), 2);
	assert_int_equal(at(IOVA)->backing.fd, 103);
	assert_true(at(IOVA)->addr == 2 * HOST);
	assert_true(at(IOVA)->last == IOVA + 2 * MIB - 1);
	assert_true(at(IOVA + 5 * MIB)->start == IOVA + 5 * MIB);
	assert_int_equal(at(IOVA + 5 * MIB)->backing.fd, 102);
	assert_true(at(IOVA + 5 * MIB)->addr == HOST);
	assert_null(at(IOVA + 16 * MIB));
	/* What came in the batch, and is there still, shows at its end. */
	assert_int_equal(does(VHOST_IOTLB_BATCH_END, 0, 0, 0), 1);
	assert_int_equal(at(IOVA)->backing.fd, 103);
	assert_null(at(IOVA + 16 * MIB));
	assert_null(at(IOVA + 32 * MIB));
	assert_non_null(at(IOVA + 48 * MIB));
	assert_int_equal(at(IOVA + 48 * MIB)->backing.fd, 103);
	assert_int_equal(does(VHOST_IOTLB_INVALIDATE, IOVA + 48 * MIB, MIB, 0), 1);
	mem->n = 0;
	assert_int_equal(user_iotlb_rebase(io, mem), 5 * MIB);
	assert_int_equal(vhost_iotlb_count(user_iotlb_maps(io)), 0);
}

static void
rings_are_where_they_were_put_last(void **state)
{
	struct vhost_iotlb_user_ring ring = { .desc = 1, .avail = 2, .used = 3 };

	(void)state;
	assert_null(user_iotlb_ring(io, 0));
	user_iotlb_set_ring(io, 0, &ring);
	ring.desc = 4;
	user_iotlb_set_ring(io, USER_IOTLB_RINGS - 1, &ring);
	user_iotlb_set_ring(io, USER_IOTLB_RINGS, &ring);
	assert_int_equal(user_iotlb_ring(io, 0)->desc, 1);
	assert_int_equal(user_iotlb_ring(io, USER_IOTLB_RINGS - 1)->desc, 4);
	assert_null(user_iotlb_ring(io, USER_IOTLB_RINGS));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_update_maps_the_memory_behind_its_addresses),
		TEST(what_is_there_already_is_no_change_and_no_error),
		TEST(an_invalidation_cuts),
		TEST(what_the_device_refuses_is_undone),
		TEST(a_batch_shows_at_its_end),
		TEST(bad_messages_say_what_is_wrong),
		TEST(maps_stay_with_their_memory_in_another_table),
		TEST(rings_are_where_they_were_put_last),
	};

	return cmocka_run_group_tests_name("iotlb_io", tests, NULL, NULL);
}
