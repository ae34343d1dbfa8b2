/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>

#include "engine.h"
#include "pair.h"

enum {
	ENDS = 2,
	CACHE_LINE = 64,
	/* Some 2,700 frames of 1,500 bytes, which is what a device sends in a few milliseconds. */
	LANE_BYTES = 4 << 20,
	RECORD_ALIGN = 8,
};

/* In front of each frame. */
struct record {
	uint32_t len;              /* SKIP: there is nothing up to the end of the lane */
};
#define SKIP UINT32_MAX

/* One way: records that do not wrap around. head and tail count bytes from the beginning on. */
struct lane {
	_Alignas(CACHE_LINE) atomic_uint_fast64_t head; /* the sender's */
	atomic_uint_fast64_t drops;                     /* for want of room, not yet the receiver's */
	_Alignas(CACHE_LINE) atomic_uint_fast64_t tail; /* the receiver's */
	_Alignas(CACHE_LINE) uint8_t bytes[LANE_BYTES];
};

struct emu_cable {
	pthread_mutex_t lock;
	struct emu_dev *end[ENDS]; /* NULL: gone */
	struct lane *to[ENDS];     /* frames on their way to that end */
};

/* What a device's own thread finds stays: it has ended before the device unplugs. */
static struct emu_cable *
cable_of(const struct emu_dev *dev)
{
	return atomic_load_explicit(&dev->cable, memory_order_acquire);
}

/* ---- plugging ---- */

static void
cable_free(struct emu_cable *cable)
{
	free(cable->to[0]);
	free(cable->to[1]);
	pthread_mutex_destroy(&cable->lock);
	free(cable);
}

int
emu_pair_plug(struct emu_dev *a, struct emu_dev *b)
{
	struct emu_cable *cable = calloc(1, sizeof(*cable));
	struct emu_dev *const dev[ENDS] = { a, b };
	unsigned int i;

	if (cable == NULL)
		return -ENOMEM;
	pthread_mutex_init(&cable->lock, NULL);
	for (i = 0; i < ENDS; i++) {
		cable->to[i] = aligned_alloc(CACHE_LINE, sizeof(*cable->to[i]));
		if (cable->to[i] == NULL) {
			cable_free(cable);
			return -ENOMEM;
		}
		/* The frames' bytes are written before they are read. */
		atomic_init(&cable->to[i]->head, 0);
		atomic_init(&cable->to[i]->tail, 0);
		atomic_init(&cable->to[i]->drops, 0);
	}
	for (i = 0; i < ENDS; i++) {
		cable->end[i] = dev[i];
		dev[i]->cable_end = i;
	}
	for (i = 0; i < ENDS; i++)
		atomic_store(&dev[i]->cable, cable);
	return 0;
}

void
emu_pair_unplug(struct emu_dev *dev)
{
	struct emu_cable *cable = cable_of(dev);
	unsigned int me = dev->cable_end;
	bool last;

	if (cable == NULL)
		return;
	pthread_mutex_lock(&cable->lock);
	cable->end[me] = NULL;
	last = cable->end[!me] == NULL;
	pthread_mutex_unlock(&cable->lock);
	emu_dev_lock(dev);
	dev->rx_drops += atomic_exchange(&cable->to[me]->drops, 0);
	emu_dev_unlock(dev);
	atomic_store(&dev->cable, NULL);
	/* The other end has no thread any more that could look at it. */
	if (last)
		cable_free(cable);
}

/* ---- sending ---- */

static void
wake(struct emu_cable *cable, unsigned int end)
{
	pthread_mutex_lock(&cable->lock);
	if (cable->end[end] != NULL)
		emu_engine_wake(cable->end[end]);
	pthread_mutex_unlock(&cable->lock);
}

/* Append a record. False when there is no room. */
static bool
lane_put(struct lane *lane, const void *frame, uint32_t len)
{
	uint64_t head = atomic_load_explicit(&lane->head, memory_order_relaxed);
	uint64_t tail = atomic_load_explicit(&lane->tail, memory_order_acquire);
	uint32_t need = (uint32_t)(sizeof(struct record) + len + RECORD_ALIGN - 1) /
		RECORD_ALIGN * RECORD_ALIGN;
	uint32_t at = head % LANE_BYTES, skip = LANE_BYTES - at < need ? LANE_BYTES - at : 0;
	struct record *rec = (struct record *)(void *)(lane->bytes + at);

	if (head - tail + skip + need > LANE_BYTES)
		return false;
	if (skip > 0) {
		rec->len = SKIP;
		rec = (struct record *)(void *)lane->bytes;
	}
	rec->len = len;
	memcpy(rec + 1, frame, len);
	atomic_store(&lane->head, head + skip + need);
	return true;
}

void
emu_pair_tx(struct emu_dev *dev, const void *frame, uint32_t len)
{
	struct emu_cable *cable = cable_of(dev);
	unsigned int peer = !dev->cable_end;
	struct lane *lane;
	uint64_t head;

	if (cable == NULL)
		return;
	lane = cable->to[peer];
	head = atomic_load_explicit(&lane->head, memory_order_relaxed);
	if (!lane_put(lane, frame, len))
		atomic_fetch_add_explicit(&lane->drops, 1, memory_order_relaxed);
	/* The receiver looks at head after it has moved tail, and the sender at tail after it has
	 * moved head, in one order that both see: whoever finds the lane empty is woken. */
	else if (atomic_load(&lane->tail) == head)
		wake(cable, peer);
}

/* ---- receiving ---- */

bool
emu_pair_pending(const struct emu_dev *dev)
{
	struct emu_cable *cable = cable_of(dev);
	const struct lane *lane;

	if (cable == NULL)
		return false;
	lane = cable->to[dev->cable_end];
	return atomic_load(&lane->head) !=
		atomic_load_explicit(&lane->tail, memory_order_relaxed);
}

unsigned int
emu_pair_rx(struct emu_dev *dev, unsigned int budget)
{
	struct emu_cable *cable = cable_of(dev);
	const struct record *rec;
	struct lane *lane;
	uint64_t head, tail;
	unsigned int n = 0;

	if (cable == NULL)
		return 0;
	lane = cable->to[dev->cable_end];
	dev->rx_drops += atomic_exchange_explicit(&lane->drops, 0, memory_order_relaxed);
	head = atomic_load_explicit(&lane->head, memory_order_acquire);
	tail = atomic_load_explicit(&lane->tail, memory_order_relaxed);
	while (tail != head && n < budget) {
		rec = (const struct record *)(const void *)(lane->bytes + tail % LANE_BYTES);
		if (rec->len == SKIP) {
			tail += LANE_BYTES - tail % LANE_BYTES;
			continue;
		}
		emu_wire_rx(dev, rec + 1, rec->len);
		n++;
		tail += (sizeof(*rec) + rec->len + RECORD_ALIGN - 1) / RECORD_ALIGN * RECORD_ALIGN;
	}
	atomic_store(&lane->tail, tail);
	return n;
}
