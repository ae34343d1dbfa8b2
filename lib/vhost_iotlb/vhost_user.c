/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <rte_log.h>
#include <rte_vhost.h>

#include "vhost_iotlb_user.h"

RTE_LOG_REGISTER(vhost_iotlb_logtype, lib.vhost.iotlb, NOTICE);

#define LOG(level, u, fmt, ...) \
	rte_log(RTE_LOG_ ## level, vhost_iotlb_logtype, "vhost_iotlb: %s: " fmt "\n", \
		(u)->name, ## __VA_ARGS__)

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

int
vhost_iotlb_user_attach(struct vhost_iotlb_user *u, int vid, struct vhost_iotlb_dev *dev,
		const char *name, bool persist)
{
	int ret;

	if (u->fe != NULL && u->vid == vid && vhost_iotlb_fe_dev(u->fe) == dev)
		return 0;
	if (u->fe != NULL) {
		LOG(ERR, u, "connection %d refused: connection %d is attached", vid, u->vid);
		return -EBUSY;
	}
	snprintf(u->name, sizeof(u->name), "%s", name);
	ret = vhost_iotlb_fe_open(dev, &u->fe);
	if (ret < 0) {
		LOG(ERR, u, "connection %d refused: %s", vid,
			ret == -EBUSY ? "another front-end has the device" : strerror(-ret));
		return ret;
	}
	u->vid = vid;
	u->persist = persist;
	/* Offered bits only, and before the first map: it can't be refused. */
	(void)vhost_iotlb_fe_set_features(u->fe, features_to_ack(dev, persist));
	LOG(INFO, u, "connection %d attached, IOTLB_PERSIST %s", vid,
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
		LOG(ERR, u, "memory region %" PRIu32 " (guest address %#" PRIx64 ", size %#" PRIx64
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
		LOG(ERR, u, "memory table of %u regions refused by the device: %s",
			result->regions, strerror(-ret));
		return ret;
	}
	LOG(INFO, u, "memory table: %u regions, %" PRIu64 " bytes, %u changes%s",
		result->regions, table_bytes(table), result->changed,
		result->changed == 0 ? ": the maps stay" : "");
	return 0;
}

int
vhost_iotlb_user_sync_table(struct vhost_iotlb_user *u, struct vhost_iotlb_user_sync *sync)
{
	struct vhost_iotlb_user_sync result = { 0 };
	struct rte_vhost_memory *mem = NULL;
	struct vhost_iotlb *table;
	int ret;

	if (u->fe == NULL)
		return -ENOTCONN;
	if (rte_vhost_get_mem_table(u->vid, &mem) != 0) {
		LOG(ERR, u, "connection %d has no memory table", u->vid);
		return -ENODEV;
	}
	result.regions = mem->nregions;
	table = vhost_iotlb_create(VHOST_IOTLB_UNLIMITED, 0);
	if (table == NULL) {
		LOG(ERR, u, "no memory for a table of %u regions", result.regions);
		ret = -ENOMEM;
		goto free_mem;
	}
	ret = regions_to_table(u, mem, table);
	if (ret == 0)
		ret = apply_table(u, table, &result);
	if (ret == 0 && sync != NULL)
		*sync = result;
	vhost_iotlb_destroy(table);
free_mem:
	free(mem);
	return ret;
}

int
vhost_iotlb_user_virtio_reset(struct vhost_iotlb_user *u)
{
	size_t before, after;
	int ret;

	if (u->fe == NULL)
		return -ENOTCONN;
	before = vhost_iotlb_count(vhost_iotlb_fe_table(u->fe, USER_ASID));
	ret = vhost_iotlb_fe_reset(u->fe);
	if (ret < 0) {
		LOG(ERR, u, "virtio reset failed: %s", strerror(-ret));
		return ret;
	}
	after = vhost_iotlb_count(vhost_iotlb_fe_table(u->fe, USER_ASID));
	LOG(INFO, u, "virtio reset: %zu of %zu maps kept", after, before);
	return 0;
}

void
vhost_iotlb_user_detach(struct vhost_iotlb_user *u)
{
	int ret;

	if (u->fe == NULL)
		return;
	ret = vhost_iotlb_fe_release(u->fe);
	u->fe = NULL;
	if (ret < 0)
		LOG(ERR, u, "connection %d detached, but the device failed to unmap: %s", u->vid,
			strerror(-ret));
	else
		LOG(INFO, u, "connection %d detached", u->vid);
}
