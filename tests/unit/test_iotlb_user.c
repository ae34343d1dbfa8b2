/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The vhost-user adaptor of lib/vhost_iotlb on memory tables and messages of our making: this
 * program defines the vhost library's functions itself. What it maps, what it refuses and with
 * which line, and what a reset and the end of the connection come to for the parent.
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
/* Where the front-end has it. */
#define USER_AT UINT64_C(0x1000)

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

static const struct rte_vhost_user_extern_ops hook;   /* nobody calls it but these tests */
static unsigned int hooks;

int
rte_vhost_extern_callback_register(int vid, struct rte_vhost_user_extern_ops const * const taken,
		void *ctx)
{
	assert_true(vid == VID || vid == VID + 1);
	assert_ptr_equal(taken, &hook);
	assert_null(ctx);
	hooks++;
	return 0;
}

/* What was negotiated. */
#define ACCESS_PLATFORM (UINT64_C(1) << 33)
#define LOG_ALL (UINT64_C(1) << 26)
static uint64_t negotiated;

int
rte_vhost_get_negotiated_features(int vid, uint64_t *features)
{
	assert_int_equal(vid, VID);
	*features = negotiated;
	return 0;
}

/* Where the vhost library says that ring 1 stands; it has no other. */
#define RING_STANDS 77

int
rte_vhost_get_vring_base(int vid, uint16_t queue, uint16_t *avail, uint16_t *used)
{
	assert_int_equal(vid, VID);
	*avail = *used = RING_STANDS;
	return queue == 1 ? 0 : -1;
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

/* What the driver is asked to do. */
static struct {
	unsigned int tables, stops, starts, resets;
	size_t maps;                               /* of the last table */
} asked;

static void
take_table(void *arg, const struct vhost_iotlb *table)
{
	assert_ptr_equal(arg, &asked);
	asked.tables++;
	asked.maps = vhost_iotlb_count(table);
}

static void
stop_device(void *arg)
{
	assert_ptr_equal(arg, &asked);
	asked.stops++;
	assert_int_equal(vhost_iotlb_user_stopped(&user), 0);
}

static void
start_device(void *arg)
{
	assert_ptr_equal(arg, &asked);
	asked.starts++;
	assert_int_equal(vhost_iotlb_user_sync_table(&user, NULL), 0);
}

static void
see_reset(void *arg)
{
	assert_ptr_equal(arg, &asked);
	asked.resets++;
}

static const struct vhost_iotlb_user_ops user_ops = {
	.table = take_table, .stop = stop_device, .start = start_device, .reset = see_reset,
};

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
	memset(&asked, 0, sizeof(asked));
	negotiated = 0;
	hooks = 0;
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
assert_log_of(unsigned int lines, const char *name, const char *part)
{
	char text[2048], begin[64];

	assert_int_equal(take_log(text, sizeof(text)), lines);
	if (lines == 0)
		return;
	snprintf(begin, sizeof(begin), "vhost_iotlb: %s: ", name);
	assert_non_null(strstr(text, begin));
	if (strstr(text, part) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", text, part);
}

static void
assert_log(unsigned int lines, const char *part)
{
	assert_log_of(lines, "net0", part);
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
		.guest_user_addr = USER_AT,
	};
	return r;
}

static int
attach(bool persist)
{
	const struct vhost_iotlb_user_conf conf = {
		.name = "net0", .persist = persist, .iommu = negotiated != 0, .hook = &hook,
		.ops = &user_ops, .arg = &asked,
	};

	return vhost_iotlb_user_attach(&user, VID, dev, &conf);
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
	assert_int_equal(vhost_iotlb_user_stopped(&user), 0);
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
	assert_int_equal(vhost_iotlb_user_stopped(&user), 0);
	assert_int_equal(parent.compat_resets, 1);
	assert_int_equal(sync_table(&changed), 0);
	assert_int_equal(changed, 1);              /* all over again */
	vhost_iotlb_user_detach(&user);
	assert_int_equal(parent.reset_maps, 1);
	assert_int_equal(vhost_iotlb_count(parent.has), 0);
	assert_int_equal(attach(true), 0);
	assert_int_equal(vhost_iotlb_user_stopped(&user), 0);
	assert_int_equal(parent.resets, 0);        /* what never ran is not reset */
	assert_int_equal(sync_table(&changed), 0);
	assert_int_equal(vhost_iotlb_user_stopped(&user), 0);
	assert_int_equal(vhost_iotlb_user_stopped(&user), 0);
	assert_int_equal(parent.resets, 1);        /* once a stop */
	assert_int_equal(parent.compat_resets, 1);
}

static void
calls_out_of_order_are_harmless(void **state)
{
	const struct vhost_iotlb_user_conf conf = { .name = "net9" };
	struct vhost_iotlb_user other = { 0 };

	(void)state;
	assert_false(vhost_iotlb_user_attached(&user));
	assert_int_equal(vhost_iotlb_user_sync_table(&user, NULL), -ENOTCONN);
	assert_int_equal(vhost_iotlb_user_stopped(&user), -ENOTCONN);
	vhost_iotlb_user_detach(&user);
	assert_log(0, "");
	assert_int_equal(attach(true), 0);
	assert_int_equal(attach(true), 0);         /* the same connection again */
	assert_true(vhost_iotlb_user_attached(&user));
	assert_int_equal(vhost_iotlb_user_attach(&user, VID + 1, dev, &conf), -EBUSY);
	assert_log(1, "connection 4 refused: connection 3 is attached");
	assert_int_equal(vhost_iotlb_user_attach(&other, VID + 1, dev, &conf), -EBUSY);
	assert_log_of(1, "net9", "connection 4 refused: another front-end has the device");
	assert_int_equal(hooks, 1);
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

/* ---- messages ---- */

enum {
	SET_FEATURES = 2, RESET_OWNER = 4, SET_MEM_TABLE = 5, SET_VRING_NUM = 8, SET_VRING_ADDR = 9,
	SET_VRING_BASE = 10, GET_VRING_BASE = 11, SET_VRING_KICK = 12, SET_VRING_ENABLE = 18,
	IOTLB_MSG = 22, POSTCOPY_ADVISE = 28, GET_INFLIGHT_FD = 31, SET_STATUS = 39,
	NEED_REPLY = 8, DRIVER_OK = 4,
};

/* As it comes over the wire, on a place that is aligned for nothing but bytes. */
static struct {
	uint8_t odd;
	uint32_t request, flags, size;
	uint8_t payload[512];
} __attribute__((packed)) wire;

static void *
message(uint32_t request, const void *payload, uint32_t size)
{
	memset(&wire, 0xee, sizeof(wire));         /* what was on the stack */
	wire.request = request;
	wire.flags = 1 | NEED_REPLY;
	wire.size = size;
	memcpy(wire.payload, payload, size);
	return &wire.request;
}

static void *
message_u64(uint32_t request, uint64_t value)
{
	return message(request, &value, sizeof(value));
}

static uint64_t
payload_u64(void)
{
	uint64_t value;

	memcpy(&value, wire.payload, sizeof(value));
	return value;
}

static void *
message_ring(uint32_t request, uint32_t ring, uint32_t num)
{
	uint32_t payload[2] = { ring, num };

	return message(request, payload, sizeof(payload));
}

struct region {
	uint64_t guest, size, user, offset;
};

static void *
message_table(const struct region *regions, uint32_t n)
{
	uint8_t payload[512];
	uint32_t header[2] = { n, 0 };

	memcpy(payload, header, sizeof(header));
	memcpy(payload + sizeof(header), regions, n * sizeof(*regions));
	return message(SET_MEM_TABLE, payload, sizeof(header) + n * sizeof(*regions));
}

static enum rte_vhost_msg_result
before(void *msg)
{
	return vhost_iotlb_user_before(&user, VID, msg);
}

static enum rte_vhost_msg_result
after(void *msg)
{
	return vhost_iotlb_user_after(&user, VID, msg);
}

/* A message that the vhost library takes. */
static void
handled(void *msg)
{
	assert_int_equal(before(msg), RTE_VHOST_MSG_RESULT_NOT_HANDLED);
	assert_int_equal(after(msg), RTE_VHOST_MSG_RESULT_NOT_HANDLED);
}

/* A table of one region arrives, in the vhost library and as a message. */
static void
table_comes(void)
{
	const struct region region = { 0, 8 * MIB, 0x1000, 0 };

	guest.nregions = 0;
	add_region(0, 8 * MIB, files[0], 0);
	handled(message_table(&region, 1));
}

static void
run(void)
{
	assert_int_equal(attach(true), 0);
	assert_int_equal(hooks, 1);
	table_comes();
	assert_int_equal(vhost_iotlb_user_sync_table(&user, NULL), 0);
}

static void
a_table_that_arrives_is_shown_to_the_driver(void **state)
{
	(void)state;
	assert_int_equal(attach(true), 0);
	table_comes();
	assert_int_equal(asked.tables, 1);
	assert_int_equal(asked.maps, 1);
	assert_int_equal(parent.set_maps, 0);      /* shown, not mapped */
	assert_int_equal(vhost_iotlb_user_before(&user, VID + 1, message_u64(SET_STATUS, 0)),
		RTE_VHOST_MSG_RESULT_NOT_HANDLED);
	assert_int_equal(user.handling, 0);        /* not our connection */
}

static void
a_stop_is_one_reset_and_a_changed_table_none(void **state)
{
	(void)state;
	run();
	handled(message_ring(GET_VRING_BASE, 0, 0));
	before(message_ring(GET_VRING_BASE, 0, 0));
	assert_int_equal(vhost_iotlb_user_stopped(&user), 0);
	after(&wire.request);
	handled(message_ring(GET_VRING_BASE, 1, 0));
	assert_int_equal(asked.resets, 0);         /* it may go on */
	handled(message_u64(SET_STATUS, 0));
	assert_int_equal(parent.resets, 1);
	assert_int_equal(asked.stops, 0);          /* it had stopped */
	assert_int_equal(asked.resets, 1);
	handled(message_u64(SET_STATUS, DRIVER_OK));
	assert_int_equal(asked.starts, 0);         /* the vhost library starts it */
	assert_int_equal(vhost_iotlb_user_sync_table(&user, NULL), 0);
	before(message_table(&(struct region){ 0, MIB, 0x1000, 0 }, 1));
	assert_int_equal(vhost_iotlb_user_stopped(&user), 0);
	after(&wire.request);
	assert_int_equal(parent.resets, 1);
	assert_int_equal(vhost_iotlb_user_sync_table(&user, NULL), 0);
	assert_int_equal(vhost_iotlb_user_stopped(&user), 0);
	assert_int_equal(parent.resets, 2);
	assert_int_equal(parent.set_maps, 1);
}

static void
a_status_of_0_alone_resets_too(void **state)
{
	(void)state;
	run();
	handled(message_u64(SET_STATUS, 0));
	handled(message_u64(SET_STATUS, 0));
	assert_int_equal(asked.stops, 1);
	assert_int_equal(asked.resets, 2);
	assert_int_equal(parent.resets, 1);
	handled(message_u64(SET_STATUS, 1));
	assert_int_equal(asked.starts, 0);
	handled(message_u64(SET_STATUS, 1 | DRIVER_OK));
	handled(message_u64(SET_STATUS, 1 | DRIVER_OK));
	assert_int_equal(asked.starts, 1);
	/* Stopped by the vhost library in between, it is started by it. */
	handled(message_u64(SET_STATUS, 0));
	before(message_ring(GET_VRING_BASE, 0, 0));
	assert_int_equal(vhost_iotlb_user_stopped(&user), 0);
	after(&wire.request);
	assert_int_equal(parent.resets, 2);
	handled(message_u64(SET_STATUS, DRIVER_OK));
	assert_int_equal(asked.starts, 1);
}

static void
reset_owner_is_a_reset_and_the_end_is_not(void **state)
{
	unsigned int changed;

	(void)state;
	run();
	before(message(RESET_OWNER, "", 0));
	assert_int_equal(vhost_iotlb_user_stopped(&user), 0);
	assert_true(vhost_iotlb_user_reset_owner(&user));
	assert_true(vhost_iotlb_user_in_limbo(&user));
	after(&wire.request);
	assert_false(vhost_iotlb_user_in_limbo(&user));
	assert_int_equal(parent.resets, 1);
	assert_int_equal(vhost_iotlb_count(vhost_iotlb_dev_table(dev, 0)), 1);
	assert_int_equal(vhost_iotlb_user_sync_table(&user, NULL), -ENODEV);
	assert_log(1, "connection 3 has no memory table");
	table_comes();
	assert_int_equal(sync_table(&changed), 0);
	assert_int_equal(changed, 0);
	assert_false(vhost_iotlb_user_reset_owner(&user));      /* the end */
	vhost_iotlb_user_detach(&user);
	assert_int_equal(parent.reset_maps, 1);
}

static void
a_refused_reset_owner_that_ends_the_connection_leaves_nothing(void **state)
{
	(void)state;
	run();
	before(message(RESET_OWNER, "", 0));       /* refused by the vhost library */
	assert_true(vhost_iotlb_user_reset_owner(&user));
	assert_true(vhost_iotlb_user_in_limbo(&user));
	assert_true(vhost_iotlb_user_is_for(&user, VID + 1));
	assert_int_equal(attach(true), 0);         /* the next one, by chance of the same number */
	assert_int_equal(parent.reset_maps, 1);
	assert_int_equal(hooks, 2);
	assert_int_equal(vhost_iotlb_count(vhost_iotlb_dev_table(dev, 0)), 0);
	assert_false(vhost_iotlb_user_reset_owner(&user));
}

static void
a_table_that_the_library_failed_to_take_is_not_read(void **state)
{
	const struct region region = { 0, 8 * MIB, 0x1000, 0 };

	(void)state;
	run();
	before(message_table(&region, 1));         /* and no after() */
	guest.nregions = 0;
	assert_int_equal(vhost_iotlb_user_sync_table(&user, NULL), -ENODEV);
	assert_log(1, "connection 3 has no memory table");
	/* One that the library took and we don't want: the front-end is sent away. */
	add_region(0, 8 * MIB, files[0], 60 * MIB);
	before(message_table(&region, 1));
	assert_int_equal(after(&wire.request), RTE_VHOST_MSG_RESULT_ERR);
	assert_int_equal(wire.flags, 1);
	assert_log(1, "it lies beyond the end of its file");
	assert_int_equal(asked.tables, 1);
	assert_int_equal(vhost_iotlb_user_sync_table(&user, NULL), -ENODEV);
	assert_log(1, "has no memory table");
}

/* The message is refused with one line, and the vhost library is given another. */
static void
refused(void *msg, const char *why)
{
	assert_int_equal(before(msg), RTE_VHOST_MSG_RESULT_NOT_HANDLED);
	assert_log(1, why);
	assert_int_equal(after(msg), RTE_VHOST_MSG_RESULT_ERR);
}

static void
tables_that_are_seen_to_be_bad_are_refused_before_the_library_drops_the_old_one(void **state)
{
	struct region r[9] = { { 0, MIB, 0x100000, 0 }, { 16 * MIB, 0, 0x500000, 0 } };

	(void)state;
	run();
	assert_int_equal(before(message_table(r, 2)), RTE_VHOST_MSG_RESULT_NOT_HANDLED);
	assert_log(1, "memory region 1 (guest address 0x1000000, size 0) refused: its size is 0");
	assert_true(payload_u64() == UINT64_MAX);  /* that many regions nobody has */
	assert_int_equal(after(&wire.request), RTE_VHOST_MSG_RESULT_ERR);
	r[1] = (struct region){ UINT64_MAX - MIB + 2, MIB, 0x500000, 0 };
	assert_int_equal(before(message_table(r, 2)), RTE_VHOST_MSG_RESULT_NOT_HANDLED);
	assert_log(1, "runs past the last guest address");
	r[1] = (struct region){ 16 * MIB, MIB, UINT64_MAX - MIB + 1, 0 };
	assert_int_equal(before(message_table(r, 2)), RTE_VHOST_MSG_RESULT_NOT_HANDLED);
	assert_log(1, "runs past the last userspace address");
	r[1] = (struct region){ 16 * MIB, MIB, 0x500000, UINT64_MAX - MIB + 1 };
	assert_int_equal(before(message_table(r, 2)), RTE_VHOST_MSG_RESULT_NOT_HANDLED);
	assert_log(1, "runs past the end of any file");
	r[1] = (struct region){ MIB - 1, MIB, 0x500000, 0 };
	assert_int_equal(before(message_table(r, 2)), RTE_VHOST_MSG_RESULT_NOT_HANDLED);
	assert_log(1, "overlaps another region");
	refused(message_table(r, 9), "SET_MEM_TABLE refused: it has more than 8 regions");
	r[1] = (struct region){ MIB, MIB, 0x500000, 0 };
	message_table(r, 2);
	wire.size -= 4;
	refused(&wire.request, "SET_MEM_TABLE refused: its payload has the wrong length");
	assert_int_equal(vhost_iotlb_user_sync_table(&user, NULL), 0); /* the old one */
	assert_int_equal(asked.tables, 1);
}

static void
messages_of_the_wrong_length_are_refused_and_spoilt(void **state)
{
	uint8_t iotlb[32] = { 0 };

	(void)state;
	run();
	refused(message(SET_FEATURES, "1234", 4), "SET_FEATURES refused");
	assert_true(payload_u64() == UINT64_MAX);
	refused(message(SET_STATUS, "1234", 4), "SET_STATUS refused");
	assert_true(payload_u64() == UINT64_MAX);
	assert_int_equal(asked.stops, 0);
	refused(message(SET_VRING_KICK, "\1\0\0\0", 4), "SET_VRING_KICK refused");
	assert_int_equal(payload_u64(), 0x101);
	refused(message(SET_VRING_NUM, "\1\0\0\0", 4), "SET_VRING_NUM refused");
	assert_true(payload_u64() == (UINT64_C(0xffffffff) << 32 | 1));
	refused(message(SET_VRING_BASE, "\1\0\0\0", 4), "SET_VRING_BASE refused");
	assert_true(payload_u64() == ((uint64_t)RING_STANDS << 32 | 1));
	refused(message(SET_VRING_ENABLE, "\1\0\0\0\1\0\0\0\0", 9), "SET_VRING_ENABLE refused");
	assert_int_equal(payload_u64(), 1);
	refused(message(SET_VRING_ADDR, "\1\0\0\0\0\0\0\0\0", 9), "SET_VRING_ADDR refused");
	assert_int_equal(payload_u64(), 1);
	refused(message(GET_VRING_BASE, "", 0), "GET_VRING_BASE refused");
	refused(message(IOTLB_MSG, iotlb, 25), "IOTLB_MSG refused");
	assert_int_equal(wire.payload[25], 0xff);
}

static void
messages_that_are_not_offered_are_refused(void **state)
{
	uint8_t iotlb[32] = { 0 };

	(void)state;
	run();
	refused(message(IOTLB_MSG, iotlb, 32), "IOTLB_MSG refused: the IOTLB is not in use");
	assert_int_equal(wire.payload[25], 0xff);
	refused(message(GET_INFLIGHT_FD, iotlb, 20), "GET_INFLIGHT_FD refused: it is not offered");
	assert_int_equal(wire.size, 0);
	assert_int_equal(before(message(POSTCOPY_ADVISE, "", 0)), RTE_VHOST_MSG_RESULT_ERR);
	assert_log(1, "POSTCOPY_ADVISE refused: it is not offered");
	handled(message(200, "", 0));              /* the vhost library's to refuse */
}

/* ---- the IOTLB ---- */

enum { UPDATE = 2, INVALIDATE = 3, RW = 3, IOTLB_AT = 0x40000000 };

static void *
message_iotlb(uint8_t type, uint64_t iova, uint64_t size, uint64_t user_addr)
{
	struct {
		uint64_t iova, size, user;
		uint8_t perm, type, padding[6];
	} msg = { iova, size, user_addr, RW, type, { 0 } };

	return message(IOTLB_MSG, &msg, sizeof(msg));
}

static int
sync_iotlb(unsigned int *changed)
{
	struct vhost_iotlb_user_sync sync = { 0 };
	int ret = vhost_iotlb_user_sync_table(&user, &sync);

	*changed = sync.changed;
	return ret;
}

static void
iotlb_messages_make_the_maps_and_the_table_does_not(void **state)
{
	const struct vhost_iotlb_map *map;
	unsigned int changed;

	(void)state;
	negotiated = ACCESS_PLATFORM;
	assert_int_equal(attach(true), 0);
	refused(message_iotlb(UPDATE, IOTLB_AT, MIB, USER_AT), "not within one region");
	table_comes();
	assert_int_equal(asked.tables, 0);         /* nobody said that any of it is to be mapped */
	handled(message_iotlb(UPDATE, IOTLB_AT, MIB, USER_AT + 2 * MIB));
	assert_int_equal(parent.set_maps, 0);      /* it stands */
	assert_int_equal(sync_iotlb(&changed), 0);
	assert_int_equal(changed, 1);
	map = vhost_iotlb_lookup(parent.has, IOTLB_AT);
	assert_non_null(map);
	assert_true(map->last == IOTLB_AT + MIB - 1);
	assert_int_equal(map->backing.offset, 2 * MIB);
	assert_null(vhost_iotlb_lookup(parent.has, 0));
	handled(message_iotlb(UPDATE, IOTLB_AT + MIB, MIB, USER_AT));
	assert_int_equal(parent.set_maps, 2);      /* it runs */
	handled(message_iotlb(UPDATE, IOTLB_AT + MIB, MIB, USER_AT));
	assert_int_equal(parent.set_maps, 2);
	parent.refuse = -ENOMEM;
	before(message_iotlb(INVALIDATE, IOTLB_AT, MIB, 0));
	assert_int_equal(after(&wire.request), RTE_VHOST_MSG_RESULT_ERR);
	assert_log(1, "IOTLB of 1 maps refused by the device: Cannot allocate memory");
	parent.refuse = 0;
	assert_int_equal(vhost_iotlb_count(vhost_iotlb_dev_table(dev, 0)), 2);
	handled(message_iotlb(INVALIDATE, IOTLB_AT, MIB, 0));
	assert_int_equal(vhost_iotlb_count(parent.has), 1);
}

static void
the_iotlb_goes_with_what_the_library_can_do(void **state)
{
	const uint32_t ring[] = { 1, 0, 0x1000, 0, 0x3000, 0, 0x2000, 0, 0, 0 };

	(void)state;
	negotiated = ACCESS_PLATFORM;
	assert_int_equal(attach(true), 0);
	assert_true(vhost_iotlb_user_iotlb(&user));
	assert_null(vhost_iotlb_user_ring(&user, 1));
	handled(message(SET_VRING_ADDR, ring, sizeof(ring)));
	assert_int_equal(vhost_iotlb_user_ring(&user, 1)->desc, 0x1000);
	assert_int_equal(vhost_iotlb_user_ring(&user, 1)->avail, 0x2000);
	assert_int_equal(vhost_iotlb_user_ring(&user, 1)->used, 0x3000);
	refused(message_u64(SET_FEATURES, ACCESS_PLATFORM | LOG_ALL),
		"SET_FEATURES refused: dirty pages are not logged with an IOTLB");
	negotiated = 1;
	handled(message_u64(SET_FEATURES, 1));
	assert_false(vhost_iotlb_user_iotlb(&user));
	assert_null(vhost_iotlb_user_ring(&user, 1));
	negotiated = ACCESS_PLATFORM;
	handled(message_u64(SET_FEATURES, ACCESS_PLATFORM));
	assert_true(vhost_iotlb_user_iotlb(&user));
	before(message(RESET_OWNER, "", 0));
	assert_true(vhost_iotlb_user_reset_owner(&user));
	after(&wire.request);
	assert_false(vhost_iotlb_user_iotlb(&user));
	refused(message_u64(SET_FEATURES, ACCESS_PLATFORM),
		"SET_FEATURES refused: after RESET_OWNER the vhost library has no IOTLB");
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
		TEST(a_table_that_arrives_is_shown_to_the_driver),
		TEST(a_stop_is_one_reset_and_a_changed_table_none),
		TEST(a_status_of_0_alone_resets_too),
		TEST(reset_owner_is_a_reset_and_the_end_is_not),
		TEST(a_refused_reset_owner_that_ends_the_connection_leaves_nothing),
		TEST(a_table_that_the_library_failed_to_take_is_not_read),
		TEST(tables_that_are_seen_to_be_bad_are_refused_before_the_library_drops_the_old_one),
		TEST(messages_of_the_wrong_length_are_refused_and_spoilt),
		TEST(messages_that_are_not_offered_are_refused),
		TEST(iotlb_messages_make_the_maps_and_the_table_does_not),
		TEST(the_iotlb_goes_with_what_the_library_can_do),
	};

	return cmocka_run_group_tests_name("iotlb_user", tests, NULL, NULL);
}
