/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "ring.h"

uint64_t
ring_bytes(const struct ring_ops *ops, uint16_t size)
{
	uint64_t desc, avail, used;

	return ops->areas(size, &desc, &avail, &used);
}

static void
close_fds(struct ring *r)
{
	if (r->kick_fd >= 0)
		close(r->kick_fd);
	if (r->call_fd >= 0)
		close(r->call_fd);
	r->kick_fd = r->call_fd = -1;
}

int
ring_renew_fds(struct ring *r)
{
	close_fds(r);
	r->kick_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	r->call_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	return r->kick_fd < 0 || r->call_fd < 0 ? -errno : 0;
}

int
ring_init(struct ring *r, const struct ring_ops *ops, uint16_t index, uint16_t size)
{
	int ret;

	*r = (struct ring){ .ops = ops, .index = index, .size = size,
		.kick_fd = -1, .call_fd = -1 };
	r->bytes = ops->areas(size, &r->desc_off, &r->avail_off, &r->used_off);
	r->chain = calloc(size, sizeof(*r->chain));
	r->owner = calloc(size, sizeof(*r->owner));
	r->taken = calloc(size, sizeof(*r->taken));
	ret = r->chain == NULL || r->owner == NULL || r->taken == NULL ? -ENOMEM : ring_renew_fds(r);
	if (ret != 0)
		ring_fini(r);
	return ret;
}

void
ring_fini(struct ring *r)
{
	close_fds(r);
	free(r->taken);
	free(r->owner);
	free(r->chain);
	r->chain = r->owner = r->taken = NULL;
}

int
ring_reset(struct ring *r)
{
	memset(r->mem, 0, r->bytes);
	memset(r->taken, 0, r->size * sizeof(*r->taken));
	r->next_avail = r->next_used = r->published = 0;
	r->held = false;
	r->nfree = r->size;
	r->ops->reset(r);
	return ring_renew_fds(r);
}
