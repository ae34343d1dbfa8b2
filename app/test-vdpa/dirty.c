/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dirty.h"
#include "mem.h"

#define WORD_PAGES 64u		/* a word of the log; spans begin and end at its multiples */

_Static_assert(LAYOUT_PAGE % (WORD_PAGES * DIRTY_PAGE) == 0, "spans are made of whole words");

static uint64_t
log_bytes(const struct layout *l)
{
	uint64_t end = 0, bytes;
	unsigned int i;

	for (i = 0; i < l->nspans; i++)
		if (l->span[i].gpa + l->span[i].bytes > end)
			end = l->span[i].gpa + l->span[i].bytes;
	bytes = end / DIRTY_PAGE / 8;
	return (bytes + DIRTY_PAGE - 1) / DIRTY_PAGE * DIRTY_PAGE;
}

int
dirty_open(struct dirty_log *log, const struct layout *layout)
{
	int ret;

	log->bytes = log_bytes(layout);
	log->fd = memfd_create("dirty-log", MFD_CLOEXEC);
	if (log->fd < 0)
		return -errno;
	if (ftruncate(log->fd, log->bytes) != 0) {
		ret = -errno;
		goto err_fd;
	}
	log->words = mmap(NULL, log->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, log->fd, 0);
	if (log->words == MAP_FAILED) {
		ret = -errno;
		goto err_fd;
	}
	return 0;

err_fd:
	close(log->fd);
	log->words = NULL;
	return ret;
}

void
dirty_close(struct dirty_log *log)
{
	if (log->words == NULL)
		return;
	munmap(log->words, log->bytes);
	close(log->fd);
	log->words = NULL;
}

void
dirty_mark(struct dirty_log *log, uint64_t gpa, uint64_t len)
{
	uint64_t page = gpa / DIRTY_PAGE, last = (gpa + len - 1) / DIRTY_PAGE;

	for (; page <= last; page++)
		__atomic_fetch_or(&log->words[page / WORD_PAGES],
				htole64(1ull << (page % WORD_PAGES)), __ATOMIC_RELEASE);
}

/* Take the marks of a word out of all logs. */
static uint64_t
take_word(struct dirty_log *const log[], unsigned int n, uint64_t word)
{
	uint64_t bits = 0;
	unsigned int i;

	for (i = 0; i < n; i++)
		if (__atomic_load_n(&log[i]->words[word], __ATOMIC_RELAXED) != 0)
			bits |= le64toh(__atomic_exchange_n(&log[i]->words[word], 0,
						__ATOMIC_ACQUIRE));
	return bits;
}

uint64_t
dirty_copy(struct dirty_log *const log[], unsigned int n, const struct mem *from,
		const struct mem *to)
{
	const struct layout *l = from->layout;
	uint64_t copied = 0, gpa;
	unsigned int i;

	for (i = 0; i < l->nspans; i++) {
		const struct layout_span *s = &l->span[i];

		for (gpa = s->gpa; gpa < s->gpa + s->bytes; gpa += WORD_PAGES * DIRTY_PAGE) {
			uint64_t bits = take_word(log, n, gpa / DIRTY_PAGE / WORD_PAGES);

			for (; bits != 0; bits &= bits - 1, copied++) {
				uint64_t page = gpa + __builtin_ctzll(bits) * (uint64_t)DIRTY_PAGE;

				memcpy(mem_ptr(to, page), mem_ptr(from, page), DIRTY_PAGE);
			}
		}
	}
	return copied;
}

void
dirty_copy_all(const struct mem *from, const struct mem *to)
{
	unsigned int i;

	for (i = 0; i < from->layout->nfiles; i++)
		memcpy(to->file[i].base, from->file[i].base, from->file[i].bytes);
}

uint64_t
dirty_compare(const struct mem *a, const struct mem *b)
{
	uint64_t different = 0, at;
	unsigned int i;

	for (i = 0; i < a->layout->nfiles; i++)
		for (at = 0; at < a->file[i].bytes; at += DIRTY_PAGE)
			different += memcmp(a->file[i].base + at, b->file[i].base + at,
					DIRTY_PAGE) != 0;
	return different;
}
