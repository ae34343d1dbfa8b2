/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <rte_vhost.h>

#include "user.h"
#include "user_iotlb.h"
#include "user_log.h"
#include "user_msg.h"

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

int
user_follow_features(struct vhost_iotlb_user *u)
{
	uint64_t features;
	bool on;

	on = u->conf.iommu && rte_vhost_get_negotiated_features(u->vid, &features) == 0 &&
		(features & USER_F_ACCESS_PLATFORM) != 0;
	if (on == (u->iotlb != NULL))
		return 0;
	if (on) {
		u->iotlb = user_iotlb_create();
		if (u->iotlb == NULL)
			return -ENOMEM;
	} else {
		user_iotlb_destroy(u->iotlb);
		u->iotlb = NULL;
	}
	USER_LOG(INFO, u, "the address space is that of %s",
		on ? "IOTLB messages" : "the memory table");
	return 0;
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
	ret = user_follow_features(u);
	if (ret < 0) {
		(void)vhost_iotlb_fe_release(fe);
		u->fe = NULL;
		return ret;
	}
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
		USER_LOG(ERR, u, "memory region %" PRIu32 " (guest address %#" PRIx64 ", size %#"
			PRIx64 ") refused: %s", i, r->guest_phys_addr, r->size, problem);
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
	const char *what = u->iotlb != NULL ? "IOTLB" : "memory table";
	size_t n = vhost_iotlb_count(table);
	int ret;

	ret = vhost_iotlb_fe_set_table(u->fe, USER_ASID, table, &result->changed);
	if (ret < 0) {
		USER_LOG(ERR, u, "%s of %zu %s refused by the device: %s", what, n,
			u->iotlb != NULL ? "maps" : "regions", strerror(-ret));
		return ret;
	}
	USER_LOG(INFO, u, "%s: %zu %s, %" PRIu64 " bytes, %u changes%s", what, n,
		u->iotlb != NULL ? "maps" : "regions", table_bytes(table), result->changed,
		result->changed == 0 ? ": the maps stay" : "");
	return 0;
}

int
user_push_iotlb(struct vhost_iotlb_user *u)
{
	struct vhost_iotlb_user_sync result = { 0 };

	return apply_table(u, user_iotlb_maps(u->iotlb), &result);
}

struct user_backings *
user_read_backings(const struct vhost_iotlb_user *u)
{
	struct rte_vhost_memory *mem = NULL;
	struct user_backings *b = NULL;

	if (u->table != VHOST_IOTLB_USER_TABLE_HERE || rte_vhost_get_mem_table(u->vid, &mem) != 0)
		return NULL;
	b = calloc(1, sizeof(*b) + mem->nregions * sizeof(b->v[0]));
	for (uint32_t i = 0; b != NULL && i < mem->nregions; i++) {
		/* They were found good when they arrived. */
		if (region_to_map(&mem->regions[i], &b->v[b->n].map) == NULL)
			b->v[b->n++].user_addr = mem->regions[i].guest_user_addr;
	}
	free(mem);
	return b;
}

int
user_read_table(const struct vhost_iotlb_user *u, struct vhost_iotlb **table, unsigned int *regions)
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
	/* What backs these maps was looked at when they came. */
	if (u->iotlb != NULL)
		return apply_table(u, user_iotlb_maps(u->iotlb), sync != NULL ? sync : &result);
	ret = user_read_table(u, &table, &result.regions);
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
	/* The library forgets the features, and where its own IOTLB is. */
	u->owner_reset = true;
	user_iotlb_destroy(u->iotlb);
	u->iotlb = NULL;
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
	user_iotlb_destroy(u->iotlb);
	u->iotlb = NULL;
	if (ret < 0)
		USER_LOG(ERR, u, "connection %d detached, but the device failed to unmap: %s",
			u->vid, strerror(-ret));
	else
		USER_LOG(INFO, u, "connection %d detached", u->vid);
}

const struct vhost_iotlb_user_ring *
vhost_iotlb_user_ring(const struct vhost_iotlb_user *u, uint32_t index)
{
	return u->iotlb != NULL ? user_iotlb_ring(u->iotlb, index) : NULL;
}
