/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The process's mappings, by the kernel's query (Linux 6.11) or by reading the list.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/types.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "vma.h"

#define PROC_MAPS "/proc/self/maps"

enum {
	VMA_PAGE = 4096,
	/* Alignment that keeps huge pages possible in a second mapping of large ranges. */
	VMA_HUGE = 2 << 20,
	HUGETLBFS = 0x958458f6,    /* statfs type */
};

/* include/uapi/linux/fs.h, struct procmap_query, which older headers lack. */
struct maps_query {
	__u64 size, query_flags, query_addr;
	__u64 vma_start, vma_end, vma_flags, vma_page_size, vma_offset;
	__u64 inode;
	__u32 dev_major, dev_minor;
	__u32 vma_name_size, build_id_size;
	__u64 vma_name_addr, build_id_addr;
};

#define MAPS_QUERY _IOWR('f', 17, struct maps_query)

enum {
	MAPS_READABLE = 0x1,
	MAPS_WRITABLE = 0x2,
	MAPS_SHARED = 0x8,
};

struct vma_list {
	struct emu_vma *v;
	size_t n, room;
};

static int
list_add(struct vma_list *l, const struct emu_vma *vma)
{
	if (l->n == l->room) {
		size_t room = l->room == 0 ? 4 : 2 * l->room;
		struct emu_vma *v = realloc(l->v, room * sizeof(*v));

		if (v == NULL)
			return -ENOMEM;
		l->v = v;
		l->room = room;
	}
	l->v[l->n++] = *vma;
	return 0;
}

/* Take a mapping that holds the next byte wanted, *at, and go on after it. */
static int
take(struct vma_list *l, struct emu_vma *vma, bool readable, bool write, uint64_t *at, uint64_t to)
{
	if (!readable || (write && !vma->writable))
		return -EFAULT;
	vma->from = *at;
	vma->to = vma->end < to ? vma->end : to;
	*at = vma->to;
	return list_add(l, vma);
}

static int
find_by_query(int fd, struct vma_list *l, uint64_t at, uint64_t to, bool write)
{
	int rc = 0;

	while (at < to && rc == 0) {
		struct maps_query q = { .size = sizeof(q), .query_addr = at };
		struct emu_vma vma;

		if (ioctl(fd, MAPS_QUERY, &q) != 0)
			return errno == ENOENT ? -EFAULT : -errno;
		vma = (struct emu_vma){
			.start = q.vma_start, .end = q.vma_end, .page_size = q.vma_page_size,
			.offset = q.vma_offset, .writable = (q.vma_flags & MAPS_WRITABLE) != 0,
			.shared = (q.vma_flags & MAPS_SHARED) != 0,
		};
		rc = take(l, &vma, (q.vma_flags & MAPS_READABLE) != 0, write, &at, to);
	}
	return rc;
}

static void
map_file(const struct emu_vma *vma, char *path, size_t len)
{
	snprintf(path, len, "/proc/self/map_files/%lx-%lx", (unsigned long)vma->start,
		(unsigned long)vma->end);
}

/* The list does not tell the page size; the file system of shared mappings does. */
static uint64_t
page_size_of_file(const struct emu_vma *vma)
{
	struct statfs fs;
	char path[64];

	map_file(vma, path, sizeof(path));
	if (!vma->shared || statfs(path, &fs) != 0 || (unsigned long)fs.f_type != HUGETLBFS)
		return VMA_PAGE;
	return (uint64_t)fs.f_bsize;
}

static int
find_by_list(int fd, struct vma_list *l, uint64_t at, uint64_t to, bool write)
{
	char *line = NULL;
	size_t room = 0;
	int rc = 0;
	FILE *f;

	f = fdopen(dup(fd), "r");
	if (f == NULL)
		return -errno;
	while (at < to && rc == 0) {
		unsigned long start, end, offset;
		struct emu_vma vma;
		char prot[5];

		if (getline(&line, &room, f) < 0) {
			rc = -EFAULT;
			break;
		}
		if (sscanf(line, "%lx-%lx %4s %lx", &start, &end, prot, &offset) != 4 || end <= at)
			continue;
		if (start > at) {
			rc = -EFAULT;
			break;
		}
		vma = (struct emu_vma){
			.start = start, .end = end, .offset = offset,
			.writable = prot[1] == 'w', .shared = prot[3] == 's',
		};
		vma.page_size = page_size_of_file(&vma);
		rc = take(l, &vma, prot[0] == 'r', write, &at, to);
	}
	free(line);
	fclose(f);
	return rc;
}

int
emu_vma_find(uint64_t from, uint64_t to, bool write, struct emu_vma **list, size_t *n)
{
	struct vma_list l = { .n = 0 };
	int fd, rc;

	/* Not kept open: a child after fork would read its parent's. */
	fd = open(PROC_MAPS, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	rc = find_by_query(fd, &l, from, to, write);
	if (rc == -ENOTTY) {
		l.n = 0;
		rc = find_by_list(fd, &l, from, to, write);
	}
	close(fd);
	if (rc != 0) {
		free(l.v);
		return rc;
	}
	*list = l.v;
	*n = l.n;
	return 0;
}

/* ---- the second mapping ---- */

static uint64_t
round_down(uint64_t v, uint64_t align)
{
	return v & ~(align - 1);
}

static uint64_t
round_up(uint64_t v, uint64_t align)
{
	return round_down(v + align - 1, align);
}

/* Reserve an area whose addresses equal those of [from, to) modulo @p align. */
static int
reserve(uint64_t from, uint64_t to, uint64_t align, struct emu_alias *alias)
{
	size_t len = to - from, room = len + align - VMA_PAGE;
	uintptr_t at, base;
	void *area;

	area = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (area == MAP_FAILED)
		return -ENOMEM;
	at = (uintptr_t)area;
	base = round_down(at, align) + from % align;
	if (base < at)
		base += align;
	if (base > at)
		munmap(area, base - at);
	if (base + len < at + room)
		munmap((void *)(base + len), at + room - (base + len));
	alias->area = (void *)base;
	alias->len = len;
	return 0;
}

/* hugetlbfs refuses mremap's second mapping: map the file again, in whole pages. Returns 0,
 * -ENOMEM, or -EPERM where /proc does not let us. */
static int
map_huge_again(const struct emu_vma *vma, uint64_t shift)
{
	uint64_t from = round_down(vma->from, vma->page_size);
	uint64_t to = round_up(vma->to, vma->page_size);
	char path[64];
	void *p;
	int fd;

	map_file(vma, path, sizeof(path));
	fd = open(path, (vma->writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	if (fd < 0)
		return -EPERM;
	p = mmap((void *)(uintptr_t)(from + shift), to - from,
		PROT_READ | (vma->writable ? PROT_WRITE : 0), MAP_SHARED | MAP_FIXED, fd,
		(off_t)(vma->offset + (from - vma->start)));
	close(fd);
	return p == MAP_FAILED ? -ENOMEM : 0;
}

/* Returns 0, -ENOMEM, -EFAULT when the program unmapped it meanwhile, or -EPERM for memory of
 * which there is no second mapping (of devices; hugetlbfs whose page size could not be learnt). */
static int
map_small_again(const struct emu_vma *vma, uint64_t shift)
{
	void *p = mremap((void *)(uintptr_t)vma->from, 0, vma->to - vma->from,
		MREMAP_MAYMOVE | MREMAP_FIXED, (void *)(uintptr_t)(vma->from + shift));

	if (p != MAP_FAILED)
		return 0;
	return errno == EINVAL ? -EPERM : -errno;
}

/* Map it at its address plus @p shift, too, or else treat it like private memory. */
static int
map_again(struct emu_vma *vma, uint64_t shift)
{
	static atomic_flag said = ATOMIC_FLAG_INIT;
	int rc;

	rc = vma->page_size == VMA_PAGE ? map_small_again(vma, shift) : map_huge_again(vma, shift);
	if (rc != -EPERM)
		return rc;
	if (!atomic_flag_test_and_set(&said))
		fprintf(stderr, "mlx5-emu: hugetlbfs is not mapped a second time without the right "
			"to read /proc/self/map_files: DMA follows addresses, not pages\n");
	vma->shared = false;
	return 0;
}

int
emu_vma_alias(struct emu_vma *list, size_t n, struct emu_alias *alias)
{
	/* Whole huge pages are mapped again at the ends, too; they lie within their mappings. */
	uint64_t from = round_down(list[0].from, list[0].page_size);
	uint64_t to = round_up(list[n - 1].to, list[n - 1].page_size);
	uint64_t align = VMA_PAGE, shift;
	bool any = false;
	int rc = 0;
	size_t i;

	*alias = (struct emu_alias){ .area = NULL };
	for (i = 0; i < n; i++) {
		any |= list[i].shared;
		if (list[i].shared && list[i].page_size > align)
			align = list[i].page_size;
	}
	if (!any)
		return 0;
	if (align < VMA_HUGE && to - from >= VMA_HUGE)
		align = VMA_HUGE;
	rc = reserve(from, to, align, alias);
	if (rc != 0)
		return rc;
	shift = (uintptr_t)alias->area - from;
	alias->base = (uint8_t *)alias->area + (list[0].from - from);
	for (i = 0; i < n && rc == 0; i++) {
		if (list[i].shared)
			rc = map_again(&list[i], shift);
	}
	if (rc != 0)
		emu_vma_unalias(alias);
	return rc;
}

void
emu_vma_unalias(struct emu_alias *alias)
{
	if (alias->area != NULL)
		munmap(alias->area, alias->len);
	alias->area = NULL;
}
