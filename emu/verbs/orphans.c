/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "orphans.h"

enum {
	PAGE_SHIFT = 12,
	PRESENT_BIT = 63,
	BATCH = 512,
};

/* An entry of pagemap: the page's frame in its low bits. */
#define FRAME_MASK ((UINT64_C(1) << 55) - 1)

/* Up to BATCH entries from @p addr on. Returns 0 or a negative errno. */
static int
entries_read(int fd, uintptr_t addr, size_t n, uint64_t *entries)
{
	const size_t len = n * sizeof(*entries);
	ssize_t got;

	got = pread(fd, entries, len, (off_t)((addr >> PAGE_SHIFT) * sizeof(*entries)));
	if (got < 0)
		return -errno;
	return (size_t)got == len ? 0 : -EFAULT;
}

/* 0: none. */
static uint64_t
frame_of(uint64_t entry)
{
	return entry >> PRESENT_BIT != 0 ? entry & FRAME_MASK : 0;
}

int
emu_orphans_open(void)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), rc;
	volatile uint64_t here = 0;        /* of a page that is there */
	uint64_t entry;

	if (fd < 0)
		return -errno;
	here++;
	rc = entries_read(fd, (uintptr_t)&here, 1, &entry);
	if (rc == 0 && frame_of(entry) == 0)
		rc = -EPERM;
	if (rc != 0) {
		close(fd);
		return rc;
	}
	return fd;
}

int
emu_orphans_note(int fd, const void *addr, size_t n, uint64_t *frames)
{
	uintptr_t at = (uintptr_t)addr;
	size_t i, batch;
	int rc;

	for (; n > 0; n -= batch, frames += batch, at += batch << PAGE_SHIFT) {
		batch = n < BATCH ? n : BATCH;
		rc = entries_read(fd, at, batch, frames);
		if (rc != 0)
			return rc;
		for (i = 0; i < batch; i++) {
			frames[i] = frame_of(frames[i]);
			if (frames[i] == 0)
				return -EFAULT;
		}
	}
	return 0;
}

bool
emu_orphans_same(int fd, const void *addr, size_t n, const uint64_t *frames)
{
	uintptr_t at = (uintptr_t)addr;
	uint64_t now[BATCH];
	size_t i, batch;

	for (; n > 0; n -= batch, frames += batch, at += batch << PAGE_SHIFT) {
		batch = n < BATCH ? n : BATCH;
		if (entries_read(fd, at, batch, now) != 0)
			return false;
		for (i = 0; i < batch; i++) {
			if (frames[i] != 0 && frame_of(now[i]) != frames[i])
				return false;
		}
	}
	return true;
}
