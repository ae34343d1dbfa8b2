/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The driver's pins (pins.c) on several threads, with holders that come, go and give up; memory
 * regions are counted and nothing else.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <rte_common.h>

#include "hw.h"
#include "pins.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define NONE UINT64_MAX

int mlx5p_logtype;

/* Guests of these tests are large and hold nothing. */
int __wrap_madvise(void *addr, size_t len, int advice);

int
__wrap_madvise(void *addr, size_t len, int advice)
{
	RTE_SET_USED(addr);
	RTE_SET_USED(len);
	RTE_SET_USED(advice);
	return 0;
}

/* ---- the card ---- */

static struct {
	pthread_mutex_t lock;
	uint32_t next_mkey;
	unsigned int made, gone;
	unsigned int read_only;    /* of those made */
	uint64_t bytes;            /* registered now */
	uint64_t fail_at;          /* the file offset that can't be registered */
	const struct mlx5p_hold *called_off; /* register no more before this one is called off */
	uint64_t len[64];          /* by number of the key */
} card;

int
mlx5p_region_create(const struct mlx5p_hw *hw, enum mlx5p_mr_backend backend, void *addr,
		uint64_t len, uint64_t iova, bool read_only, struct mlx5p_region *region)
{
	RTE_SET_USED(hw);
	RTE_SET_USED(backend);
	while (card.called_off != NULL && atomic_load(&card.called_off->ret) == 0)
		sched_yield();
	if (card.fail_at >= iova && card.fail_at < iova + len)
		return -EIO;
	*(volatile char *)addr = 1; /* it is mapped */
	pthread_mutex_lock(&card.lock);
	card.made++;
	card.read_only += read_only;
	card.bytes += len;
	region->mkey = ++card.next_mkey;
	card.len[region->mkey % RTE_DIM(card.len)] = len;
	pthread_mutex_unlock(&card.lock);
	return 0;
}

void
mlx5p_region_destroy(const struct mlx5p_hw *hw, struct mlx5p_region *region)
{
	RTE_SET_USED(hw);
	pthread_mutex_lock(&card.lock);
	card.gone++;
	card.bytes -= card.len[region->mkey % RTE_DIM(card.len)];
	pthread_mutex_unlock(&card.lock);
}

/* ---- holders ---- */

static const struct mlx5p_hw hw = { .name = "test" };
static struct mlx5p_workers *workers;
static struct mlx5p_pins *pins;

static int
setup_threads(unsigned int n)
{
	memset(&card, 0, sizeof(card));
	pthread_mutex_init(&card.lock, NULL);
	card.fail_at = NONE;
	if (mlx5p_workers_get(-1, n, &workers) < 0)
		return -1;
	pins = mlx5p_pins_create(&hw, MLX5P_MR_VERBS, workers);
	return pins != NULL ? 0 : -1;
}

static int
setup_alone(void **state)
{
	RTE_SET_USED(state);
	return setup_threads(0);
}

static int
setup(void **state)
{
	RTE_SET_USED(state);
	return setup_threads(3);
}

static int
teardown(void **state)
{
	RTE_SET_USED(state);
	mlx5p_pins_destroy(pins);
	mlx5p_workers_put(workers);
	return card.bytes == 0 && card.made == card.gone ? 0 : -1;
}

static struct mlx5p_extent
new_file(uint64_t size)
{
	int fd = memfd_create("guest", MFD_CLOEXEC);
	struct stat st;

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, size), 0);
	assert_int_equal(fstat(fd, &st), 0);
	return (struct mlx5p_extent) { .dev = st.st_dev, .ino = st.st_ino, .fd = fd, .len = size };
}

static struct mlx5p_extent
part(const struct mlx5p_extent *file, uint64_t offset, uint64_t len)
{
	struct mlx5p_extent extent = *file;

	extent.offset = offset;
	extent.len = len;
	return extent;
}

static int
take(const struct mlx5p_extent *extent, struct mlx5p_hold *hold)
{
	int ret = mlx5p_pins_plan(pins, extent, 1, hold);

	if (ret < 0)
		return ret;
	mlx5p_pins_begin(pins, hold);
	return mlx5p_pins_finish(hold);
}

static struct mlx5p_pins_stats
stats(void)
{
	struct mlx5p_pins_stats s;

	mlx5p_pins_stats(pins, &s);
	return s;
}

/* The pieces of a hold are registered and cover the extent from start to end. */
static void
assert_covers(const struct mlx5p_hold *hold, const struct mlx5p_extent *extent)
{
	uint64_t at = extent->offset;
	uint32_t i;

	for (i = 0; i < hold->npieces; i++) {
		assert_int_equal(hold->pieces[i].offset, at);
		assert_true(mlx5p_pin_mkey(hold->pieces[i].pin) != 0);
		at += hold->pieces[i].len;
	}
	assert_int_equal(at, extent->offset + extent->len);
}

/* ---- tests ---- */

static void
a_region_is_cut_for_several_threads(void **state)
{
	struct mlx5p_extent file = new_file(2 * GIB + 5 * MIB);
	struct mlx5p_extent all = part(&file, 3 * MIB, 2 * GIB + MIB);
	struct mlx5p_hold hold = { .npieces = 0 };

	RTE_SET_USED(state);
	assert_int_equal(take(&all, &hold), 0);
	assert_covers(&hold, &all);
	assert_int_equal(card.bytes, all.len);
	assert_int_equal(stats().bytes_total, all.len);
	assert_true(card.made >= 3);
	assert_true(card.made <= 2 * GIB / (128 * MIB) + 2);
	mlx5p_pins_release(pins, &hold);
	close(file.fd);
}

static void
little_memory_is_one_pin(void **state)
{
	struct mlx5p_extent file = new_file(64 * MIB);
	struct mlx5p_hold hold = { .npieces = 0 };

	RTE_SET_USED(state);
	assert_int_equal(take(&file, &hold), 0);
	assert_int_equal(card.made, 1);
	mlx5p_pins_release(pins, &hold);
	close(file.fd);
}

static void
memory_that_is_only_read_has_pins_of_its_own(void **state)
{
	struct mlx5p_extent file = new_file(64 * MIB), again = file;
	struct mlx5p_hold hold = { .npieces = 0 }, other = { .npieces = 0 };

	RTE_SET_USED(state);
	again.read_only = true;
	assert_int_equal(take(&file, &hold), 0);
	assert_int_equal(card.read_only, 0);
	assert_int_equal(take(&again, &other), 0);
	assert_int_equal(card.made, 2);
	assert_int_equal(card.read_only, 1);
	assert_int_not_equal(mlx5p_pin_mkey(hold.pieces[0].pin),
		mlx5p_pin_mkey(other.pieces[0].pin));
	mlx5p_pins_release(pins, &hold);
	mlx5p_pins_release(pins, &other);
	close(file.fd);
}

static void
without_threads_the_grid_is_coarse(void **state)
{
	struct mlx5p_extent file = new_file(2 * GIB);
	struct mlx5p_hold hold = { .npieces = 0 };

	RTE_SET_USED(state);
	assert_int_equal(take(&file, &hold), 0);
	assert_int_equal(card.made, 2);
	mlx5p_pins_release(pins, &hold);
	close(file.fd);
}

static void
one_chunk_that_fails_fails_its_table_alone(void **state)
{
	struct mlx5p_extent file = new_file(3 * GIB), good = part(&file, 0, MIB);
	struct mlx5p_hold hold = { .npieces = 0 }, before = { .npieces = 0 };

	RTE_SET_USED(state);
	assert_int_equal(take(&good, &before), 0);
	card.fail_at = 2 * GIB + 7;
	assert_int_equal(take(&file, &hold), -EIO);
	mlx5p_pins_rollback(pins, &hold);
	assert_int_equal(card.bytes, MIB);
	assert_int_equal(stats().pins, 1);
	card.fail_at = NONE;
	assert_int_equal(take(&file, &hold), 0);
	assert_covers(&hold, &file);
	assert_int_equal(card.bytes, 3 * GIB);
	mlx5p_pins_release(pins, &hold);
	mlx5p_pins_release(pins, &before);
	close(file.fd);
}

static void
a_file_that_got_no_pin_is_closed(void **state)
{
	struct mlx5p_extent file = new_file(MIB);
	struct mlx5p_hold hold = { .npieces = 0 };

	RTE_SET_USED(state);
	card.fail_at = 0;
	assert_int_equal(take(&file, &hold), -EIO);
	mlx5p_pins_rollback(pins, &hold);
	assert_int_equal(stats().files, 0);
	close(file.fd);
}

static void
who_wants_what_just_failed_gets_the_same_answer(void **state)
{
	struct mlx5p_extent file = new_file(2 * GIB), bad = part(&file, GIB, MIB);
	struct mlx5p_hold ahead = { .npieces = 0 }, hold = { .npieces = 0 };

	RTE_SET_USED(state);
	card.fail_at = GIB;
	assert_int_equal(take(&file, &ahead), -EIO);
	card.fail_at = NONE;
	assert_int_equal(mlx5p_pins_plan(pins, &bad, 1, &hold), -EIO);
	mlx5p_pins_rollback(pins, &hold);
	mlx5p_pins_rollback(pins, &ahead);
	assert_int_equal(take(&bad, &hold), 0);
	mlx5p_pins_release(pins, &hold);
	close(file.fd);
}

/* A table takes the place of another one whose registration is under way. */
static void
what_is_called_off_can_be_planned_again(void **state)
{
	struct mlx5p_extent file = new_file(4 * GIB), half = part(&file, GIB, 2 * GIB);
	struct mlx5p_hold first = { .npieces = 0 }, second = { .npieces = 0 };

	RTE_SET_USED(state);
	card.called_off = &first;
	assert_int_equal(mlx5p_pins_plan(pins, &file, 1, &first), 0);
	mlx5p_pins_begin(pins, &first);
	mlx5p_pins_cancel(&first);
	card.called_off = NULL;
	assert_int_equal(mlx5p_pins_plan(pins, &half, 1, &second), 0);
	mlx5p_pins_cancel(&first); /* once more changes nothing */
	mlx5p_pins_rollback(pins, &first);
	mlx5p_pins_begin(pins, &second);
	assert_int_equal(mlx5p_pins_finish(&second), 0);
	assert_covers(&second, &half);
	/* Pins of the first table that reach over the second one's ends may be whole. */
	assert_true(card.bytes >= half.len);
	mlx5p_pins_release(pins, &second);
	close(file.fd);
}

static void
what_is_called_off_and_not_wanted_leaves_nothing(void **state)
{
	struct mlx5p_extent file = new_file(4 * GIB);
	struct mlx5p_hold hold = { .npieces = 0 };

	RTE_SET_USED(state);
	card.called_off = &hold;
	assert_int_equal(mlx5p_pins_plan(pins, &file, 1, &hold), 0);
	mlx5p_pins_begin(pins, &hold);
	mlx5p_pins_cancel(&hold);
	mlx5p_pins_rollback(pins, &hold);
	assert_int_equal(card.bytes, 0);
	assert_int_equal(stats().files, 0);
	close(file.fd);
}

/* A table takes the place of another one, whose pins it wants, and is called off itself. */
static void
what_was_taken_over_and_never_in_force_leaves_nothing(void **state)
{
	struct mlx5p_extent file = new_file(2 * GIB), half = part(&file, 0, GIB);
	struct mlx5p_hold first = { .npieces = 0 }, second = { .npieces = 0 };

	RTE_SET_USED(state);
	assert_int_equal(take(&half, &first), 0);
	assert_int_equal(take(&file, &second), 0);
	mlx5p_pins_rollback(pins, &first);
	assert_int_equal(card.bytes, file.len);
	mlx5p_pins_rollback(pins, &second);
	assert_int_equal(card.bytes, 0);
	/* What a table had in force waits for the next. */
	assert_int_equal(take(&half, &first), 0);
	mlx5p_pins_count(pins, &first);
	mlx5p_pins_release(pins, &first);
	assert_int_equal(take(&file, &second), 0);
	mlx5p_pins_rollback(pins, &second);
	assert_int_equal(card.bytes, half.len);
	close(file.fd);
}

static void
pins_wait_when_their_last_holder_goes(void **state)
{
	struct mlx5p_extent file = new_file(GIB), part_of_it = part(&file, 4096, MIB);
	struct mlx5p_hold one = { .npieces = 0 }, two = { .npieces = 0 };
	unsigned int made;

	RTE_SET_USED(state);
	assert_int_equal(take(&file, &one), 0);
	made = card.made;
	assert_int_equal(take(&part_of_it, &two), 0);
	assert_int_equal(card.made, made);
	mlx5p_pins_release(pins, &one);
	assert_int_equal(stats().bytes, GIB);
	assert_true(stats().bytes_waiting < GIB);
	mlx5p_pins_release(pins, &two);
	assert_int_equal(stats().bytes_waiting, GIB);
	assert_int_equal(stats().waiting, made);
	assert_int_equal(take(&file, &one), 0);
	assert_int_equal(card.made, made);
	assert_int_equal(mlx5p_pins_sweep(pins), 0);
	mlx5p_pins_release(pins, &one);
	assert_int_equal(mlx5p_pins_sweep(pins), GIB);
	assert_int_equal(stats().files, 0);
	close(file.fd);
}

static void
a_rollback_spares_what_others_hold(void **state)
{
	struct mlx5p_extent file = new_file(GIB), part_of_it = part(&file, 0, MIB);
	struct mlx5p_hold one = { .npieces = 0 }, two = { .npieces = 0 };

	RTE_SET_USED(state);
	assert_int_equal(take(&file, &one), 0);
	assert_int_equal(take(&part_of_it, &two), 0);
	mlx5p_pins_rollback(pins, &one);
	assert_covers(&two, &part_of_it);
	assert_true(card.bytes >= MIB && card.bytes < GIB);
	mlx5p_pins_release(pins, &two);
	close(file.fd);
}

static void
hits_and_misses_are_of_what_came_into_force(void **state)
{
	struct mlx5p_extent file = new_file(96 * MIB), half = part(&file, 0, 32 * MIB);
	struct mlx5p_hold ahead = { .npieces = 0 }, one = { .npieces = 0 }, two = { .npieces = 0 };

	RTE_SET_USED(state);
	assert_int_equal(take(&half, &ahead), 0); /* ahead of a table: neither */
	assert_int_equal(stats().misses + stats().hits, 0);
	assert_int_equal(take(&half, &one), 0);
	mlx5p_pins_count(pins, &one);
	assert_int_equal(stats().miss_bytes, 32 * MIB);
	assert_int_equal(stats().hit_bytes, 0);
	assert_int_equal(take(&file, &two), 0);
	mlx5p_pins_count(pins, &two);
	assert_int_equal(stats().miss_bytes, 96 * MIB);
	assert_int_equal(stats().hit_bytes, 32 * MIB);
	assert_int_equal(stats().hits, 1);
	assert_int_equal(stats().misses, 2);
	mlx5p_pins_release(pins, &ahead);
	mlx5p_pins_release(pins, &one);
	mlx5p_pins_release(pins, &two);
	close(file.fd);
}

static void
note_state(void *arg, const struct mlx5p_pin_info *pin)
{
	char *text = arg;

	strcat(text, pin->state);
	strcat(text, pin->mkey != 0 ? "+ " : "- ");
}

static void
a_walk_tells_the_state_of_each_pin(void **state)
{
	struct mlx5p_extent file = new_file(3 * MIB), first = part(&file, 0, MIB);
	struct mlx5p_extent second = part(&file, MIB, MIB), third = part(&file, 2 * MIB, MIB);
	struct mlx5p_hold one = { .npieces = 0 }, two = { .npieces = 0 }, three = { .npieces = 0 };
	char text[64] = "";

	RTE_SET_USED(state);
	assert_int_equal(take(&first, &one), 0);
	assert_int_equal(take(&second, &two), 0);
	mlx5p_pins_release(pins, &two);
	assert_int_equal(mlx5p_pins_plan(pins, &third, 1, &three), 0);
	mlx5p_pins_walk(pins, note_state, text);
	assert_string_equal(text, "held+ waiting+ planned- ");
	mlx5p_pins_rollback(pins, &three);
	mlx5p_pins_release(pins, &one);
	close(file.fd);
}

/* Pins come and go in any order: up, down, to and fro. */
static void
a_pin_is_found_in_whatever_order_pins_came(void **state)
{
	enum { PAGES = 32 };
	static const uint8_t orders[][PAGES] = {
		{ 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31 },
		{ 30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0 },
		{ 16, 31, 0, 17, 15, 1, 30, 2, 29, 14, 18, 3, 28, 13, 19, 27 },
	};
	const uint64_t page = 4096;
	struct mlx5p_extent file = new_file(PAGES * page), extent;
	struct mlx5p_hold all = { .npieces = 0 }, holds[16] = { { .npieces = 0 } };
	size_t round, i;

	RTE_SET_USED(state);
	for (round = 0; round < RTE_DIM(orders); round++) {
		for (i = 0; i < RTE_DIM(holds); i++) {
			extent = part(&file, orders[round][i] * page, page);
			assert_int_equal(take(&extent, &holds[i]), 0);
			assert_covers(&holds[i], &extent);
			if (i % 3 == 2) {
				mlx5p_pins_release(pins, &holds[i]);
				mlx5p_pins_sweep(pins);
			}
		}
		assert_int_equal(take(&file, &all), 0);
		assert_covers(&all, &file);
		mlx5p_pins_release(pins, &all);
		for (i = 0; i < RTE_DIM(holds); i++)
			mlx5p_pins_release(pins, &holds[i]);
		assert_int_equal(card.bytes, PAGES * page);
		if (round % 2 == 0)
			mlx5p_pins_sweep(pins);
		else
			mlx5p_pins_sweep_later(pins);
	}
	close(file.fd);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_region_is_cut_for_several_threads),
		TEST(little_memory_is_one_pin),
		TEST(memory_that_is_only_read_has_pins_of_its_own),
		cmocka_unit_test_setup_teardown(without_threads_the_grid_is_coarse, setup_alone,
			teardown),
		TEST(one_chunk_that_fails_fails_its_table_alone),
		TEST(a_file_that_got_no_pin_is_closed),
		TEST(who_wants_what_just_failed_gets_the_same_answer),
		TEST(what_is_called_off_can_be_planned_again),
		cmocka_unit_test_setup_teardown(what_is_called_off_and_not_wanted_leaves_nothing,
			setup_alone, teardown),
		TEST(what_is_called_off_and_not_wanted_leaves_nothing),
		TEST(what_was_taken_over_and_never_in_force_leaves_nothing),
		TEST(pins_wait_when_their_last_holder_goes),
		TEST(a_rollback_spares_what_others_hold),
		TEST(hits_and_misses_are_of_what_came_into_force),
		TEST(a_walk_tells_the_state_of_each_pin),
		TEST(a_pin_is_found_in_whatever_order_pins_came),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
