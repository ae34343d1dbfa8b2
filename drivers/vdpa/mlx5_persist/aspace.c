/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <mlx5_prm.h>
#include <rte_common.h>

#include "aspace.h"
#include "hw.h"
#include "mlx5p_log.h"

/* What an indirect key says. */
struct layout {
	uint64_t start, len;       /* guest physical */
	struct mlx5p_klm *klm;
	uint32_t n, room;
};

/* A key and what it stands on. */
struct layer {
	struct layer *next;        /* of the old ones */
	struct mlx5p_obj mkey;
	struct mlx5p_hold hold;
	struct layout layout;
};

struct mlx5p_aspace {
	const struct mlx5p_hw *hw;
	struct mlx5p_pins *pins;
	struct layer *layer;       /* in force; NULL in the initial mapping */
	struct layer *old;         /* were in force, await mlx5p_aspace_reap() */
	struct vhost_iotlb *maps;  /* that the one in force shows */
	uint64_t rebuilds, kept;
	enum mlx5p_rebuild last;
};

struct mlx5p_aspace *
mlx5p_aspace_create(const struct mlx5p_hw *hw, struct mlx5p_pins *pins)
{
	struct mlx5p_aspace *as = calloc(1, sizeof(*as));

	if (as == NULL)
		return NULL;
	as->hw = hw;
	as->pins = pins;
	return as;
}

void
mlx5p_aspace_destroy(struct mlx5p_aspace *as)
{
	if (as == NULL)
		return;
	mlx5p_aspace_clear(as);
	free(as);
}

/* ---- the entries of the key ---- */

static int
layout_add(struct layout *l, uint32_t mkey, uint64_t address, uint64_t len)
{
	while (len > 0) {
		uint32_t bytes = RTE_MIN(len, MLX5_KLM_MAX_BYTES);

		if (l->n == l->room) {
			uint32_t room = l->room ? 2 * l->room : 16;
			struct mlx5p_klm *klm = realloc(l->klm, room * sizeof(*klm));

			if (klm == NULL)
				return -ENOMEM;
			l->klm = klm;
			l->room = room;
		}
		l->klm[l->n++] = (struct mlx5p_klm) { address, bytes, mkey };
		address += bytes;
		len -= bytes;
		l->len += bytes;
	}
	return 0;
}

/* How many entries a key of @maps has at least: one for each 2 GiB of a map or of a hole begun.
 * Beyond what a key can have the count ends. */
static uint64_t
least_entries(const struct vhost_iotlb *maps)
{
	const struct vhost_iotlb_map *map;
	uint64_t n = 0, next = 0;

	VHOST_IOTLB_FOREACH(map, maps) {
		if (n > 0 && map->start > next)
			n += (map->start - next - 1) / MLX5_KLM_MAX_BYTES + 1;
		n += (map->last - map->start) / MLX5_KLM_MAX_BYTES + 1;
		next = map->last + 1;
		if (n > MLX5P_KLM_MAX)
			break;
	}
	return n;
}

static struct mlx5p_extent
extent_of(const struct vhost_iotlb_map *map)
{
	return (struct mlx5p_extent) {
		.dev = map->backing.dev,
		.ino = map->backing.ino,
		.fd = map->backing.fd,
		.offset = map->backing.offset,
		.len = map->last - map->start + 1,
		.gpa = map->start,
		/* Verbs know no memory that is only written: that may be read, too. */
		.read_only = map->perm == VHOST_ACCESS_RO,
	};
}

/* Entries for all maps in the order of addresses, in which @hold has their pieces, and the null key
 * between them. */
static int
layout_build(struct layout *l, const struct mlx5p_hw *hw, const struct vhost_iotlb *maps,
		const struct mlx5p_hold *hold)
{
	const struct mlx5p_piece *piece = hold->pieces;
	const struct vhost_iotlb_map *map;
	uint64_t left;
	int ret;

	VHOST_IOTLB_FOREACH(map, maps) {
		if (l->n == 0)
			l->start = map->start;
		ret = layout_add(l, hw->null_mkey, 0, map->start - (l->start + l->len));
		for (left = map->last - map->start + 1; ret == 0 && left > 0; piece++) {
			ret = layout_add(l, mlx5p_pin_mkey(piece->pin), piece->offset, piece->len);
			left -= piece->len;
		}
		if (ret < 0)
			return ret;
	}
	return 0;
}

static bool
layout_equal(const struct layout *a, const struct layout *b)
{
	uint32_t i;

	if (a->start != b->start || a->len != b->len || a->n != b->n)
		return false;
	for (i = 0; i < a->n; i++) {
		if (a->klm[i].mkey != b->klm[i].mkey || a->klm[i].bytes != b->klm[i].bytes ||
				a->klm[i].address != b->klm[i].address)
			return false;
	}
	return true;
}

/* ---- one key ---- */

static void
layer_destroy(struct mlx5p_aspace *as, struct layer *layer)
{
	if (layer == NULL)
		return;
	mlx5p_devx_destroy(as->hw, &layer->mkey, "indirect mkey");
	mlx5p_pins_release(as->pins, &layer->hold);
	free(layer->layout.klm);
	free(layer);
}

int
mlx5p_aspace_plan(struct mlx5p_pins *pins, const struct vhost_iotlb *maps, struct mlx5p_hold *hold)
{
	struct mlx5p_extent *extents;
	const struct vhost_iotlb_map *map;
	uint32_t n = 0;
	int ret;

	/* Before anything is pinned or noted for it: addresses are the front-end's choice. */
	if (least_entries(maps) > MLX5P_KLM_MAX)
		return -E2BIG;
	extents = calloc(vhost_iotlb_count(maps), sizeof(*extents));
	if (extents == NULL)
		return -ENOMEM;
	VHOST_IOTLB_FOREACH(map, maps)
		extents[n++] = extent_of(map);
	ret = mlx5p_pins_plan(pins, extents, n, hold);
	free(extents);
	return ret;
}

/* Pins and entries for @maps, without a key. */
static int
layer_create(struct mlx5p_aspace *as, const struct vhost_iotlb *maps, struct layer **out)
{
	struct layer *layer = calloc(1, sizeof(*layer));
	int ret;

	if (layer == NULL)
		return -ENOMEM;
	ret = mlx5p_aspace_plan(as->pins, maps, &layer->hold);
	if (ret == -E2BIG)
		MLX5P_LOG(ERR, as->hw->name, "guest memory is too fragmented: %zu maps and the "
			"holes between them, 2 GiB an entry, take more than the %u entries of a "
			"key", vhost_iotlb_count(maps), MLX5P_KLM_MAX);
	if (ret == 0) {
		mlx5p_pins_sweep(as->pins);
		mlx5p_pins_begin(as->pins, &layer->hold);
		ret = mlx5p_pins_finish(&layer->hold);
	}
	if (ret == 0)
		ret = layout_build(&layer->layout, as->hw, maps, &layer->hold);
	if (ret < 0) {
		mlx5p_pins_rollback(as->pins, &layer->hold);
		layer_destroy(as, layer);
		return ret;
	}
	*out = layer;
	return 0;
}

/* ---- operations ---- */

/* What two tables differ by. */
struct change {
	const struct vhost_iotlb *before;
	bool added, removed, replaced;
};

static int
note_step(void *arg, enum vhost_iotlb_op op, const struct vhost_iotlb_map *map)
{
	struct change *change = arg;

	if (op == VHOST_IOTLB_OP_UNMAP)
		change->removed = true;
	else if (vhost_iotlb_first(change->before, map->start, map->last) != NULL)
		change->replaced = true;
	else
		change->added = true;
	return 0;
}

static enum mlx5p_rebuild
why_rebuild(const struct mlx5p_aspace *as, const struct vhost_iotlb *maps)
{
	struct change change = { .before = as->maps };

	if (as->maps == NULL)
		return MLX5P_REBUILD_FIRST;
	vhost_iotlb_diff(as->maps, maps, note_step, &change);
	if (change.replaced)
		return MLX5P_REBUILD_REPLACED;
	if (change.added && change.removed)
		return MLX5P_REBUILD_CHANGED;
	if (change.added)
		return MLX5P_REBUILD_ADDED;
	return change.removed ? MLX5P_REBUILD_REMOVED : MLX5P_REBUILD_PINS;
}

/* The layer that is in force steps aside for another. */
static void
put_in_force(struct mlx5p_aspace *as, struct layer *layer, const struct vhost_iotlb *maps)
{
	as->last = why_rebuild(as, maps);
	as->rebuilds++;
	if (as->layer != NULL) {
		as->layer->next = as->old;
		as->old = as->layer;
	}
	as->layer = layer;
}

int
mlx5p_aspace_set(struct mlx5p_aspace *as, const struct vhost_iotlb *maps)
{
	struct vhost_iotlb *copy;
	struct layer *layer;
	int ret;

	if (vhost_iotlb_count(maps) == 0) {
		mlx5p_aspace_clear(as);
		return 0;
	}
	copy = vhost_iotlb_copy(maps);
	if (copy == NULL)
		return -ENOMEM;
	ret = layer_create(as, maps, &layer);
	if (ret < 0)
		goto free_copy;
	if (as->layer != NULL && layout_equal(&layer->layout, &as->layer->layout)) {
		as->kept++;
		mlx5p_pins_count(as->pins, &layer->hold);
		layer_destroy(as, layer);
	} else {
		ret = mlx5p_devx_create_klm(as->hw, layer->layout.start, layer->layout.len,
			layer->layout.klm, layer->layout.n, &layer->mkey);
		if (ret < 0) {
			mlx5p_pins_rollback(as->pins, &layer->hold);
			layer_destroy(as, layer);
			goto free_copy;
		}
		mlx5p_pins_count(as->pins, &layer->hold);
		put_in_force(as, layer, maps);
	}
	vhost_iotlb_destroy(as->maps);
	as->maps = copy;
	return 0;
free_copy:
	vhost_iotlb_destroy(copy);
	return ret;
}

void
mlx5p_aspace_reap(struct mlx5p_aspace *as)
{
	struct layer *layer;

	while ((layer = as->old) != NULL) {
		as->old = layer->next;
		layer_destroy(as, layer);
	}
}

void
mlx5p_aspace_clear(struct mlx5p_aspace *as)
{
	mlx5p_aspace_reap(as);
	layer_destroy(as, as->layer);
	as->layer = NULL;
	vhost_iotlb_destroy(as->maps);
	as->maps = NULL;
}

uint32_t
mlx5p_aspace_mkey(const struct mlx5p_aspace *as)
{
	return as->layer != NULL ? as->layer->mkey.id : 0;
}

/* ---- seen ---- */

const char *
mlx5p_rebuild_name(enum mlx5p_rebuild why)
{
	static const char *const names[] = {
		[MLX5P_REBUILD_NEVER] = "never built",
		[MLX5P_REBUILD_FIRST] = "first table",
		[MLX5P_REBUILD_ADDED] = "map added",
		[MLX5P_REBUILD_REMOVED] = "map removed",
		[MLX5P_REBUILD_REPLACED] = "other memory behind the same addresses",
		[MLX5P_REBUILD_CHANGED] = "maps added and removed",
		[MLX5P_REBUILD_PINS] = "same maps on other pins",
	};

	return names[why];
}

void
mlx5p_aspace_stats(const struct mlx5p_aspace *as, struct mlx5p_aspace_stats *stats)
{
	const struct layer *layer;

	*stats = (struct mlx5p_aspace_stats) {
		.mkey = mlx5p_aspace_mkey(as),
		.rebuilds = as->rebuilds, .kept = as->kept, .last = as->last,
	};
	if (as->layer != NULL) {
		stats->entries = as->layer->layout.n;
		stats->start = as->layer->layout.start;
		stats->len = as->layer->layout.len;
	}
	for (layer = as->old; layer != NULL; layer = layer->next)
		stats->old_keys++;
}

/* ---- addresses ---- */

int
mlx5p_aspace_gpa(const struct vhost_iotlb *maps, const void *addr, uint64_t len, uint64_t *gpa)
{
	uint64_t hva = (uintptr_t)addr;
	const struct vhost_iotlb_map *map;

	VHOST_IOTLB_FOREACH(map, maps) {
		uint64_t size = map->last - map->start + 1;

		if (hva < map->addr || hva - map->addr >= size)
			continue;
		if (len > size - (hva - map->addr))
			break;
		*gpa = map->start + (hva - map->addr);
		return 0;
	}
	return -EFAULT;
}
