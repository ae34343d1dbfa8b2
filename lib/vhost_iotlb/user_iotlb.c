/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <linux/vhost_types.h>

#include "user_iotlb.h"

struct user_iotlb {
	struct vhost_iotlb *maps;
	struct vhost_iotlb *batch;         /* what they will be at the end of it; NULL: none open */
	struct vhost_iotlb *before;        /* maps, until a change of them is kept; or NULL */
	struct vhost_iotlb_msg msg;        /* checked last */
	struct vhost_iotlb_map map;        /* that it adds */
	bool nothing;                      /* it is there already */
	struct {
		bool known;
		struct vhost_iotlb_user_ring addr;
	} rings[USER_IOTLB_RINGS];
};

struct user_iotlb *
user_iotlb_create(void)
{
	struct user_iotlb *io = calloc(1, sizeof(*io));

	if (io == NULL)
		return NULL;
	io->maps = vhost_iotlb_create(VHOST_IOTLB_UNLIMITED, 0);
	if (io->maps == NULL) {
		free(io);
		return NULL;
	}
	return io;
}

void
user_iotlb_destroy(struct user_iotlb *io)
{
	if (io == NULL)
		return;
	vhost_iotlb_destroy(io->before);
	vhost_iotlb_destroy(io->batch);
	vhost_iotlb_destroy(io->maps);
	free(io);
}

const struct vhost_iotlb *
user_iotlb_maps(const struct user_iotlb *io)
{
	return io->maps;
}

/* ---- checking ---- */

/* Fill in the map that an update asks for. */
static const char *
find_backing(struct user_iotlb *io, const struct user_backings *mem)
{
	const struct vhost_iotlb_msg *msg = &io->msg;
	const struct user_backing *b;
	uint64_t size, offset;

	for (unsigned int i = 0; mem != NULL && i < mem->n; i++) {
		b = &mem->v[i];
		size = b->map.last - b->map.start + 1;
		offset = msg->uaddr - b->user_addr;
		if (msg->uaddr < b->user_addr || offset >= size || msg->size > size - offset)
			continue;
		io->map = vhost_iotlb_map_slice(&b->map, b->map.start + offset,
				b->map.start + offset + (msg->size - 1));
		io->map.start = msg->iova;
		io->map.last = msg->iova + (msg->size - 1);
		io->map.perm = msg->perm;
		return NULL;
	}
	return "its userspace addresses are not within one region of the memory table";
}

/* Is all that the new map shows mapped already, and nothing else in its place? */
static bool
is_there(const struct vhost_iotlb *maps, const struct vhost_iotlb_map *map)
{
	const struct vhost_iotlb_map *have;
	uint64_t next = map->start;

	VHOST_IOTLB_FOREACH_RANGE(have, maps, map->start, map->last) {
		if (have->start > next || !vhost_iotlb_map_same(have, map, next))
			return false;
		if (have->last >= map->last)
			return true;
		next = have->last + 1;
	}
	return false;
}

static const char *
check_update(struct user_iotlb *io, const struct user_backings *mem)
{
	const struct vhost_iotlb *maps = io->batch != NULL ? io->batch : io->maps;
	const char *problem;

	if (io->msg.perm < VHOST_ACCESS_RO || io->msg.perm > VHOST_ACCESS_RW)
		return "its permission is none";
	problem = find_backing(io, mem);
	if (problem != NULL)
		return problem;
	/* A front-end that answers the vhost library's questions says things twice. */
	io->nothing = is_there(maps, &io->map);
	if (!io->nothing && vhost_iotlb_first(maps, io->map.start, io->map.last) != NULL)
		return "it overlaps a map that was not invalidated";
	return NULL;
}

static const char *
check_range(const struct vhost_iotlb_msg *msg)
{
	if (msg->size == 0)
		return "its size is 0";
	if (msg->iova > UINT64_MAX - (msg->size - 1))
		return "it runs past the last address";
	return NULL;
}

const char *
user_iotlb_check(struct user_iotlb *io, const struct user_backings *mem, void *payload)
{
	/* An invalidation of no addresses. */
	const struct vhost_iotlb_msg idle = { .type = VHOST_IOTLB_INVALIDATE };
	const char *problem;

	memset(&io->msg, 0, sizeof(io->msg));
	memcpy(&io->msg, payload, offsetof(struct vhost_iotlb_msg, type) + sizeof(io->msg.type));
	io->nothing = false;
	switch (io->msg.type) {
	case VHOST_IOTLB_UPDATE:
		problem = check_range(&io->msg);
		return problem != NULL ? problem : check_update(io, mem);
	case VHOST_IOTLB_INVALIDATE:
		return check_range(&io->msg);
	case VHOST_IOTLB_BATCH_BEGIN:
		problem = io->batch != NULL ? "a batch is open" : NULL;
		break;
	case VHOST_IOTLB_BATCH_END:
		problem = io->batch == NULL ? "no batch is open" : NULL;
		break;
	case VHOST_IOTLB_MISS:
	case VHOST_IOTLB_ACCESS_FAIL:
		return "it is the back-end's to send";
	default:
		return "its type is unknown";
	}
	if (problem == NULL)
		memcpy(payload, &idle,
			offsetof(struct vhost_iotlb_msg, type) + sizeof(io->msg.type));
	return problem;
}

/* ---- applying ---- */

/* Put another table in place of the maps, which can be undone. */
static int
replace(struct user_iotlb *io, struct vhost_iotlb *maps)
{
	if (maps == NULL)
		return -ENOMEM;
	vhost_iotlb_destroy(io->before);
	io->before = io->maps;
	io->maps = maps;
	return 1;
}

static int
change(struct vhost_iotlb *maps, const struct user_iotlb *io)
{
	if (io->msg.type == VHOST_IOTLB_UPDATE)
		return vhost_iotlb_add(maps, &io->map);
	return vhost_iotlb_del(maps, io->msg.iova, io->msg.iova + (io->msg.size - 1));
}

static int
apply_change(struct user_iotlb *io)
{
	int ret;

	if (io->nothing)
		return 0;
	if (io->batch != NULL)
		return change(io->batch, io);
	(void)vhost_iotlb_txn_begin(io->maps);
	ret = change(io->maps, io);
	if (ret < 0)
		vhost_iotlb_txn_abort(io->maps);
	return ret < 0 ? ret : 1;
}

int
user_iotlb_apply(struct user_iotlb *io)
{
	struct vhost_iotlb *batch = io->batch;

	switch (io->msg.type) {
	case VHOST_IOTLB_BATCH_BEGIN:
		io->batch = vhost_iotlb_copy(io->maps);
		return io->batch == NULL ? -ENOMEM : 0;
	case VHOST_IOTLB_BATCH_END:
		io->batch = NULL;
		return replace(io, batch);
	default:
		return apply_change(io);
	}
}

void
user_iotlb_keep(struct user_iotlb *io, bool keep)
{
	if (vhost_iotlb_txn_is_open(io->maps)) {
		if (keep)
			vhost_iotlb_txn_commit(io->maps);
		else
			vhost_iotlb_txn_abort(io->maps);
		return;
	}
	if (!keep && io->before != NULL) {
		vhost_iotlb_destroy(io->maps);
		io->maps = io->before;
	} else {
		vhost_iotlb_destroy(io->before);
	}
	io->before = NULL;
}

/* ---- another memory table ---- */

/* How much of [map, from its byte @p skip on] a region shows; 0: its first byte is not there. */
static uint64_t
part_in(const struct user_backing *b, const struct vhost_iotlb_map *map, uint64_t skip,
		uint64_t *offset)
{
	uint64_t size = b->map.last - b->map.start + 1, rest = map->last - map->start + 1 - skip;
	uint64_t at = map->backing.offset + skip;

	if (b->map.backing.dev != map->backing.dev || b->map.backing.ino != map->backing.ino ||
			at < b->map.backing.offset || at - b->map.backing.offset >= size)
		return 0;
	*offset = at - b->map.backing.offset;
	return rest < size - *offset ? rest : size - *offset;
}

/* How much from there on no region shows. */
static uint64_t
hole_in(const struct user_backings *mem, const struct vhost_iotlb_map *map, uint64_t skip)
{
	uint64_t len = map->last - map->start + 1 - skip, at = map->backing.offset + skip;
	const struct vhost_iotlb_backing *b;

	for (unsigned int i = 0; i < mem->n; i++) {
		b = &mem->v[i].map.backing;
		if (b->dev == map->backing.dev && b->ino == map->backing.ino && b->offset > at &&
				b->offset - at < len)
			len = b->offset - at;
	}
	return len;
}

/* Add to @p maps what @p mem has of @p map. Adds to @p lost the bytes that it has not. */
static int
rebase_map(struct vhost_iotlb *maps, const struct vhost_iotlb_map *map,
		const struct user_backings *mem, int64_t *lost)
{
	uint64_t size = map->last - map->start + 1, done = 0, len, offset = 0;
	struct vhost_iotlb_map part;
	unsigned int i;
	int ret;

	for (; done < size; done += len) {
		for (i = 0, len = 0; i < mem->n && len == 0; i++)
			len = part_in(&mem->v[i], map, done, &offset);
		if (len == 0) {
			len = hole_in(mem, map, done);
			*lost += len;
			continue;
		}
		part = vhost_iotlb_map_slice(map, map->start + done, map->start + done + (len - 1));
		part.addr = mem->v[i - 1].map.addr + offset;
		part.backing.fd = mem->v[i - 1].map.backing.fd;
		ret = vhost_iotlb_add(maps, &part);
		if (ret < 0)
			return ret;
	}
	return 0;
}

/* What @mem has of @from, as a table of its own; NULL: no memory. */
static struct vhost_iotlb *
rebase_table(const struct vhost_iotlb *from, const struct user_backings *mem, int64_t *lost)
{
	struct vhost_iotlb *maps = vhost_iotlb_create(VHOST_IOTLB_UNLIMITED, 0);
	const struct vhost_iotlb_map *map;

	if (maps == NULL)
		return NULL;
	VHOST_IOTLB_FOREACH(map, from) {
		/* They overlap no more than before: memory is all that can be wanting. */
		if (rebase_map(maps, map, mem, lost) < 0) {
			vhost_iotlb_destroy(maps);
			return NULL;
		}
	}
	return maps;
}

int64_t
user_iotlb_rebase(struct user_iotlb *io, const struct user_backings *mem)
{
	struct vhost_iotlb *maps, *batch = NULL;
	int64_t lost = 0, unseen = 0;

	maps = rebase_table(io->maps, mem, &lost);
	if (maps == NULL)
		return -ENOMEM;
	if (io->batch != NULL) {
		batch = rebase_table(io->batch, mem, &unseen);
		if (batch == NULL) {
			vhost_iotlb_destroy(maps);
			return -ENOMEM;
		}
	}
	vhost_iotlb_destroy(io->batch);
	io->batch = batch;
	vhost_iotlb_destroy(io->maps);
	io->maps = maps;
	return lost;
}

/* ---- rings ---- */

void
user_iotlb_set_ring(struct user_iotlb *io, uint32_t index,
		const struct vhost_iotlb_user_ring *ring)
{
	if (index >= USER_IOTLB_RINGS)
		return;
	io->rings[index].known = true;
	io->rings[index].addr = *ring;
}

const struct vhost_iotlb_user_ring *
user_iotlb_ring(const struct user_iotlb *io, uint32_t index)
{
	return index < USER_IOTLB_RINGS && io->rings[index].known ? &io->rings[index].addr : NULL;
}
