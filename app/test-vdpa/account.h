/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where every frame of a sending queue ended: the ledger behind "sent, received, corrupt, lost,
 * duplicated".
 *
 * States of a frame and their one-way changes (but for the two arrivals after being given up):
 *
 *   sent ------------------------------> received     it arrived, whole or corrupt
 *     |--- given up, blackout ---------> in_blackout  a device that is down or coming up had it
 *     |--- given up, else -------------> lost
 *   in_blackout, lost --- it arrives --> received     the network had it after all
 *   received --- it arrives -----------> duplicated   (a count, the frame stays received)
 *
 * Given up is a frame that was overtaken (a later frame of the same flow has arrived, and flows
 * keep their order), that was taken a while ago, or that had not arrived when the device was
 * stopped.
 *
 * The blackout begins with a stop (account_stopped()) and ends with the first frame that the guest
 * sees of a device that has started (account_back()): before, some of its queues may receive while
 * others do not yet. A frame that never arrives is in the blackout if it was
 *   - on its way at the stop: not overtaken, and not taken ACCOUNT_TRANSIT_NS before;
 *   - sent before the end, unless the device took it ACCOUNT_TRANSIT_NS after that.
 * The tolerance is needed since the guest learns only some time later what the device took.
 *
 * At all times sent = received + corrupt_known + in_blackout + lost + outstanding, summed over the
 * queues of a run.
 *
 * Owned by one thread; the totals alone may be read by others (relaxed atomics).
 */
#ifndef TEST_VDPA_ACCOUNT_H
#define TEST_VDPA_ACCOUNT_H

#include <stdbool.h>
#include <stdint.h>

#include "frame.h"

/* Frames whose fate is remembered, per queue, at least, and for each descriptor of a ring: far above
 * what may be outstanding at once, which is a ring's worth each way and what the network holds. */
#define ACCOUNT_WINDOW 4096
#define ACCOUNT_WINDOW_PER_DESC 4
/*
 * Longest time between the taking of a frame and what the guest sees of it, its buffer or the
 * frame: far above that of any device, and room for a guest or device that is held up meanwhile.
 */
#define ACCOUNT_TRANSIT_NS 20000000ull

struct account_totals {
	uint64_t sent;
	uint64_t received;	/* verified, each frame once */
	uint64_t corrupt;	/* changed frames, known or not, and changes to withdrawn memory */
	uint64_t lost;
	uint64_t duplicated;
	uint64_t in_blackout;
	uint64_t foreign;
};

enum account_state { ACCOUNT_NONE, ACCOUNT_SENT, ACCOUNT_ARRIVED, ACCOUNT_BLACKOUT, ACCOUNT_LOST };

struct account_entry {
	uint64_t seq;
	uint64_t since_ns;	/* when the guest saw that the device had taken it */
	uint8_t state;		/* enum account_state */
	bool taken;		/* the device gave the buffer back: it has the frame */
};

struct account {
	struct account_totals *totals;	/* shared by the queues of a run */
	struct account_entry *win;	/* seq % window */
	uint32_t window;
	uint64_t next_seq;
	uint64_t oldest;		/* every frame below it has met its fate */
	uint64_t flow_top[FRAME_FLOWS];	/* highest seq that arrived, + 1 */
	uint32_t outstanding;
	bool blackout;			/* nothing was seen since the stop, or ever */
	uint64_t back_seq, back_ns;	/* of the last blackout's end: what was sent before, when */
};

/** In the blackout that ends with the first frame of all, for rings of a size. Returns 0 or -ENOMEM. */
int account_init(struct account *a, struct account_totals *totals, uint32_t queue_size);
void account_fini(struct account *a);

/** Number of the next frame, which account_sent() will enter. */
static inline uint64_t
account_next(const struct account *a)
{
	return a->next_seq;
}

/** Enter the next frame as sent. */
void account_sent(struct account *a);
/** The device has taken the frame from the guest. */
void account_taken(struct account *a, uint64_t seq, uint64_t now_ns);

/**
 * A frame that bears @p seq arrived; @p whole says whether all its bytes were right.
 * Returns false if no such frame was ever sent, which counts as corrupt.
 */
bool account_arrived(struct account *a, uint64_t seq, bool whole);

/** Give up on frames that were overtaken, or taken longer than @p limit_ns ago. */
void account_expire(struct account *a, uint64_t now_ns, uint64_t limit_ns);
/**
 * The device has been stopped, beginning at @p stop_ns: settle the fate of all outstanding frames.
 * A blackout has begun.
 */
void account_stopped(struct account *a, uint64_t stop_ns);
/** Frames under way come back no more, and that is no loss: drop them from the ledger. */
void account_forget(struct account *a);
/** The blackout is over: the guest has seen a frame. */
void account_back(struct account *a, uint64_t now_ns);

/** Add to a total that other threads read. */
static inline void
account_add(uint64_t *total, int64_t n)
{
	__atomic_store_n(total, *total + n, __ATOMIC_RELAXED);
}

/** Copy the totals from any thread. */
void account_read(const struct account_totals *from, struct account_totals *to);

#endif /* TEST_VDPA_ACCOUNT_H */
