/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mem.h"

#define KIB 1024u

/* A value of /proc/meminfo, in bytes; 0 if the kernel does not tell it. */
static uint64_t
meminfo(const char *name)
{
	unsigned long long kib = 0;
	size_t len = strlen(name);
	char line[128];
	FILE *f = fopen("/proc/meminfo", "re");

	if (f == NULL)
		return 0;
	while (kib == 0 && fgets(line, sizeof(line), f) != NULL)
		if (strncmp(line, name, len) != 0 || sscanf(line + len, ": %llu kB", &kib) != 1)
			kib = 0;
	fclose(f);
	return kib * KIB;
}

uint64_t
mem_hugepage_bytes(void)
{
	return meminfo("Hugepagesize");
}

/* Whether pages of files may be had. Taking what is not there makes the kernel end programs, and
 * not this one first. */
static bool
available(enum mem_backing backing, uint64_t bytes)
{
	uint64_t most = meminfo("MemAvailable");

	return backing == MEM_HUGETLBFS || most == 0 || bytes <= most;
}

static struct mem *
mem_alloc(const struct layout *layout, enum mem_backing backing)
{
	struct mem *m = calloc(1, sizeof(*m));
	unsigned int i;

	if (m == NULL)
		return NULL;
	m->layout = layout;
	m->backing = backing;
	for (i = 0; i < LAYOUT_MAX_FILES; i++)
		m->file[i].fd = -1;
	return m;
}

void
mem_file_destroy(struct mem_file *f)
{
	if (f->base != NULL)
		munmap(f->base, f->bytes);
	if (f->fd >= 0)
		close(f->fd);
	*f = (struct mem_file){ .fd = -1 };
}

void
mem_destroy(struct mem *m)
{
	unsigned int i;

	if (m == NULL)
		return;
	for (i = 0; i < LAYOUT_MAX_FILES; i++)
		mem_file_destroy(&m->file[i]);
	free(m);
}

static int
file_create(struct mem_file *f, enum mem_backing backing, uint64_t bytes, bool touched)
{
	if (!available(backing, bytes))
		return -ENOMEM;
	f->fd = memfd_create("guest-memory", MFD_CLOEXEC |
			(backing == MEM_HUGETLBFS ? MFD_HUGETLB : 0));
	if (f->fd < 0 || ftruncate(f->fd, bytes) != 0)
		return -errno;
	if (!touched)
		return 0;
	/* Unlike touching the pages, this says so when there is not enough. */
	return fallocate(f->fd, 0, 0, bytes) == 0 ? 0 : -errno;
}

static int
file_map(struct mem_file *f, uint64_t bytes, bool touched)
{
	void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0);

	if (base == MAP_FAILED)
		return -errno;
	/* The pages are there already: only map them. Reading does so for several at once, writably,
	 * and several times as fast as MAP_POPULATE. Before Linux 5.14 they come one by one. */
	if (touched)
		madvise(base, bytes, MADV_POPULATE_READ);
	f->base = base;
	f->bytes = bytes;
	return 0;
}

static void
explain(enum mem_backing backing, uint64_t bytes, int ret, char *err, size_t errlen)
{
	snprintf(err, errlen, "guest memory: cannot get %llu MiB from %s: %s%s",
			(unsigned long long)(bytes >> 20),
			backing == MEM_HUGETLBFS ? "hugetlbfs" : "memfd", strerror(-ret),
			backing == MEM_HUGETLBFS ? " (see HugePages_Free in /proc/meminfo)" :
			ret == -ENOMEM ? " (see MemAvailable in /proc/meminfo)" : "");
}

int
mem_file_create(struct mem_file *f, enum mem_backing backing, uint64_t bytes, char *err,
		size_t errlen)
{
	int ret;

	*f = (struct mem_file){ .fd = -1 };
	ret = file_create(f, backing, bytes, true);
	if (ret == 0)
		ret = file_map(f, bytes, true);
	if (ret != 0) {
		explain(backing, bytes, ret, err, errlen);
		mem_file_destroy(f);
	}
	return ret;
}

int
mem_create(struct mem **m, const struct layout *layout, enum mem_backing backing, bool touched,
		char *err, size_t errlen)
{
	struct mem *new = mem_alloc(layout, backing);
	int ret = new ? 0 : -ENOMEM;
	unsigned int i;

	for (i = 0; ret == 0 && i < layout->nfiles; i++) {
		ret = file_create(&new->file[i], backing, layout->file_bytes[i], touched);
		if (ret == 0)
			ret = file_map(&new->file[i], layout->file_bytes[i], touched);
	}
	if (ret != 0) {
		explain(backing, layout->cfg.bytes, ret, err, errlen);
		mem_destroy(new);
		return ret;
	}
	*m = new;
	return 0;
}

int
mem_map_again(struct mem **m, const struct mem *of, char *err, size_t errlen)
{
	struct mem *new = mem_alloc(of->layout, of->backing);
	int ret = new ? 0 : -ENOMEM;
	unsigned int i;

	for (i = 0; ret == 0 && i < of->layout->nfiles; i++) {
		new->file[i].fd = fcntl(of->file[i].fd, F_DUPFD_CLOEXEC, 0);
		ret = new->file[i].fd < 0 ? -errno : file_map(&new->file[i], of->file[i].bytes, true);
	}
	if (ret != 0) {
		explain(of->backing, of->layout->cfg.bytes, ret, err, errlen);
		mem_destroy(new);
		return ret;
	}
	*m = new;
	return 0;
}

void *
mem_ptr(const struct mem *m, uint64_t gpa)
{
	const struct layout_span *s = m->layout->span;

	while (gpa - s->gpa >= s->bytes)
		s++;
	return m->file[s->file].base + s->file_off + (gpa - s->gpa);
}

void
mem_table(const struct mem *m, const struct layout_slices *slices, struct vu_mem_table *table)
{
	unsigned int i;

	table->n = slices->n;
	for (i = 0; i < slices->n; i++) {
		const struct layout_slice *s = &slices->s[i];

		table->region[i] = (struct vu_region){
			.gpa = s->gpa, .bytes = s->bytes, .mmap_off = s->file_off,
			.uaddr = (uintptr_t)m->file[s->file].base + s->file_off,
		};
		table->fd[i] = m->file[s->file].fd;
	}
}

void
mem_table_add(struct vu_mem_table *table, uint64_t gpa, const struct mem_file *f)
{
	table->region[table->n] = (struct vu_region){
		.gpa = gpa, .bytes = f->bytes, .uaddr = (uintptr_t)f->base,
	};
	table->fd[table->n++] = f->fd;
}
