/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "age.h"

/* Throw out what does not hold, and move the rest to the beginning of the memory. */
static void
compact(struct vhost_iotlb_ages *ages, vhost_iotlb_age_holds holds, const void *arg)
{
	size_t n = 0;

	for (size_t i = ages->head; i < ages->tail; i++)
		if (holds(arg, &ages->note[i]))
			ages->note[n++] = ages->note[i];
	ages->head = 0;
	ages->tail = n;
}

int
vhost_iotlb_ages_reserve(struct vhost_iotlb_ages *ages, size_t n, size_t most,
		vhost_iotlb_age_holds holds, const void *arg)
{
	struct vhost_iotlb_age *note;
	size_t room;

	if (ages->tail + n <= ages->room)
		return 0;
	/* Half of the memory is free after it: it costs each note as much as adding it did. */
	if (!ages->txn && ages->room / 2 >= n && ages->room / 2 - n >= most) {
		compact(ages, holds, arg);
		return 0;
	}
	room = 2 * (ages->room + n);
	note = calloc(room, sizeof(*note));
	if (note == NULL)
		return -ENOMEM;
	if (ages->tail > 0)
		memcpy(note, ages->note, ages->tail * sizeof(*note));
	free(ages->note);
	ages->note = note;
	ages->room = room;
	return 0;
}

void
vhost_iotlb_ages_push(struct vhost_iotlb_ages *ages, uint64_t age, uint64_t start)
{
	ages->note[ages->tail++] = (struct vhost_iotlb_age){ age, start };
}

bool
vhost_iotlb_ages_pop(struct vhost_iotlb_ages *ages, vhost_iotlb_age_holds holds, const void *arg,
		struct vhost_iotlb_age *oldest)
{
	while (ages->head < ages->tail) {
		*oldest = ages->note[ages->head++];
		if (holds(arg, oldest))
			return true;
	}
	return false;
}

int
vhost_iotlb_ages_copy(struct vhost_iotlb_ages *copy, const struct vhost_iotlb_ages *ages)
{
	size_t n = ages->tail - ages->head;

	if (n == 0)
		return 0;
	copy->note = calloc(n, sizeof(*copy->note));
	if (copy->note == NULL)
		return -ENOMEM;
	memcpy(copy->note, &ages->note[ages->head], n * sizeof(*copy->note));
	copy->tail = n;
	copy->room = n;
	return 0;
}

void
vhost_iotlb_ages_begin(struct vhost_iotlb_ages *ages)
{
	ages->txn = true;
	ages->txn_head = ages->head;
	ages->txn_tail = ages->tail;
}

void
vhost_iotlb_ages_commit(struct vhost_iotlb_ages *ages)
{
	ages->txn = false;
}

void
vhost_iotlb_ages_abort(struct vhost_iotlb_ages *ages)
{
	ages->txn = false;
	ages->head = ages->txn_head;
	ages->tail = ages->txn_tail;
}

void
vhost_iotlb_ages_fini(struct vhost_iotlb_ages *ages)
{
	free(ages->note);
}
