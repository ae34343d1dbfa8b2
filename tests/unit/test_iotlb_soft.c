/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The software parent of lib/vhost_iotlb, operation by operation: what its device reaches, what it
 * does not, and that an operation that fails has changed nothing. (That it keeps the contract is
 * for the conformance suite.)
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "soft_parent.h"

#define PAGE UINT64_C(4096)
#define FILE_PAGES 16u
#define FILES 2u
#define NAS 2u
#define DATA VHOST_IOTLB_SOFT_DATA
#define DESC VHOST_IOTLB_SOFT_DESC

/* Allocation number fail_at (1 is the next) fails; 0: none does. */
static unsigned int fail_at;

void *__real_calloc(size_t n, size_t size);
void *__real_aligned_alloc(size_t align, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);

static bool
alloc_fails(void)
{
	return fail_at != 0 && --fail_at == 0;
}

void *
__wrap_calloc(size_t n, size_t size)
{
	return alloc_fails() ? NULL : __real_calloc(n, size);
}

void *
__wrap_aligned_alloc(size_t align, size_t size)
{
	return alloc_fails() ? NULL : __real_aligned_alloc(align, size);
}

static const struct vhost_iotlb_parent_ops *const ops = &vhost_iotlb_soft_ops;
static struct vhost_iotlb_soft *soft;
static int files[FILES];

static int
set_up(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < FILES; i++) {
		files[i] = memfd_create("guest", 0);
		if (files[i] < 0 || ftruncate(files[i], FILE_PAGES * PAGE) < 0)
			return -1;
	}
	soft = vhost_iotlb_soft_create(NAS);
	if (soft == NULL)
		return -1;
	vhost_iotlb_soft_start(soft);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	vhost_iotlb_soft_destroy(soft);
	for (unsigned int i = 0; i < FILES; i++)
		close(files[i]);
	return 0;
}

/* @p pages of a file, from @p file_page on, at guest page @p at. */
static struct vhost_iotlb_map
map_of(unsigned int file, unsigned int file_page, unsigned int at, unsigned int pages)
{
	struct stat st;

	assert_int_equal(fstat(files[file], &st), 0);
	return (struct vhost_iotlb_map){
		.start = at * PAGE, .last = (at + pages) * PAGE - 1, .perm = VHOST_ACCESS_RW,
		.backing = { .dev = st.st_dev, .ino = st.st_ino, .offset = file_page * PAGE,
			.fd = files[file] } };
}

static struct vhost_iotlb *
table_of(const struct vhost_iotlb_map *maps, size_t n)
{
	struct vhost_iotlb *t = vhost_iotlb_create(VHOST_IOTLB_UNLIMITED, 0);

	for (size_t i = 0; i < n; i++)
		assert_int_equal(vhost_iotlb_add(t, &maps[i]), 0);
	return t;
}

/* What the device writes at @p addr arrives at @p offset of the file, and it reads it back. */
static void
assert_reaches(unsigned int group, uint64_t addr, unsigned int file, uint64_t offset)
{
	static uint64_t word;
	uint64_t seen = 0;

	word++;
	assert_int_equal(vhost_iotlb_soft_write(soft, group, addr, &word, sizeof(word)), 0);
	assert_int_equal(pread(files[file], &seen, sizeof(seen), offset), sizeof(seen));
	assert_int_equal(seen, word);
	seen = 0;
	assert_int_equal(vhost_iotlb_soft_read(soft, group, addr, &seen, sizeof(seen)), 0);
	assert_int_equal(seen, word);
}

static void
assert_faults(unsigned int group, uint64_t addr)
{
	uint64_t word = 0;

	assert_int_equal(vhost_iotlb_soft_write(soft, group, addr, &word, sizeof(word)), -EFAULT);
	assert_int_equal(vhost_iotlb_soft_read(soft, group, addr, &word, sizeof(word)), -EFAULT);
}

static void
assert_reaches_host(unsigned int group)
{
	uint64_t mine = 1, word = 2;

	assert_int_equal(vhost_iotlb_soft_write(soft, group, (uintptr_t)&mine, &word,
		sizeof(word)), 0);
	assert_int_equal(mine, 2);
	word = 0;
	assert_int_equal(vhost_iotlb_soft_read(soft, group, (uintptr_t)&mine, &word, sizeof(word)),
		0);
	assert_int_equal(word, 2);
}

static void
the_first_map_ends_one_to_one_and_reset_map_restores_it(void **state)
{
	struct vhost_iotlb_map map = map_of(0, 1, 4, 2);
	struct vhost_iotlb *t = table_of(&map, 1);

	(void)state;
	assert_true(vhost_iotlb_soft_is_initial(soft, 0));
	assert_reaches_host(DATA);
	assert_int_equal(ops->set_map(soft, 0, t), 0);
	assert_false(vhost_iotlb_soft_is_initial(soft, 0));
	assert_true(vhost_iotlb_soft_is_initial(soft, 1));
	assert_reaches(DATA, 4 * PAGE, 0, PAGE);
	assert_faults(DATA, 6 * PAGE);
	assert_faults(DATA, (uintptr_t)&map);
	assert_int_equal(ops->reset_map(soft, 0), 0);
	assert_reaches_host(DATA);
	assert_int_equal(ops->dma_map(soft, 0, &map), 0);
	assert_reaches(DATA, 5 * PAGE, 0, 2 * PAGE);
	assert_faults(DATA, (uintptr_t)&map);
	assert_int_equal(ops->compat_reset(soft, VHOST_IOTLB_RESET_CLEAN_MAP), 0);
	assert_true(vhost_iotlb_soft_is_initial(soft, 0));
	vhost_iotlb_destroy(t);
}

static void
a_reset_stops_it_and_leaves_the_maps(void **state)
{
	struct vhost_iotlb_map map = map_of(0, 0, 0, 1);
	char byte = 0;

	(void)state;
	assert_int_equal(ops->dma_map(soft, 0, &map), 0);
	assert_true(vhost_iotlb_soft_runs(soft));
	assert_int_equal(ops->reset(soft), 0);
	assert_false(vhost_iotlb_soft_runs(soft));
	assert_int_equal(vhost_iotlb_soft_read(soft, DATA, 0, &byte, 1), -ESHUTDOWN);
	assert_int_equal(vhost_iotlb_soft_write(soft, DATA, 0, &byte, 1), -ESHUTDOWN);
	vhost_iotlb_soft_start(soft);
	assert_reaches(DATA, 0, 0, 0);
	assert_int_equal(vhost_iotlb_soft_read(soft, VHOST_IOTLB_SOFT_GROUPS, 0, &byte, 1),
		-EINVAL);
}

static void
memory_outlives_the_descriptor_that_it_came_with(void **state)
{
	struct vhost_iotlb_map map = map_of(0, 0, 0, 4);

	(void)state;
	map.backing.fd = dup(files[0]);
	assert_int_equal(ops->dma_map(soft, 0, &map), 0);
	close(map.backing.fd);
	assert_reaches(DATA, 3 * PAGE, 0, 3 * PAGE);
	assert_int_equal(ops->dma_unmap(soft, 0, PAGE, 2 * PAGE - 1), 0);
	assert_reaches(DATA, 2 * PAGE, 0, 2 * PAGE);
	assert_faults(DATA, PAGE);
	assert_int_equal(ops->dma_unmap(soft, 0, 0, UINT64_MAX), 0);
	assert_faults(DATA, 0);
}

static void
memory_without_a_file_is_where_its_map_says(void **state)
{
	static char mine[2 * 4096];
	struct vhost_iotlb_map map = { .start = 0x10, .last = 0x10 + sizeof(mine) - 1,
		.addr = (uintptr_t)mine, .perm = VHOST_ACCESS_RW, .backing.fd = -1 };

	(void)state;
	assert_int_equal(ops->dma_map(soft, 0, &map), 0);
	assert_int_equal(vhost_iotlb_soft_write(soft, DATA, 0x10 + 5000, "x", 1), 0);
	assert_int_equal(mine[5000], 'x');
	assert_int_equal(ops->dma_unmap(soft, 0, 0x10, 0x1f), 0);
	assert_int_equal(vhost_iotlb_soft_write(soft, DATA, 0x20, "y", 1), 0);
	assert_int_equal(mine[0x10], 'y');
}

static void
an_access_is_whole_or_not_at_all(void **state)
{
	/* Pages 0 and 1 from different files, nothing at page 2, and at page 3 one for reading. */
	struct vhost_iotlb_map maps[] = {
		map_of(0, 5, 0, 1), map_of(1, 7, 1, 1), map_of(0, 0, 3, 1) };
	struct vhost_iotlb *t;
	char buf[3 * 4096], seen[16];

	(void)state;
	maps[2].perm = VHOST_ACCESS_RO;
	t = table_of(maps, 3);
	assert_int_equal(ops->set_map(soft, 0, t), 0);
	memset(buf, 'n', sizeof(buf));
	assert_int_equal(vhost_iotlb_soft_write(soft, DATA, PAGE - 8, "12345678abcdefgh", 16), 0);
	assert_int_equal(pread(files[0], seen, 8, 6 * PAGE - 8), 8);
	assert_memory_equal(seen, "12345678", 8);
	assert_int_equal(pread(files[1], seen, 8, 7 * PAGE), 8);
	assert_memory_equal(seen, "abcdefgh", 8);
	assert_int_equal(vhost_iotlb_soft_read(soft, DATA, PAGE - 8, seen, 16), 0);
	assert_memory_equal(seen, "12345678abcdefgh", 16);
	assert_int_equal(vhost_iotlb_soft_write(soft, DATA, PAGE, buf, PAGE + 1), -EFAULT);
	assert_int_equal(pread(files[1], seen, 8, 7 * PAGE), 8);
	assert_memory_equal(seen, "abcdefgh", 8);
	assert_int_equal(vhost_iotlb_soft_write(soft, DATA, 3 * PAGE, buf, 1), -EFAULT);
	assert_int_equal(vhost_iotlb_soft_read(soft, DATA, 3 * PAGE, buf, 1), 0);
	assert_int_equal(vhost_iotlb_soft_read(soft, DATA, UINT64_MAX, buf, 2), -EFAULT);
	assert_int_equal(vhost_iotlb_soft_read(soft, DATA, 2 * PAGE, buf, 0), 0);
	vhost_iotlb_destroy(t);
}

static void
groups_see_the_address_space_that_they_are_bound_to(void **state)
{
	struct vhost_iotlb_map data = map_of(0, 0, 0, 1), desc = map_of(1, 0, 0, 1);

	(void)state;
	assert_int_equal(ops->vq_group(soft, 0), DATA);
	assert_int_equal(ops->vq_desc_group(soft, 0), DESC);
	assert_int_equal(ops->dma_map(soft, 0, &data), 0);
	assert_int_equal(ops->dma_map(soft, 1, &desc), 0);
	assert_reaches(DESC, 0, 0, 0);
	assert_int_equal(ops->set_group_asid(soft, DESC, 1), 0);
	assert_reaches(DESC, 0, 1, 0);
	assert_reaches(DATA, 0, 0, 0);
}

/* With its first, second, ... allocation failing, and with a map that can't be had. */
static void
an_operation_that_fails_has_changed_nothing(void **state)
{
	struct vhost_iotlb_map old = map_of(0, 0, 0, 4);
	struct vhost_iotlb_map maps[] = { map_of(1, 0, 0, 1), map_of(1, 1, 8, 1) };
	struct vhost_iotlb *t = table_of(maps, 2), *bad;
	int ret = -ENOMEM;

	(void)state;
	assert_int_equal(ops->dma_map(soft, 0, &old), 0);
	for (unsigned int n = 1; ret == -ENOMEM; n++) {
		fail_at = n;
		ret = ops->dma_unmap(soft, 0, PAGE, 2 * PAGE - 1);
		fail_at = 0;
		if (ret < 0)
			assert_reaches(DATA, PAGE, 0, PAGE);
	}
	ret = -ENOMEM;
	for (unsigned int n = 1; ret == -ENOMEM; n++) {
		fail_at = n;
		ret = ops->dma_map(soft, 0, &maps[1]);
		fail_at = 0;
		if (ret < 0)
			assert_faults(DATA, 8 * PAGE);
	}
	maps[1].start = 2 * PAGE;
	maps[1].last = 3 * PAGE - 1;
	assert_int_equal(ops->dma_map(soft, 0, &maps[1]), -EEXIST);
	maps[1].backing.fd = -1;
	bad = table_of(maps, 2);
	assert_int_equal(ops->set_map(soft, 0, bad), -EBADF);
	assert_reaches(DATA, 0, 0, 0);
	ret = -ENOMEM;
	for (unsigned int n = 1; ret == -ENOMEM; n++) {
		fail_at = n;
		ret = ops->set_map(soft, 0, t);
		fail_at = 0;
		assert_reaches(DATA, 0, ret < 0 ? 0 : 1, 0);
	}
	assert_int_equal(ret, 0);
	vhost_iotlb_destroy(bad);
	vhost_iotlb_destroy(t);
}

static void
it_takes_memory_to_make_one(void **state)
{
	(void)state;
	assert_null(vhost_iotlb_soft_create(0));
	assert_null(vhost_iotlb_soft_create(VHOST_IOTLB_MAX_AS + 1));
	for (unsigned int n = 1; n <= 1 + NAS; n++) {
		fail_at = n;
		assert_null(vhost_iotlb_soft_create(NAS));
	}
	fail_at = 0;
	vhost_iotlb_soft_destroy(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_first_map_ends_one_to_one_and_reset_map_restores_it),
		TEST(a_reset_stops_it_and_leaves_the_maps),
		TEST(memory_outlives_the_descriptor_that_it_came_with),
		TEST(memory_without_a_file_is_where_its_map_says),
		TEST(an_access_is_whole_or_not_at_all),
		TEST(groups_see_the_address_space_that_they_are_bound_to),
		TEST(an_operation_that_fails_has_changed_nothing),
		TEST(it_takes_memory_to_make_one),
	};

	return cmocka_run_group_tests_name("iotlb_soft", tests, NULL, NULL);
}
