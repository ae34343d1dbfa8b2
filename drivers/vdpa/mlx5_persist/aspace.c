/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
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

struct mlx5p_aspace {
	const struct mlx5p_hw *hw;
	struct mlx5p_pins *pins;
	struct layout layout;      /* of the key in force */
	struct mlx5p_obj mkey;
	struct mlx5p_obj old;      /* was in force, awaits mlx5p_aspace_reap() */
};

struct mlx5p_aspace *
mlx5p_aspace_create(const struct mlx5p_hw *hw, enum mlx5p_mr_backend backend)
{
	struct mlx5p_aspace *as = calloc(1, sizeof(*as));

	if (as == NULL)
		return NULL;
	as->hw = hw;
	as->pins = mlx5p_pins_create(hw, backend);
	if (as->pins == NULL) {
		free(as);
		return NULL;
	}
	return as;
}

void
mlx5p_aspace_destroy(struct mlx5p_aspace *as)
{
	if (as == NULL)
		return;
	mlx5p_aspace_clear(as);
	mlx5p_pins_destroy(as->pins);
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

static struct mlx5p_extent
extent_of(const struct vhost_iotlb_map *map)
{
	return (struct mlx5p_extent) {
		.dev = map->backing.dev,
		.ino = map->backing.ino,
		.fd = map->backing.fd,
		.offset = map->backing.offset,
		.len = map->last - map->start + 1,
	};
}

static int
layout_add_map(struct layout *l, const struct mlx5p_pins *pins, const struct vhost_iotlb_map *map)
{
	struct mlx5p_extent rest = extent_of(map);
	struct mlx5p_piece piece;
	int ret = 0;

	while (rest.len > 0 && ret == 0) {
		ret = mlx5p_pins_piece(pins, &rest, &piece);
		if (ret < 0)
			return ret;
		ret = layout_add(l, piece.mkey, piece.address, piece.len);
		rest.offset += piece.len;
		rest.len -= piece.len;
	}
	return ret;
}

/* Entries for all maps in the order of addresses, the null key between them. */
static int
layout_build(struct layout *l, const struct mlx5p_aspace *as, const struct vhost_iotlb *maps)
{
	const struct vhost_iotlb_map *map;
	int ret;

	memset(l, 0, sizeof(*l));
	VHOST_IOTLB_FOREACH(map, maps) {
		if (l->n == 0)
			l->start = map->start;
		ret = layout_add(l, as->hw->null_mkey, 0, map->start - (l->start + l->len));
		if (ret == 0)
			ret = layout_add_map(l, as->pins, map);
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

/* ---- operations ---- */

static int
acquire_all(struct mlx5p_aspace *as, const struct vhost_iotlb *maps)
{
	const struct vhost_iotlb_map *map;
	struct mlx5p_extent extent;
	int ret;

	VHOST_IOTLB_FOREACH(map, maps) {
		extent = extent_of(map);
		ret = mlx5p_pins_acquire(as->pins, &extent);
		if (ret < 0)
			return ret;
	}
	return 0;
}

int
mlx5p_aspace_set(struct mlx5p_aspace *as, const struct vhost_iotlb *maps)
{
	struct mlx5p_obj mkey = { NULL, 0 };
	struct layout layout = { .klm = NULL };
	int ret;

	if (vhost_iotlb_count(maps) == 0) {
		mlx5p_aspace_clear(as);
		return 0;
	}
	/* A change that nobody reaped yet was never used by a queue: its pins are judged anew. */
	mlx5p_devx_destroy(as->hw, &as->old, "indirect mkey");
	mlx5p_pins_mark(as->pins);
	ret = acquire_all(as, maps);
	if (ret == 0)
		ret = layout_build(&layout, as, maps);
	if (ret == 0 && !layout_equal(&layout, &as->layout))
		ret = mlx5p_devx_create_klm(as->hw, layout.start, layout.len, layout.klm, layout.n,
			&mkey);
	if (ret < 0) {
		mlx5p_pins_rollback(as->pins);
		free(layout.klm);
		return ret;
	}
	if (mlx5p_obj_exists(&mkey)) {
		as->old = as->mkey;
		as->mkey = mkey;
	}
	free(as->layout.klm);
	as->layout = layout;
	return 0;
}

void
mlx5p_aspace_reap(struct mlx5p_aspace *as)
{
	mlx5p_devx_destroy(as->hw, &as->old, "indirect mkey");
	if (mlx5p_obj_exists(&as->mkey))
		mlx5p_pins_sweep(as->pins);
}

void
mlx5p_aspace_clear(struct mlx5p_aspace *as)
{
	mlx5p_devx_destroy(as->hw, &as->old, "indirect mkey");
	mlx5p_devx_destroy(as->hw, &as->mkey, "indirect mkey");
	free(as->layout.klm);
	memset(&as->layout, 0, sizeof(as->layout));
	mlx5p_pins_mark(as->pins);
	mlx5p_pins_sweep(as->pins);
}

uint32_t
mlx5p_aspace_mkey(const struct mlx5p_aspace *as)
{
	return as->mkey.id;
}

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
