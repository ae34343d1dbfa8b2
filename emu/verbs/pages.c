/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pinning through io_uring's registered buffers, or mlock where that is forbidden.
 */
#include <errno.h>
#include <liburing.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/queue.h>

#include "pages.h"

enum {
	/* The kernel takes a ring's lock while it pins: as many pins run in parallel as there
	 * are rings. */
	RINGS = 8,
	RING_BUFFERS = 1 << 14,    /* the kernel's limit of a table */
};

struct ring {
	struct io_uring uring;
	bool ready;                /* set up, under pages->lock; on the first use */
	atomic_uint pinning;       /* registrations under way */
	unsigned int nfree;
	uint16_t free[RING_BUFFERS];
};

/* A range of the program's own addresses that mlock holds. mlock does not count, so that a
 * munlock of one range unlocks what others share with it. */
struct locked {
	uintptr_t from, to;
	LIST_ENTRY(locked) next;
};

struct emu_pages {
	pthread_mutex_t lock;      /* ring set-up, free indices, the list of locked ranges */
	bool mlock_only;
	unsigned int turn;
	LIST_HEAD(, locked) locked;
	struct ring rings[RINGS];
};

int
emu_pages_create(struct emu_pages **pages)
{
	struct emu_pages *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return -ENOMEM;
	pthread_mutex_init(&p->lock, NULL);
	LIST_INIT(&p->locked);
	*pages = p;
	return 0;
}

void
emu_pages_destroy(struct emu_pages *p)
{
	unsigned int i;

	if (p == NULL)
		return;
	for (i = 0; i < RINGS; i++) {
		if (p->rings[i].ready)
			io_uring_queue_exit(&p->rings[i].uring);
	}
	pthread_mutex_destroy(&p->lock);
	free(p);
}

/* ---- rings ---- */

static int
ring_setup(struct ring *r)
{
	unsigned int i;
	int rc;

	rc = io_uring_queue_init(1, &r->uring, 0);
	if (rc < 0)
		return rc;
	rc = io_uring_register_buffers_sparse(&r->uring, RING_BUFFERS);
	if (rc < 0) {
		io_uring_queue_exit(&r->uring);
		return rc;
	}
	/* The lowest index is taken first. */
	for (i = 0; i < RING_BUFFERS; i++)
		r->free[i] = (uint16_t)(RING_BUFFERS - 1 - i);
	r->nfree = RING_BUFFERS;
	r->ready = true;
	return 0;
}

/* The ring with the fewest pins under way that has room, and an index in it. Returns the ring,
 * -ENOMEM when all are full, or -ENOSYS when there is no io_uring to be had. */
static int
ring_take(struct emu_pages *p, unsigned int *index)
{
	struct ring *r, *best = NULL;
	unsigned int i;
	int rc = -ENOMEM;

	pthread_mutex_lock(&p->lock);
	p->turn++;
	for (i = 0; i < RINGS && !p->mlock_only; i++) {
		r = &p->rings[(p->turn + i) % RINGS];
		if (!r->ready) {
			rc = ring_setup(r);
			if (rc < 0)
				break;
		}
		if (r->nfree > 0 && (best == NULL || r->pinning < best->pinning))
			best = r;
		if (best != NULL && best->pinning == 0)
			break;
	}
	if (best != NULL) {
		best->pinning++;
		*index = best->free[--best->nfree];
		rc = (int)(best - p->rings);
	} else if (rc != -ENOMEM && !p->mlock_only) {
		fprintf(stderr, "mlx5-emu: io_uring is not available (%s): memory is locked with "
			"mlock instead of pinned\n", strerror(-rc));
		p->mlock_only = true;
	}
	if (best == NULL && p->mlock_only)
		rc = -ENOSYS;
	pthread_mutex_unlock(&p->lock);
	return rc;
}

static void
ring_give(struct emu_pages *p, int ring, unsigned int index)
{
	struct ring *r = &p->rings[ring];

	pthread_mutex_lock(&p->lock);
	r->free[r->nfree++] = (uint16_t)index;
	pthread_mutex_unlock(&p->lock);
}

/* Put a buffer into the table (or NULL, 0: take it out). Returns 0 or a negative errno. */
static int
ring_update(struct emu_pages *p, int ring, unsigned int index, void *addr, size_t len)
{
	struct iovec iov = { .iov_base = addr, .iov_len = len };
	__u64 tag = 0;
	int rc;

	rc = io_uring_register_buffers_update_tag(&p->rings[ring].uring, index, &iov, &tag, 1);
	if (rc < 0)
		return rc;
	return rc == 1 ? 0 : -EFAULT;
}

/* ---- mlock ---- */

static int
lock_range(struct emu_pages *p, void *addr, size_t len, bool writable)
{
	struct locked *l = malloc(sizeof(*l));

	if (l == NULL)
		return -ENOMEM;
	/* Faults pages in as pinning does, and tells a missing page from the limit of locked
	 * memory. Linux before 5.14 does not know it (EINVAL). */
	if (madvise(addr, len, writable ? MADV_POPULATE_WRITE : MADV_POPULATE_READ) != 0 &&
			errno == EFAULT) {
		free(l);
		return -EFAULT;
	}
	if (mlock(addr, len) != 0) {
		int rc = -errno;

		free(l);
		return rc == -EAGAIN ? -EFAULT : rc;
	}
	l->from = (uintptr_t)addr;
	l->to = l->from + len;
	pthread_mutex_lock(&p->lock);
	LIST_INSERT_HEAD(&p->locked, l, next);
	pthread_mutex_unlock(&p->lock);
	return 0;
}

/* Unlock, then lock again what other ranges still need of it: its pages stay in memory
 * meanwhile, as good as certainly. */
static void
unlock_range(struct emu_pages *p, void *addr, size_t len)
{
	uintptr_t from = (uintptr_t)addr, to = from + len;
	struct locked *l, *mine = NULL;

	pthread_mutex_lock(&p->lock);
	LIST_FOREACH(l, &p->locked, next) {
		if (l->from == from && l->to == to) {
			mine = l;
			break;
		}
	}
	if (mine != NULL)
		LIST_REMOVE(mine, next);
	munlock(addr, len);
	LIST_FOREACH(l, &p->locked, next) {
		uintptr_t a = l->from > from ? l->from : from, b = l->to < to ? l->to : to;

		if (a < b)
			mlock((void *)a, b - a);
	}
	pthread_mutex_unlock(&p->lock);
	free(mine);
}

/* ---- hold and drop ---- */

int
emu_pages_hold(struct emu_pages *p, void *addr, size_t len, bool writable,
		struct emu_pages_hold *hold)
{
	unsigned int index = 0;
	int ring, rc;

	*hold = (struct emu_pages_hold){ .addr = addr, .len = len, .ring = EMU_PAGES_LOCKED };
	/* A registered buffer is always pinned for writing. */
	if (!writable)
		return lock_range(p, addr, len, writable);
	ring = ring_take(p, &index);
	if (ring == -ENOSYS)
		return lock_range(p, addr, len, writable);
	if (ring < 0)
		return ring;
	rc = ring_update(p, ring, index, addr, len);
	p->rings[ring].pinning--;
	if (rc == 0) {
		hold->ring = ring;
		hold->index = index;
		return 0;
	}
	ring_give(p, ring, index);
	/* Older kernels register no buffers of files but of tmpfs and hugetlbfs. */
	return rc == -EOPNOTSUPP ? lock_range(p, addr, len, writable) : rc;
}

void
emu_pages_drop(struct emu_pages *p, const struct emu_pages_hold *hold)
{
	if (hold->ring == EMU_PAGES_LOCKED) {
		unlock_range(p, hold->addr, hold->len);
		return;
	}
	ring_update(p, hold->ring, hold->index, NULL, 0);
	ring_give(p, hold->ring, hold->index);
}
