/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "soft_parent.h"

/* A mapping of ours of what backs a map. It stays as long as the device can reach a part of it. */
struct window {
	struct window *next;
	char *base;
	size_t len;
};

/* How addresses of one address space are translated. */
struct space {
	struct vhost_iotlb *maps;              /* addr: where this process, by a window, sees it */
	struct window *windows;
	bool initial;                          /* 1:1; maps is empty */
};

struct vhost_iotlb_soft {
	unsigned int group_asid[VHOST_IOTLB_SOFT_GROUPS];
	bool runs;
	unsigned int nas;
	struct space space[];                  /* nas of them */
};

/*
 * Windows.
 */

/* What mappings of a file begin and end at: a page, which is a large one on hugetlbfs. */
static uint64_t
file_page(int fd)
{
	uint64_t page = sysconf(_SC_PAGESIZE);
	struct stat st;

	if (fstat(fd, &st) == 0 && (uint64_t)st.st_blksize > page)
		page = st.st_blksize;
	return page;
}

/* Map the memory of @p map, and let its addr say where. */
static int
window_open(struct vhost_iotlb_map *map, struct window **list)
{
	int prot = map->perm == VHOST_ACCESS_RO ? PROT_READ : PROT_READ | PROT_WRITE, ret;
	uint64_t page = file_page(map->backing.fd), into = map->backing.offset % page;
	struct window *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return -ENOMEM;
	w->len = into + (map->last - map->start) + 1;
	w->len = (w->len + page - 1) / page * page;
	w->base = mmap(NULL, w->len, prot, MAP_SHARED, map->backing.fd,
		map->backing.offset - into);
	if (w->base == MAP_FAILED) {
		ret = -errno;
		free(w);
		return ret;
	}
	w->next = *list;
	*list = w;
	map->addr = (uintptr_t)w->base + into;
	map->backing.fd = -1;                  /* the caller's; the mapping holds the file */
	return 0;
}

static void
window_close(struct window *w)
{
	munmap(w->base, w->len);
	free(w);
}

static void
windows_close(struct window *w)
{
	struct window *next;

	for (; w != NULL; w = next) {
		next = w->next;
		window_close(w);
	}
}

static bool
window_is_used(const struct window *w, const struct vhost_iotlb *maps)
{
	const struct vhost_iotlb_map *map;

	VHOST_IOTLB_FOREACH(map, maps)
		if (map->addr - (uintptr_t)w->base < w->len)
			return true;
	return false;
}

/*
 * Address spaces.
 */

/* Add a map with a window of its own. On an error nothing has changed. */
static int
space_add(struct space *s, const struct vhost_iotlb_map *map)
{
	struct vhost_iotlb_map own = *map;
	struct window *w;
	int ret;

	if (map->backing.ino == 0)
		return vhost_iotlb_add(s->maps, map);
	ret = window_open(&own, &s->windows);
	if (ret < 0)
		return ret;
	ret = vhost_iotlb_add(s->maps, &own);
	if (ret < 0) {
		w = s->windows;
		s->windows = w->next;
		window_close(w);
	}
	return ret;
}

static void
space_clear(struct space *s)
{
	vhost_iotlb_reset(s->maps);
	windows_close(s->windows);
	s->windows = NULL;
}

/* Back to 1:1. */
static void
space_to_initial(struct space *s)
{
	space_clear(s);
	s->initial = true;
}

/*
 * Operations of the parent.
 */

/* The virtio device alone. Maps are not its business. */
static int
op_reset(void *parent)
{
	struct vhost_iotlb_soft *soft = parent;

	soft->runs = false;
	return 0;
}

/* What it did before it knew better. */
static int
op_compat_reset(void *parent, uint32_t flags)
{
	struct vhost_iotlb_soft *soft = parent;

	soft->runs = false;
	for (unsigned int asid = 0; asid < soft->nas; asid++)
		if (flags & VHOST_IOTLB_RESET_CLEAN_MAP)
			space_to_initial(&soft->space[asid]);
	return 0;
}

/* Build the new translation beside the old one, switch, drop the old one: when it can't be built,
 * nothing has happened. */
static int
op_set_map(void *parent, unsigned int asid, const struct vhost_iotlb *maps)
{
	struct vhost_iotlb_soft *soft = parent;
	struct space *s = &soft->space[asid], new = { 0 }, old = *s;
	const struct vhost_iotlb_map *map;
	int ret = 0;

	new.maps = vhost_iotlb_create(VHOST_IOTLB_UNLIMITED, 0);
	if (new.maps == NULL)
		return -ENOMEM;
	VHOST_IOTLB_FOREACH(map, maps) {
		ret = space_add(&new, map);
		if (ret < 0)
			break;
	}
	if (ret == 0)
		*s = new;
	else
		old = new;
	space_clear(&old);
	vhost_iotlb_destroy(old.maps);
	return ret;
}

static int
op_reset_map(void *parent, unsigned int asid)
{
	struct vhost_iotlb_soft *soft = parent;

	space_to_initial(&soft->space[asid]);
	return 0;
}

static int
op_dma_map(void *parent, unsigned int asid, const struct vhost_iotlb_map *map)
{
	struct vhost_iotlb_soft *soft = parent;
	int ret = space_add(&soft->space[asid], map);

	if (ret == 0)
		soft->space[asid].initial = false;
	return ret;
}

static int
op_dma_unmap(void *parent, unsigned int asid, uint64_t start, uint64_t last)
{
	struct vhost_iotlb_soft *soft = parent;
	struct space *s = &soft->space[asid];
	struct window **link = &s->windows, *w;
	int ret = vhost_iotlb_del(s->maps, start, last);

	if (ret < 0)
		return ret;
	while ((w = *link) != NULL) {
		if (window_is_used(w, s->maps)) {
			link = &w->next;
			continue;
		}
		*link = w->next;
		window_close(w);
	}
	return 0;
}

static int
op_set_group_asid(void *parent, unsigned int group, unsigned int asid)
{
	struct vhost_iotlb_soft *soft = parent;

	soft->group_asid[group] = asid;
	return 0;
}

static unsigned int
op_vq_group(void *parent, unsigned int vq)
{
	(void)parent;
	(void)vq;
	return VHOST_IOTLB_SOFT_DATA;
}

static unsigned int
op_vq_desc_group(void *parent, unsigned int vq)
{
	(void)parent;
	(void)vq;
	return VHOST_IOTLB_SOFT_DESC;
}

const struct vhost_iotlb_parent_ops vhost_iotlb_soft_ops = {
	.reset = op_reset,
	.compat_reset = op_compat_reset,
	.set_map = op_set_map,
	.reset_map = op_reset_map,
	.dma_map = op_dma_map,
	.dma_unmap = op_dma_unmap,
	.ngroups = VHOST_IOTLB_SOFT_GROUPS,
	.set_group_asid = op_set_group_asid,
	.vq_group = op_vq_group,
	.vq_desc_group = op_vq_desc_group,
};

/*
 * The device.
 */

struct vhost_iotlb_soft *
vhost_iotlb_soft_create(unsigned int nas)
{
	struct vhost_iotlb_soft *soft;

	if (nas == 0 || nas > VHOST_IOTLB_MAX_AS)
		return NULL;
	soft = calloc(1, sizeof(*soft) + nas * sizeof(soft->space[0]));
	if (soft == NULL)
		return NULL;
	for (; soft->nas < nas; soft->nas++) {
		struct space *s = &soft->space[soft->nas];

		s->initial = true;
		s->maps = vhost_iotlb_create(VHOST_IOTLB_UNLIMITED, 0);
		if (s->maps == NULL) {
			vhost_iotlb_soft_destroy(soft);
			return NULL;
		}
	}
	return soft;
}

void
vhost_iotlb_soft_destroy(struct vhost_iotlb_soft *soft)
{
	if (soft == NULL)
		return;
	while (soft->nas > 0) {
		struct space *s = &soft->space[--soft->nas];

		space_clear(s);
		vhost_iotlb_destroy(s->maps);
	}
	free(soft);
}

void
vhost_iotlb_soft_start(struct vhost_iotlb_soft *soft)
{
	soft->runs = true;
}

bool
vhost_iotlb_soft_runs(const struct vhost_iotlb_soft *soft)
{
	return soft->runs;
}

bool
vhost_iotlb_soft_is_initial(const struct vhost_iotlb_soft *soft, unsigned int asid)
{
	return soft->space[asid].initial;
}

/* Memory that is in one piece; len 0: none. */
struct piece {
	char *at;
	size_t len;
};

/* The beginning of what address @p addr shows, @p len bytes at most. */
static struct piece
translate(const struct space *s, uint64_t addr, size_t len, uint32_t perm)
{
	const struct vhost_iotlb_map *map;
	uint64_t room;

	if (s->initial)
		return (struct piece){ (char *)(uintptr_t)addr, len };
	map = vhost_iotlb_lookup(s->maps, addr);
	if (map == NULL || (map->perm & perm) != perm)
		return (struct piece){ NULL, 0 };
	room = map->last - addr;
	return (struct piece){ (char *)(uintptr_t)(map->addr + (addr - map->start)),
		room < len ? room + 1 : len };
}

static int
check(const struct vhost_iotlb_soft *soft, unsigned int group, uint64_t addr, size_t len,
		uint32_t perm)
{
	struct piece piece;

	if (group >= VHOST_IOTLB_SOFT_GROUPS)
		return -EINVAL;
	if (!soft->runs)
		return -ESHUTDOWN;
	if (len > 0 && addr > UINT64_MAX - (len - 1))
		return -EFAULT;
	for (; len > 0; addr += piece.len, len -= piece.len) {
		piece = translate(&soft->space[soft->group_asid[group]], addr, len, perm);
		if (piece.len == 0)
			return -EFAULT;
	}
	return 0;
}

/* One access: reads into @p to if it is given, else writes what is at @p from. */
static int
dma(const struct vhost_iotlb_soft *soft, unsigned int group, uint64_t addr, char *to,
		const char *from, size_t len)
{
	uint32_t perm = to != NULL ? VHOST_ACCESS_RO : VHOST_ACCESS_WO;
	int ret = check(soft, group, addr, len, perm);
	struct piece piece;

	for (; ret == 0 && len > 0; addr += piece.len, len -= piece.len) {
		piece = translate(&soft->space[soft->group_asid[group]], addr, len, perm);
		if (to != NULL) {
			memcpy(to, piece.at, piece.len);
			to += piece.len;
		} else {
			memcpy(piece.at, from, piece.len);
			from += piece.len;
		}
	}
	return ret;
}

int
vhost_iotlb_soft_read(const struct vhost_iotlb_soft *soft, unsigned int group, uint64_t addr,
		void *buf, size_t len)
{
	return dma(soft, group, addr, buf, NULL, len);
}

int
vhost_iotlb_soft_write(const struct vhost_iotlb_soft *soft, unsigned int group, uint64_t addr,
		const void *buf, size_t len)
{
	return dma(soft, group, addr, NULL, buf, len);
}
