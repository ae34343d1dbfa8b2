/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>

#include "account.h"

int
account_init(struct account *a, struct account_totals *totals, uint32_t queue_size)
{
	*a = (struct account){ .totals = totals, .blackout = true, .window = ACCOUNT_WINDOW };
	if (a->window < ACCOUNT_WINDOW_PER_DESC * queue_size)
		a->window = ACCOUNT_WINDOW_PER_DESC * queue_size;
	a->win = calloc(a->window, sizeof(*a->win));
	return a->win ? 0 : -ENOMEM;
}

void
account_fini(struct account *a)
{
	free(a->win);
	a->win = NULL;
}

static struct account_entry *
entry(const struct account *a, uint64_t seq)
{
	return &a->win[seq % a->window];
}

/* Whether a frame was sent, and as far as can be told taken, before the device was back. */
static bool
before_back(const struct account *a, const struct account_entry *e)
{
	if (a->blackout)
		return true;
	return e->seq < a->back_seq && !(e->taken && e->since_ns > a->back_ns + ACCOUNT_TRANSIT_NS);
}

/* Give up on a frame: it is one of the blackout's, or a loss. */
static void
give_up(struct account *a, struct account_entry *e, bool blackout)
{
	e->state = blackout ? ACCOUNT_BLACKOUT : ACCOUNT_LOST;
	account_add(blackout ? &a->totals->in_blackout : &a->totals->lost, 1);
	a->outstanding--;
}

static bool
overtaken(const struct account *a, uint64_t seq)
{
	return a->flow_top[frame_flow(seq)] > seq;
}

void
account_sent(struct account *a)
{
	struct account_entry *e = entry(a, a->next_seq);

	/* A whole window later is late by any measure. */
	if (e->state == ACCOUNT_SENT)
		give_up(a, e, before_back(a, e));
	*e = (struct account_entry){ .seq = a->next_seq, .state = ACCOUNT_SENT };
	a->next_seq++;
	a->outstanding++;
	account_add(&a->totals->sent, 1);
}

void
account_taken(struct account *a, uint64_t seq, uint64_t now_ns)
{
	struct account_entry *e = entry(a, seq);

	if (e->seq != seq)
		return;
	e->taken = true;
	e->since_ns = now_ns;
}

bool
account_arrived(struct account *a, uint64_t seq, bool whole)
{
	struct account_totals *t = a->totals;
	struct account_entry *e = entry(a, seq);
	uint64_t *top = &a->flow_top[frame_flow(seq)];

	if (!whole || seq >= a->next_seq)
		account_add(&t->corrupt, 1);
	if (seq >= a->next_seq)
		return false;
	if (e->seq != seq || e->state == ACCOUNT_ARRIVED) {
		account_add(&t->duplicated, 1);
		return true;
	}
	if (e->state == ACCOUNT_SENT)
		a->outstanding--;
	else
		account_add(e->state == ACCOUNT_LOST ? &t->lost : &t->in_blackout, -1);
	e->state = ACCOUNT_ARRIVED;
	if (whole)
		account_add(&t->received, 1);
	if (*top <= seq)
		*top = seq + 1;
	return true;
}

void
account_expire(struct account *a, uint64_t now_ns, uint64_t limit_ns)
{
	for (; a->oldest < a->next_seq; a->oldest++) {
		struct account_entry *e = entry(a, a->oldest);

		if (e->seq != a->oldest || e->state != ACCOUNT_SENT)
			continue;
		if (!overtaken(a, e->seq) && !(e->taken && now_ns - e->since_ns > limit_ns))
			return;
		give_up(a, e, before_back(a, e));
	}
}

/* Whether a frame may still have been on its way at a time. */
static bool
under_way(const struct account *a, const struct account_entry *e, uint64_t ns)
{
	return !overtaken(a, e->seq) && !(e->taken && e->since_ns + ACCOUNT_TRANSIT_NS < ns);
}

void
account_stopped(struct account *a, uint64_t stop_ns)
{
	for (; a->oldest < a->next_seq; a->oldest++) {
		struct account_entry *e = entry(a, a->oldest);

		if (e->seq == a->oldest && e->state == ACCOUNT_SENT)
			give_up(a, e, before_back(a, e) || under_way(a, e, stop_ns));
	}
	a->blackout = true;
}

void
account_forget(struct account *a)
{
	for (; a->oldest < a->next_seq; a->oldest++)
		entry(a, a->oldest)->state = ACCOUNT_NONE;
	a->outstanding = 0;
}

void
account_back(struct account *a, uint64_t now_ns)
{
	a->blackout = false;
	a->back_seq = a->next_seq;
	a->back_ns = now_ns;
}

void
account_read(const struct account_totals *from, struct account_totals *to)
{
	to->sent = __atomic_load_n(&from->sent, __ATOMIC_RELAXED);
	to->received = __atomic_load_n(&from->received, __ATOMIC_RELAXED);
	to->corrupt = __atomic_load_n(&from->corrupt, __ATOMIC_RELAXED);
	to->lost = __atomic_load_n(&from->lost, __ATOMIC_RELAXED);
	to->duplicated = __atomic_load_n(&from->duplicated, __ATOMIC_RELAXED);
	to->in_blackout = __atomic_load_n(&from->in_blackout, __ATOMIC_RELAXED);
	to->foreign = __atomic_load_n(&from->foreign, __ATOMIC_RELAXED);
}
