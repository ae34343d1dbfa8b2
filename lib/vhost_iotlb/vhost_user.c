/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <linux/virtio_config.h>

#include <rte_vhost.h>

#include "user_log.h"
#include "user_msg.h"
#include "vhost_iotlb_user.h"

RTE_LOG_REGISTER(vhost_iotlb_user_logtype, lib.vhost.iotlb, NOTICE);

/** vhost-user has one address space. */
#define USER_ASID 0

/* The features to acknowledge: a front-end that can't be asked is taken to want what does it no
 * harm. */
static uint64_t
features_to_ack(const struct vhost_iotlb_dev *dev, bool persist)
{
	uint64_t want = VHOST_IOTLB_FEATURE(VHOST_BACKEND_F_IOTLB_MSG_V2) |
		VHOST_IOTLB_FEATURE(VHOST_BACKEND_F_IOTLB_BATCH);

	if (persist)
		want |= VHOST_IOTLB_FEATURE(VHOST_BACKEND_F_IOTLB_PERSIST);
	return want & vhost_iotlb_dev_features(dev);
}

bool
vhost_iotlb_user_is_for(const struct vhost_iotlb_user *u, int vid)
{
	return u->fe == NULL || u->limbo || u->vid == vid;
}

static int
open_fe(struct vhost_iotlb_user *u, int vid, struct vhost_iotlb_dev *dev,
		const struct vhost_iotlb_user_conf *conf)
{
	struct vhost_iotlb_fe *fe;
	int ret;

	ret = vhost_iotlb_fe_open(dev, &fe);
	if (ret < 0)
		return ret;
	*u = (struct vhost_iotlb_user){ .vid = vid, .fe = fe, .conf = *conf };
	snprintf(u->name, sizeof(u->name), "%s", conf->name);
	/* Offered bits only, and before the first map: it can't be refused. */
	(void)vhost_iotlb_fe_set_features(fe, features_to_ack(dev, conf->persist));
	return 0;
}

int
vhost_iotlb_user_attach(struct vhost_iotlb_user *u, int vid, struct vhost_iotlb_dev *dev,
		const struct vhost_iotlb_user_conf *conf)
{
	int ret;

	/* What looked like a RESET_OWNER was the end: we would have heard of the message else. */
	if (u->limbo)
		vhost_iotlb_user_detach(u);
	if (u->fe != NULL && u->vid == vid && vhost_iotlb_fe_dev(u->fe) == dev)
		return 0;
	if (u->fe != NULL) {
		USER_LOG(ERR, u, "connection %d refused: connection %d is attached", vid, u->vid);
		return -EBUSY;
	}
	ret = open_fe(u, vid, dev, conf);
	if (ret < 0) {
		snprintf(u->name, sizeof(u->name), "%s", conf->name);
		USER_LOG(ERR, u, "connection %d refused: %s", vid,
			ret == -EBUSY ? "another front-end has the device" : strerror(-ret));
		return ret;
	}
	if (conf->hook != NULL && rte_vhost_extern_callback_register(vid, conf->hook, NULL) != 0)
		USER_LOG(WARNING, u, "connection %d: its messages are not seen", vid);
	USER_LOG(INFO, u, "connection %d attached, IOTLB_PERSIST %s", vid,
		vhost_iotlb_fe_features(u->fe) &
			VHOST_IOTLB_FEATURE(VHOST_BACKEND_F_IOTLB_PERSIST) ?
			"acknowledged" : "not acknowledged");
	return 0;
}

/* What is wrong with a region, looked at by itself, in words; NULL: nothing. Fills @p map. */
static const char *
region_to_map(const struct rte_vhost_mem_region *r, struct vhost_iotlb_map *map)
{
	uint64_t mapped_at = (uintptr_t)r->mmap_addr;
	uint64_t offset = r->host_user_addr - mapped_at;
	struct stat st;

	if (r->size == 0)
		return "its size is 0";
	if (r->guest_phys_addr > UINT64_MAX - (r->size - 1))
		return "it runs past the last guest address";
	if (r->fd < 0)
		return "it has no file descriptor";
	if (r->host_user_addr < mapped_at || offset > r->mmap_size ||
			r->size > r->mmap_size - offset)
		return "it does not lie in its own mapping";
	if (fstat(r->fd, &st) < 0)
		return "its file descriptor is not valid";
	/* What a device node or a pipe shows is not told by its inode. */
	if (!S_ISREG(st.st_mode))
		return "its file descriptor is no regular file or memfd";
	if (offset > (uint64_t)st.st_size || r->size > (uint64_t)st.st_size - offset)
		return "it lies beyond the end of its file";
	*map = (struct vhost_iotlb_map){
		.start = r->guest_phys_addr,
		.last = r->guest_phys_addr + (r->size - 1),
		.addr = r->host_user_addr,
		.perm = VHOST_ACCESS_RW,
		/* The vhost library maps the file from its beginning, so that the place in the
		 * mapping is the place in the file. */
		.backing = {
			.dev = st.st_dev, .ino = st.st_ino, .offset = offset, .fd = r->fd },
	};
	return NULL;
}

/* Turn the regions into a table. Looks at all of them, so that every problem gets its line. */
static int
regions_to_table(const struct vhost_iotlb_user *u, const struct rte_vhost_memory *mem,
		struct vhost_iotlb *table)
{
	struct vhost_iotlb_map map;
	const char *problem;
	int ret, result = 0;

	for (uint32_t i = 0; i < mem->nregions; i++) {
		const struct rte_vhost_mem_region *r = &mem->regions[i];

		problem = region_to_map(r, &map);
		ret = problem != NULL ? -EINVAL : vhost_iotlb_add(table, &map);
		if (ret == -EEXIST)
			problem = "it overlaps another region";
		else if (ret < 0 && problem == NULL)
			problem = strerror(-ret);
		if (problem == NULL)
			continue;
		USER_LOG(ERR, u, "memory region %" PRIu32 " (guest address %#" PRIx64 ", size %#" PRIx64
			") refused: %s", i, r->guest_phys_addr, r->size, problem);
		if (result == 0)
			result = ret == -EEXIST ? -EINVAL : ret;
	}
	return result;
}

static uint64_t
table_bytes(const struct vhost_iotlb *table)
{
	const struct vhost_iotlb_map *map;
	uint64_t bytes = 0;

	VHOST_IOTLB_FOREACH(map, table)
		bytes += map->last - map->start + 1;
	return bytes;
}

/* Make @p table what is mapped, and say what came of it. */
static int
apply_table(struct vhost_iotlb_user *u, const struct vhost_iotlb *table,
		struct vhost_iotlb_user_sync *result)
{
	int ret;

	ret = vhost_iotlb_fe_set_table(u->fe, USER_ASID, table, &result->changed);
	if (ret < 0) {
		USER_LOG(ERR, u, "memory table of %u regions refused by the device: %s",
			result->regions, strerror(-ret));
		return ret;
	}
	USER_LOG(INFO, u, "memory table: %u regions, %" PRIu64 " bytes, %u changes%s",
		result->regions, table_bytes(table), result->changed,
		result->changed == 0 ? ": the maps stay" : "");
	return 0;
}

/* The vhost library's memory table as a table of ours, to be destroyed by the caller. */
static int
read_table(const struct vhost_iotlb_user *u, struct vhost_iotlb **table, unsigned int *regions)
{
	struct rte_vhost_memory *mem = NULL;
	int ret;

	/* The library takes it for granted that there is one. */
	if (u->table == VHOST_IOTLB_USER_TABLE_NONE || rte_vhost_get_mem_table(u->vid, &mem) != 0) {
		USER_LOG(ERR, u, "connection %d has no memory table", u->vid);
		return -ENODEV;
	}
	*regions = mem->nregions;
	*table = vhost_iotlb_create(VHOST_IOTLB_UNLIMITED, 0);
	if (*table == NULL) {
		USER_LOG(ERR, u, "no memory for a table of %u regions", mem->nregions);
		ret = -ENOMEM;
	} else {
		ret = regions_to_table(u, mem, *table);
	}
	if (ret < 0)
		vhost_iotlb_destroy(*table);
	free(mem);
	return ret;
}

int
vhost_iotlb_user_sync_table(struct vhost_iotlb_user *u, struct vhost_iotlb_user_sync *sync)
{
	struct vhost_iotlb_user_sync result = { 0 };
	struct vhost_iotlb *table;
	int ret;

	if (u->fe == NULL)
		return -ENOTCONN;
	u->used = true;
	ret = read_table(u, &table, &result.regions);
	if (ret < 0)
		return ret;
	ret = apply_table(u, table, &result);
	if (ret == 0 && sync != NULL)
		*sync = result;
	vhost_iotlb_destroy(table);
	return ret;
}

static int
virtio_reset(struct vhost_iotlb_user *u)
{
	size_t before, after;
	int ret;

	before = vhost_iotlb_count(vhost_iotlb_fe_table(u->fe, USER_ASID));
	ret = vhost_iotlb_fe_reset(u->fe);
	if (ret < 0) {
		USER_LOG(ERR, u, "virtio reset failed: %s", strerror(-ret));
		return ret;
	}
	after = vhost_iotlb_count(vhost_iotlb_fe_table(u->fe, USER_ASID));
	USER_LOG(INFO, u, "virtio reset by %s: %zu of %zu maps kept",
		u->handling != USER_NONE ? user_msg_name(u->handling) : "the end of the connection",
		after, before);
	return 0;
}

int
vhost_iotlb_user_stopped(struct vhost_iotlb_user *u)
{
	if (u->fe == NULL)
		return -ENOTCONN;
	/* The library knows of this stop, and will call dev_conf. */
	if (u->handling != USER_SET_STATUS)
		u->status_stop = false;
	if (u->handling == USER_SET_MEM_TABLE) {
		USER_LOG(INFO, u, "stopped for a memory table that changes");
		return 0;
	}
	if (!u->used)
		return 0;
	u->used = false;
	return virtio_reset(u);
}

bool
vhost_iotlb_user_reset_owner(struct vhost_iotlb_user *u)
{
	/* Not if it is the second one: then the connection ended, and nobody told that the message
	 * was refused. */
	if (u->fe == NULL || u->handling != USER_RESET_OWNER || u->limbo)
		return false;
	u->limbo = true;
	u->table = VHOST_IOTLB_USER_TABLE_NONE;
	USER_LOG(INFO, u, "RESET_OWNER: %zu maps stay",
		vhost_iotlb_count(vhost_iotlb_fe_table(u->fe, USER_ASID)));
	return true;
}

void
vhost_iotlb_user_detach(struct vhost_iotlb_user *u)
{
	int ret;

	if (u->fe == NULL)
		return;
	ret = vhost_iotlb_fe_release(u->fe);
	u->fe = NULL;
	u->limbo = false;
	if (ret < 0)
		USER_LOG(ERR, u, "connection %d detached, but the device failed to unmap: %s",
			u->vid, strerror(-ret));
	else
		USER_LOG(INFO, u, "connection %d detached", u->vid);
}

/* ---- messages ---- */

/* What is wrong was said already. */
static const char said[] = "";

/* Refuse a message: one line, and the library is left to refuse it, too. */
static void
refuse(struct vhost_iotlb_user *u, void *msg, const char *why)
{
	if (why != said)
		USER_LOG(ERR, u, "%s refused: %s", user_msg_name(u->handling), why);
	user_msg_spoil(u->vid, msg);
	u->refused = true;
}

static bool
overlap(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
	return a <= b + (b_size - 1) && b <= a + (a_size - 1);
}

/* What is wrong with a region of a message, in words; NULL: nothing that shows before it is
 * mapped. */
static const char *
wire_region_problem(const struct user_table *table, uint32_t i)
{
	const struct user_region *r = &table->regions[i], *o;

	if (r->size == 0)
		return "its size is 0";
	if (r->guest_addr > UINT64_MAX - (r->size - 1))
		return "it runs past the last guest address";
	/* The library compares an address with the end of a region, which must not be 0. */
	if (r->user_addr >= UINT64_MAX - (r->size - 1))
		return "it runs past the last userspace address";
	if (r->offset > UINT64_MAX - r->size)
		return "it runs past the end of any file";
	for (o = table->regions; o < r; o++) {
		if (o->size == 0)
			continue;
		if (overlap(r->guest_addr, r->size, o->guest_addr, o->size))
			return "it overlaps another region";
	}
	return NULL;
}

/* A table that can be seen to be bad is refused while the old one is in force. One line for each
 * bad region. */
static const char *
wire_table_problem(const struct vhost_iotlb_user *u, const void *msg)
{
	struct user_table table;
	const char *problem, *result = NULL;

	user_msg_table(msg, &table);
	if (table.nregions > USER_MAX_REGIONS)
		return "it has more than 8 regions";
	for (uint32_t i = 0; i < table.nregions; i++) {
		problem = wire_region_problem(&table, i);
		if (problem == NULL)
			continue;
		USER_LOG(ERR, u, "memory region %" PRIu32 " (guest address %#" PRIx64 ", size %#"
			PRIx64 ") refused: %s", i, table.regions[i].guest_addr,
			table.regions[i].size, problem);
		result = said;
	}
	return result;
}

enum rte_vhost_msg_result
vhost_iotlb_user_before(struct vhost_iotlb_user *u, int vid, void *msg)
{
	const char *problem;

	if (u->fe == NULL || u->vid != vid)
		return RTE_VHOST_MSG_RESULT_NOT_HANDLED;
	u->handling = user_msg_request(msg);
	u->refused = false;
	problem = user_msg_size_problem(msg);
	if (problem == NULL) {
		switch (u->handling) {
		case USER_SET_MEM_TABLE:
			problem = wire_table_problem(u, msg);
			/* Until it is known that the library has taken it. */
			if (problem == NULL)
				u->table = VHOST_IOTLB_USER_TABLE_NONE;
			break;
		case USER_IOTLB_MSG:
			problem = "the IOTLB is not in use";
			break;
		case USER_POSTCOPY_ADVISE:
		case USER_POSTCOPY_LISTEN:
		case USER_POSTCOPY_END:
		case USER_GET_INFLIGHT_FD:
		case USER_SET_INFLIGHT_FD:
			/* The library handles them all the same, and opens or fills what it is
			 * told to. */
			problem = "it is not offered";
			break;
		default:
			break;
		}
	}
	if (problem == NULL)
		return RTE_VHOST_MSG_RESULT_NOT_HANDLED;
	refuse(u, msg, problem);
	/* Nothing in these can be spoilt. */
	if (u->handling >= USER_POSTCOPY_ADVISE && u->handling <= USER_POSTCOPY_END)
		return RTE_VHOST_MSG_RESULT_ERR;
	return RTE_VHOST_MSG_RESULT_NOT_HANDLED;
}

/* The vhost library has a new table, or was sent its own again. */
static enum rte_vhost_msg_result
table_arrived(struct vhost_iotlb_user *u, void *msg)
{
	struct vhost_iotlb *table;
	unsigned int regions;

	u->table = VHOST_IOTLB_USER_TABLE_HERE;
	if (read_table(u, &table, &regions) < 0) {
		/* The library has the table, and would read rings in it, beyond the end of a file
		 * maybe. The front-end is sent away before it can. */
		u->table = VHOST_IOTLB_USER_TABLE_NONE;
		user_msg_drop_reply(msg);
		return RTE_VHOST_MSG_RESULT_ERR;
	}
	if (u->conf.ops != NULL && u->conf.ops->table != NULL)
		u->conf.ops->table(u->conf.arg, table);
	vhost_iotlb_destroy(table);
	return RTE_VHOST_MSG_RESULT_NOT_HANDLED;
}

/* The vhost library only stores it. A reset that came without GET_VRING_BASE is one, too, and as
 * the library will not start again what it did not stop, we do. */
static void
status_arrived(struct vhost_iotlb_user *u, uint64_t status)
{
	const struct vhost_iotlb_user_ops *ops = u->conf.ops;

	if (ops == NULL || ops->stop == NULL || ops->start == NULL)
		return;
	if (status == 0 && u->used) {
		u->status_stop = true;
		ops->stop(u->conf.arg);
	} else if ((status & VIRTIO_CONFIG_S_DRIVER_OK) != 0 && u->status_stop) {
		u->status_stop = false;
		ops->start(u->conf.arg);
	}
}

enum rte_vhost_msg_result
vhost_iotlb_user_after(struct vhost_iotlb_user *u, int vid, void *msg)
{
	enum rte_vhost_msg_result result = RTE_VHOST_MSG_RESULT_NOT_HANDLED;

	if (u->fe == NULL || u->vid != vid || u->handling == USER_NONE)
		return RTE_VHOST_MSG_RESULT_NOT_HANDLED;
	if (u->refused)
		result = RTE_VHOST_MSG_RESULT_ERR;
	else if (u->handling == USER_SET_MEM_TABLE)
		result = table_arrived(u, msg);
	else if (u->handling == USER_SET_STATUS)
		status_arrived(u, user_msg_u64(msg));
	/* It was one: the connection lives. */
	u->limbo = false;
	u->handling = USER_NONE;
	return result;
}
