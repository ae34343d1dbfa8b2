/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The vhost-user adaptor of lib/vhost_iotlb on memory tables of our making: this program defines
 * rte_vhost_get_mem_table() itself. What it maps, what it refuses and with which line, and what a
 * reset and the end of the connection come to for the parent.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <rte_log.h>
#include <rte_vhost.h>

#include "vhost_iotlb_user.h"

#define VID 3
#define MIB (UINT64_C(1) << 20)
#define MAX_REGIONS 8u
/* Where the vhost library would have mapped a file. Nobody reads there. */
#define MMAP_AT UINT64_C(0x7f0000000000)

static struct {
	struct rte_vhost_mem_region regions[MAX_REGIONS];
	uint32_t nregions;
	bool none;                                 /* the connection has no table */
} guest;

int
rte_vhost_get_mem_table(int vid, struct rte_vhost_memory **mem)
{
	size_t size = guest.nregions * sizeof(guest.regions[0]);

	assert_int_equal(vid, VID);
	if (guest.none)
		return -1;
	*mem = malloc(sizeof(**mem) + size);       /* the caller's to free */
	(*mem)->nregions = guest.nregions;
	memcpy((*mem)->regions, guest.regions, size);
	return 0;
}

/* A parent that counts, and keeps the table it was given last. */
static struct {
	unsigned int resets, compat_resets, set_maps, reset_maps;
	struct vhost_iotlb *has;
	int refuse;                                /* what set_map returns */
} parent;

static int
count_reset(void *arg)
{
	(void)arg;
	parent.resets++;
	return 0;
}

static int
count_compat_reset(void *arg, uint32_t flags)
{
	(void)arg;
	assert_int_equal(flags, VHOST_IOTLB_RESET_CLEAN_MAP);
	parent.compat_resets++;
	return 0;
}

static int
keep_map(void *arg, unsigned int asid, const struct vhost_iotlb *maps)
{
	(void)arg;
	assert_int_equal(asid, 0);
	if (parent.refuse < 0)
		return parent.refuse;
	parent.set_maps++;
	vhost_iotlb_destroy(parent.has);
	parent.has = vhost_iotlb_copy(maps);
	return 0;
}

static int
count_reset_map(void *arg, unsigned int asid)
{
	(void)arg;
	assert_int_equal(asid, 0);
	parent.reset_maps++;
	return 0;
}

static const struct vhost_iotlb_parent_ops ops = {
	.reset = count_reset, .compat_reset = count_compat_reset, .set_map = keep_map,
	.reset_map = count_reset_map,
};

static struct vhost_iotlb_dev *dev;
static struct vhost_iotlb_user user;
static int files[2];                               /* memfds of 64 MiB */
static char *log_text;
static size_t log_len;
static FILE *log_stream;

static int
set_up(void **state)
{
	(void)state;
	memset(&parent, 0, sizeof(parent));
	memset(&guest, 0, sizeof(guest));
	memset(&user, 0, sizeof(user));
	for (int i = 0; i < 2; i++) {
		files[i] = memfd_create("guest", 0);
		if (files[i] < 0 || ftruncate(files[i], 64 * MIB) < 0)
			return -1;
	}
	log_stream = open_memstream(&log_text, &log_len);
	rte_openlog_stream(log_stream);
	return vhost_iotlb_dev_create(&ops, NULL, 1, &dev);
}

static int
tear_down(void **state)
{
	(void)state;
	vhost_iotlb_user_detach(&user);
	vhost_iotlb_dev_destroy(dev);
	vhost_iotlb_destroy(parent.has);
	rte_openlog_stream(NULL);
	fclose(log_stream);
	free(log_text);
	for (int i = 0; i < 2; i++)
		close(files[i]);
	return 0;
}

/* Lines logged since the last call. */
static unsigned int
take_log(char *copy, size_t size)
{
	unsigned int lines = 0;

	fflush(log_stream);
	snprintf(copy, size, "%.*s", (int)log_len, log_text == NULL ? "" : log_text);
	for (const char *c = copy; *c != '\0'; c++)
		lines += *c == '\n';
	rewind(log_stream);
	return lines;
}

static void
assert_log(unsigned int lines, const char *part)
{
	char text[2048];

	assert_int_equal(take_log(text, sizeof(text)), lines);
	if (lines == 0)
		return;
	assert_non_null(strstr(text, "vhost_iotlb: net0: "));
	if (strstr(text, part) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", text, part);
}

/* Add a region as the vhost library would show it: the file mapped from 0 to the end of the
 * region. */
static struct rte_vhost_mem_region *
add_region(uint64_t guest_addr, uint64_t size, int fd, uint64_t offset)
{
	struct rte_vhost_mem_region *r = &guest.regions[guest.nregions++];

	*r = (struct rte_vhost_mem_region){
		.guest_phys_addr = guest_addr, .size = size, .fd = fd,
		.mmap_addr = (void *)(uintptr_t)(MMAP_AT * guest.nregions),
		.mmap_size = offset + size,
		.host_user_addr = MMAP_AT * guest.nregions + offset,
	};
	return r;
}

static int
attach(bool persist)
{
	return vhost_iotlb_user_attach(&user, VID, dev, "net0", persist);
}

static int
sync_table(unsigned int *changed)
{
	struct vhost_iotlb_user_sync sync = { 0 };
	int ret = vhost_iotlb_user_sync_table(&user, &sync);

	if (ret == 0)
		assert_int_equal(sync.regions, guest.nregions);
	*changed = sync.changed;
	return ret;
}

static void
a_region_becomes_a_map_of_its_file(void **state)
{
	const struct vhost_iotlb_map *map;
	unsigned int changed;
	struct stat st;

	(void)state;
	add_region(0, 2 * MIB, files[0], 0);
	add_region(16 * MIB, 8 * MIB, files[1], 4 * MIB);
	assert_int_equal(attach(true), 0);
	assert_int_equal(sync_table(&changed), 0);
	assert_int_equal(changed, 2);
	assert_int_equal(parent.set_maps, 1);
	assert_int_equal(vhost_iotlb_count(parent.has), 2);
	map = vhost_iotlb_lookup(parent.has, 20 * MIB);
	assert_non_null(map);
	assert_int_equal(map->start, 16 * MIB);
	assert_int_equal(map->last, 24 * MIB - 1);
	assert_int_equal(map->addr, 2 * MMAP_AT + 4 * MIB);
	assert_int_equal(map->perm, VHOST_ACCESS_RW);
	assert_int_equal(fstat(files[1], &st), 0);
	assert_int_equal(map->backing.dev, st.st_dev);
	assert_int_equal(map->backing.ino, st.st_ino);
	assert_int_equal(map->backing.offset, 4 * MIB);
	assert_int_equal(map->backing.fd, files[1]);
	assert_log(0, "");                         /* INFO is not shown by default */
}

static void
the_same_memory_seen_otherwise_calls_nobody(void **state)
{
	unsigned int changed;
	int again = dup(files[0]);

	(void)state;
	add_region(0, 8 * MIB, files[0], 0);
	assert_int_equal(attach(true), 0);
	assert_int_equal(sync_table(&changed), 0);
	assert_int_equal(vhost_iotlb_user_virtio_reset(&user), 0);
	guest.nregions = 0;                        /* two slices, elsewhere, another fd */
	add_region(4 * MIB, 4 * MIB, again, 4 * MIB);
	add_region(0, 4 * MIB, files[0], 0);
	assert_int_equal(sync_table(&changed), 0);
	assert_int_equal(changed, 0);
	assert_int_equal(parent.set_maps, 1);
	assert_int_equal(parent.resets, 1);
	guest.nregions = 0;                        /* the same addresses, another file */
	add_region(0, 8 * MIB, files[1], 0);
	assert_int_equal(sync_table(&changed), 0);
	assert_int_equal(changed, 2);
	assert_int_equal(parent.set_maps, 2);
	close(again);
}

static void
persist_decides_what_a_reset_is(void **state)
{
	unsigned int changed;

	(void)state;
	add_region(0, 8 * MIB, files[0], 0);
	assert_int_equal(attach(false), 0);
	assert_int_equal(vhost_iotlb_fe_features(user.fe) &
		VHOST_IOTLB_FEATURE(VHOST_BACKEND_F_IOTLB_PERSIST), 0);
	assert_int_equal(sync_table(&changed), 0);
	assert_int_equal(vhost_iotlb_user_virtio_reset(&user), 0);
	assert_int_equal(parent.compat_resets, 1);
	assert_int_equal(sync_table(&changed), 0);
	assert_int_equal(changed, 1);              /* all over again */
	vhost_iotlb_user_detach(&user);
	assert_int_equal(parent.reset_maps, 1);
	assert_int_equal(vhost_iotlb_count(parent.has), 0);
	assert_int_equal(attach(true), 0);
	assert_int_equal(vhost_iotlb_user_virtio_reset(&user), 0);
	assert_int_equal(parent.compat_resets, 1);
	assert_int_equal(parent.resets, 1);
}

static void
calls_out_of_order_are_harmless(void **state)
{
	struct vhost_iotlb_user other = { 0 };

	(void)state;
	assert_false(vhost_iotlb_user_attached(&user));
	assert_int_equal(vhost_iotlb_user_sync_table(&user, NULL), -ENOTCONN);
	assert_int_equal(vhost_iotlb_user_virtio_reset(&user), -ENOTCONN);
	vhost_iotlb_user_detach(&user);
	assert_log(0, "");
	assert_int_equal(attach(true), 0);
	assert_int_equal(attach(true), 0);         /* the same connection again */
	assert_true(vhost_iotlb_user_attached(&user));
	assert_int_equal(vhost_iotlb_user_attach(&user, VID + 1, dev, "net9", true), -EBUSY);
	assert_log(1, "connection 4 refused: connection 3 is attached");
	assert_int_equal(vhost_iotlb_user_attach(&other, VID + 1, dev, "net0", true), -EBUSY);
	assert_log(1, "connection 4 refused: another front-end has the device");
	assert_false(vhost_iotlb_user_attached(&other));
	vhost_iotlb_user_detach(&user);
	vhost_iotlb_user_detach(&user);
	assert_int_equal(parent.reset_maps, 1);
	assert_int_equal(attach(true), 0);
	/* A table without regions is one that maps nothing. */
	assert_int_equal(vhost_iotlb_user_sync_table(&user, NULL), 0);
	assert_int_equal(parent.set_maps, 0);
	guest.none = true;
	assert_int_equal(vhost_iotlb_user_sync_table(&user, NULL), -ENODEV);
	assert_log(1, "connection 3 has no memory table");
}

/* Put a good table in force, then one with a bad region: it is refused, with one line, and the good
 * one stays. */
static void
assert_refused(const struct rte_vhost_mem_region *bad, const char *why)
{
	unsigned int changed, set_maps;

	guest.nregions = 0;
	add_region(0, 2 * MIB, files[0], 0);
	assert_int_equal(sync_table(&changed), 0);
	set_maps = parent.set_maps;
	add_region(32 * MIB, MIB, files[1], 0);    /* good, and not to be taken by itself */
	guest.regions[guest.nregions++] = *bad;
	assert_int_equal(sync_table(&changed), -EINVAL);
	assert_log(1, why);
	assert_int_equal(parent.set_maps, set_maps);
	assert_int_equal(vhost_iotlb_count(vhost_iotlb_dev_table(dev, 0)), 1);
}

static void
each_bad_region_is_refused_with_one_line(void **state)
{
	struct rte_vhost_mem_region good, r;
	int pipes[2];

	(void)state;
	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(attach(true), 0);
	good = *add_region(16 * MIB, 4 * MIB, files[1], 2 * MIB);
	r = good;
	r.size = 0;
	assert_refused(&r,
		"memory region 2 (guest address 0x1000000, size 0) refused: its size is 0");
	r = good;
	r.guest_phys_addr = UINT64_MAX - 4 * MIB + 2;
	assert_refused(&r, "runs past the last guest address");
	r = good;
	r.fd = -1;
	assert_refused(&r, "has no file descriptor");
	r = good;
	r.host_user_addr = (uintptr_t)r.mmap_addr - 1;
	assert_refused(&r, "does not lie in its own mapping");
	r = good;
	r.mmap_size--;
	assert_refused(&r, "does not lie in its own mapping");
	r.mmap_size = MIB;
	assert_refused(&r, "does not lie in its own mapping");
	r = good;
	r.fd = pipes[0];
	assert_refused(&r, "no regular file");
	close(pipes[0]);
	close(pipes[1]);
	assert_refused(&r, "file descriptor is not valid");
	r = good;
	r.mmap_size = 128 * MIB;
	r.host_user_addr = (uintptr_t)r.mmap_addr + 61 * MIB;
	assert_refused(&r, "beyond the end of its file");
	r.host_user_addr = (uintptr_t)r.mmap_addr + 65 * MIB;
	assert_refused(&r, "beyond the end of its file");
	r = good;
	r.guest_phys_addr = MIB;
	assert_refused(&r, "overlaps another region");
	/* The last of everything is no error. */
	guest.nregions = 0;
	add_region(UINT64_MAX - 4 * MIB + 1, 4 * MIB, files[1], 60 * MIB);
	assert_int_equal(vhost_iotlb_user_sync_table(&user, NULL), 0);
}

static void
two_problems_are_two_lines(void **state)
{
	(void)state;
	assert_int_equal(attach(true), 0);
	add_region(0, 2 * MIB, -1, 0);
	add_region(2 * MIB, 2 * MIB, files[0], 63 * MIB);
	assert_int_equal(vhost_iotlb_user_sync_table(&user, NULL), -EINVAL);
	assert_log(2, "memory region 1");
	assert_int_equal(parent.set_maps, 0);
}

static void
what_the_device_refuses_is_told_and_the_old_table_stays(void **state)
{
	unsigned int changed;

	(void)state;
	assert_int_equal(attach(true), 0);
	add_region(0, 2 * MIB, files[0], 0);
	assert_int_equal(sync_table(&changed), 0);
	guest.nregions = 0;
	add_region(0, 2 * MIB, files[1], 0);
	parent.refuse = -ENOMEM;
	assert_int_equal(sync_table(&changed), -ENOMEM);
	assert_log(1, "memory table of 1 regions refused by the device: Cannot allocate memory");
	assert_int_equal(vhost_iotlb_lookup(vhost_iotlb_dev_table(dev, 0), 0)->backing.fd,
		files[0]);
	vhost_iotlb_user_detach(&user);
	assert_log(1, "connection 3 detached, but the device failed to unmap");
	assert_int_equal(parent.reset_maps, 1);
	parent.refuse = 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_region_becomes_a_map_of_its_file),
		TEST(the_same_memory_seen_otherwise_calls_nobody),
		TEST(persist_decides_what_a_reset_is),
		TEST(calls_out_of_order_are_harmless),
		TEST(each_bad_region_is_refused_with_one_line),
		TEST(two_problems_are_two_lines),
		TEST(what_the_device_refuses_is_told_and_the_old_table_stays),
	};

	return cmocka_run_group_tests_name("iotlb_user", tests, NULL, NULL);
}
