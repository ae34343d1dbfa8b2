/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"

int
array_create(struct array *a, size_t n)
{
	a->n = 0;
	a->room = n + 1;
	a->map = calloc(a->room, sizeof(*a->map));
	return a->map == NULL ? -ENOMEM : 0;
}

void
array_destroy(struct array *a)
{
	free(a->map);
}

/* The place of the first map that ends at or above @p addr. */
static size_t
seek(const struct array *a, uint64_t addr)
{
	size_t low = 0, high = a->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (a->map[mid].last < addr)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

const struct vhost_iotlb_map *
array_lookup(const struct array *a, uint64_t addr)
{
	size_t at = seek(a, addr);

	return at < a->n && a->map[at].start <= addr ? &a->map[at] : NULL;
}

static int
make_room(struct array *a, size_t room)
{
	struct vhost_iotlb_map *map;

	if (room <= a->room)
		return 0;
	map = realloc(a->map, 2 * room * sizeof(*map));
	if (map == NULL)
		return -ENOMEM;
	a->map = map;
	a->room = 2 * room;
	return 0;
}

int
array_add(struct array *a, const struct vhost_iotlb_map *map)
{
	size_t at = seek(a, map->start);

	if (at < a->n && a->map[at].start <= map->last)
		return -EEXIST;
	if (make_room(a, a->n + 1) < 0)
		return -ENOMEM;
	memmove(&a->map[at + 1], &a->map[at], (a->n - at) * sizeof(a->map[0]));
	a->map[at] = *map;
	a->n++;
	return 0;
}

void
array_del(struct array *a, uint64_t start)
{
	size_t at = seek(a, start);

	if (at == a->n || a->map[at].start != start)
		return;
	a->n--;
	memmove(&a->map[at], &a->map[at + 1], (a->n - at) * sizeof(a->map[0]));
}

int
array_copy(struct array *copy, const struct array *a)
{
	if (make_room(copy, a->n) < 0)
		return -ENOMEM;
	memcpy(copy->map, a->map, a->n * sizeof(a->map[0]));
	copy->n = a->n;
	return 0;
}

size_t
array_diff(const struct array *a, const struct array *b)
{
	size_t i = 0, j = 0, steps = 0;

	while (i < a->n && j < b->n) {
		const struct vhost_iotlb_map *ma = &a->map[i], *mb = &b->map[j];

		if (ma->start == mb->start && ma->last == mb->last &&
				vhost_iotlb_map_same(ma, mb, ma->start)) {
			i++;
			j++;
		} else if (ma->start <= mb->start) {
			i++;
			steps++;
		} else {
			j++;
			steps++;
		}
	}
	return steps + (a->n - i) + (b->n - j);
}
