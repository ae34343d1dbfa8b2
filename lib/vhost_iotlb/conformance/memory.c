/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "memory.h"

#define PAGE VHOST_IOTLB_CONF_PAGE
#define FILES VHOST_IOTLB_CONF_FILES
#define FILE_PAGES 8u

static const struct letter {
	char letter;
	unsigned int page, pages;                  /* guest address */
	unsigned int file, file_page;
} letters[] = {
	{ 'A', 0, 1, 0, 0 }, { 'a', 0, 1, 5, 0 }, { 'B', 1, 1, 1, 0 }, { 'C', 2, 1, 2, 0 },
	{ 'D', 5, 1, 3, 0 }, { 'E', 8, 2, 4, 4 }, { 'e', 8, 1, 4, 4 }, { 'f', 9, 1, 4, 5 },
};

/* The number at the beginning of a page of a file. */
static uint64_t
number_of(unsigned int file, unsigned int page)
{
	return UINT64_C(0x1000) * (file + 1) + page;
}

static int
file_create(struct vhost_iotlb_conf_memory *m, unsigned int file)
{
	struct stat st;

	m->fd[file] = memfd_create("conformance", MFD_CLOEXEC);
	if (m->fd[file] < 0 || ftruncate(m->fd[file], FILE_PAGES * PAGE) < 0 ||
			fstat(m->fd[file], &st) < 0)
		return -errno;
	m->backing[file] = (struct vhost_iotlb_backing){ .dev = st.st_dev, .ino = st.st_ino };
	m->other_fd[file] = dup(m->fd[file]);
	if (m->other_fd[file] < 0)
		return -errno;
	for (unsigned int i = 0; i < 2; i++) {
		m->at[file][i] = mmap(NULL, FILE_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
			m->fd[file], 0);
		if (m->at[file][i] == MAP_FAILED)
			return -errno;
	}
	for (unsigned int page = 0; page < FILE_PAGES; page++) {
		uint64_t number = number_of(file, page);

		memcpy(m->at[file][0] + page * PAGE, &number, sizeof(number));
	}
	return 0;
}

int
vhost_iotlb_conf_memory_create(struct vhost_iotlb_conf_memory *m)
{
	int ret = 0;

	memset(m, 0, sizeof(*m));
	for (unsigned int file = 0; file < FILES; file++) {
		m->fd[file] = -1;
		m->other_fd[file] = -1;
		m->at[file][0] = MAP_FAILED;
		m->at[file][1] = MAP_FAILED;
	}
	for (unsigned int file = 0; ret == 0 && file < FILES; file++)
		ret = file_create(m, file);
	if (ret < 0)
		vhost_iotlb_conf_memory_destroy(m);
	return ret;
}

void
vhost_iotlb_conf_memory_destroy(struct vhost_iotlb_conf_memory *m)
{
	for (unsigned int file = 0; file < FILES; file++) {
		for (unsigned int i = 0; i < 2; i++)
			if (m->at[file][i] != MAP_FAILED)
				munmap(m->at[file][i], FILE_PAGES * PAGE);
		if (m->other_fd[file] >= 0)
			close(m->other_fd[file]);
		if (m->fd[file] >= 0)
			close(m->fd[file]);
	}
}

bool
vhost_iotlb_conf_map_of(struct vhost_iotlb_conf_memory *m, char letter, struct vhost_iotlb_map *map)
{
	unsigned int one = ++m->told % 2;

	for (size_t i = 0; i < sizeof(letters) / sizeof(letters[0]); i++) {
		const struct letter *l = &letters[i];

		if (l->letter != letter)
			continue;
		*map = (struct vhost_iotlb_map){
			.start = l->page * PAGE,
			.last = (l->page + l->pages) * PAGE - 1,
			.addr = (uintptr_t)m->at[l->file][one] + l->file_page * PAGE,
			.perm = VHOST_ACCESS_RW,
			.backing = m->backing[l->file],
		};
		map->backing.offset = l->file_page * PAGE;
		map->backing.fd = one == 0 ? m->fd[l->file] : m->other_fd[l->file];
		return true;
	}
	return false;
}

char
vhost_iotlb_conf_letter_of(const struct vhost_iotlb_conf_memory *m,
		const struct vhost_iotlb_map *map)
{
	for (size_t i = 0; i < sizeof(letters) / sizeof(letters[0]); i++) {
		const struct letter *l = &letters[i];

		if (map->start == l->page * PAGE && map->last == (l->page + l->pages) * PAGE - 1 &&
				map->backing.ino == m->backing[l->file].ino &&
				map->backing.offset == l->file_page * PAGE)
			return l->letter;
	}
	return '?';
}

uint64_t
vhost_iotlb_conf_number_at(const struct vhost_iotlb_conf_memory *m,
		const struct vhost_iotlb_map *map, uint64_t addr)
{
	uint64_t page = (map->backing.offset + (addr - map->start)) / PAGE;

	for (unsigned int file = 0; file < FILES; file++)
		if (m->backing[file].ino == map->backing.ino)
			return number_of(file, page);
	return 0;
}
