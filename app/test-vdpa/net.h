/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The guest's virtio-net driver: queue pairs in guest memory, and the frames that go through them.
 *
 * Owns: the rings, which buffer belongs to which ring, and the ledger of every frame. What the
 * device returns is verified here and nowhere else.
 *
 * Buffers: each pair has net_rx_bufs() receive buffers, always posted but for a batch that waits to
 * be posted again, and net_tx_slots() send buffers. No more than net_max_outstanding() frames are
 * on their way at a time, less than one receive ring holds: a device that returns them all to one
 * ring need not drop any.
 *
 * Plain packets, for benchmarks of speed: all of the smallest length, each in one descriptor (two
 * where a device wants the header in one of its own), as fast drivers send them.
 *
 * A wire of one way brings nothing back of what is sent: it ends in a sink or at somebody else.
 * The ledger is of no use then. What the device has taken is done, and net_tx_slots() is the only
 * limit. Plain packets may share the wire with those of other senders.
 *
 * Plugged memory: while the guest has some, every second buffer is there instead. A buffer moves
 * when the guest enters it into a ring, so a running guest fills the new memory within one turn of
 * its rings, and leaves it likewise.
 *
 * Threads: one at a time; guest.c hands it over. A stopped device and net_stop() come before any
 * change of memory or rings.
 */
#ifndef TEST_VDPA_NET_H
#define TEST_VDPA_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "account.h"
#include "dirty.h"
#include "frame.h"
#include "layout.h"
#include "mem.h"
#include "ring.h"

#define NET_MIN_QUEUE_SIZE 8u
#define NET_MAX_QUEUE_SIZE 32768u
/* What fills memory that no device may write: even, so that it is no multicast address either. */
#define NET_POISON 0x5a
#define NET_POISON_HEAD 64u		/* bytes of poison in every receive buffer that is posted */

struct net_cfg {
	uint16_t pairs;
	uint16_t queue_size;
	bool packed;
	bool interrupts;	/* look at a receive ring only when the device has called */
	bool plain;
};

struct net_pair {
	struct ring rx, tx;
	uint16_t *rx_repost;	/* buffers to be posted again */
	uint16_t rx_nrepost;
	uint16_t *tx_free;	/* stack of free slots */
	uint16_t tx_nfree;
	uint64_t *tx_seq;	/* by slot */
	uint64_t *gpa;		/* of each receive buffer, then of each send slot */
	uint8_t **ptr;		/* where they are mapped */
	bool *plugged;		/* whether the buffer is in a ring, and in plugged memory */
	uint64_t taken;		/* frames that the device took; atomic */
	struct account account;
	bool tx_off;		/* nothing is to be sent: the device has disabled the queue */
	bool alive;		/* one of its frames arrived since net_reset() */
};

struct net {
	struct net_cfg cfg;
	const struct layout *layout;
	const struct mem *mem;
	struct frame_addr addr;
	struct account_totals totals;
	uint64_t seen;		/* frames that arrived, anybody's; atomic */
	struct net_pair *pair;
	uint16_t active;	/* pairs that may send */
	uint16_t next_tx;	/* pair whose turn it is */
	uint16_t hdr_len;
	bool any_layout;	/* header and frame may share a descriptor */
	bool indirect;
	bool one_way;
	const struct mem_file *plug;	/* memory for every second buffer, or NULL */
	uint32_t in_plug;	/* buffers that rings have in plugged memory; atomic */
	uint64_t plug_rx, plug_tx;	/* frames that went through what is plugged; atomic */
	struct dirty_log *log;	/* where the guest's own writes are marked, or NULL */
	bool starting;		/* the device is not configured yet; atomic */
	bool blackout;		/* since net_stop(), or ever, nothing was seen of a started device */
	char fault[128];	/* why net_rx() or net_tx() returned -EIO */
};

/** What the rings and buffers of a guest need of a layout. Fills rings, ring_bytes and bufs. */
void net_layout(const struct net_cfg *cfg, struct layout_cfg *lc);

uint16_t net_rx_bufs(const struct net_cfg *cfg);
uint16_t net_tx_slots(const struct net_cfg *cfg);
uint32_t net_max_outstanding(const struct net_cfg *cfg);

/** Returns 0, -ENOMEM or the errno of eventfd. @p layout outlives it. */
int net_init(struct net *n, const struct net_cfg *cfg, const struct layout *layout);
void net_fini(struct net *n);

/** Prepare new memory to be used: heads of the receive buffers are poisoned. May take its time. */
void net_prepare_mem(const struct net *n, const struct mem *mem);
/** Receive buffers in @p mem that have lost their poison, between net_stop() and net_reset(). */
uint64_t net_changed_rx_bufs(const struct net *n, const struct mem *mem);
/** From now on the guest lives in @p mem, which holds the same contents or is prepared and new. It
 * has no plugged memory. */
void net_bind(struct net *n, const struct mem *mem);

/** Virtqueues, two a pair: 0 receives, 1 sends, 2 receives, ... */
static inline struct ring *
net_ring(const struct net *n, unsigned int vq)
{
	return vq % 2 ? &n->pair[vq / 2].tx : &n->pair[vq / 2].rx;
}

/**
 * Start over as a driver does after a virtio reset, with these virtio features: fresh rings,
 * receive buffers posted. Returns 0 or the errno of eventfd.
 */
int net_reset(struct net *n, uint64_t features);

/** The device has been configured: all its queues run. Any thread. */
void net_started(struct net *n);

/**
 * From now on mark all that the guest writes in @p log, or with NULL no more. Receive buffers then
 * get no poison: they are for the device alone to write.
 */
void net_track(struct net *n, struct dirty_log *log);

/** Prepare memory to be plugged in, as net_prepare_mem(). */
void net_prepare_plug(const struct net *n, const struct mem_file *plug);
/** Buffers that are entered into rings from now on are in @p plug, or with NULL no more. */
void net_use_plug(struct net *n, const struct mem_file *plug);

/** Kick all rings, once the device may listen. */
void net_kick_all(struct net *n);

/**
 * Receive and verify all there is; the first frame ends a blackout, once net_started(). Returns how
 * many frames were seen, or -EIO (see fault).
 */
int net_rx(struct net *n, uint64_t now_ns);
/**
 * Take back what the device has sent; give up on frames that do not come. In a blackout that is
 * soon, so that the guest goes on sending. Returns 0 or -EIO (see fault).
 */
int net_reap(struct net *n, uint64_t now_ns);
/** Send up to @p max frames. Returns how many. */
unsigned int net_tx(struct net *n, unsigned int max);
/** The wire turns out to be of one way: forget what was sent so far, in the totals as well. */
void net_go_one_way(struct net *n);
/** Frames on their way, or of one way: that the device has not taken. */
uint32_t net_outstanding(const struct net *n);

/**
 * The device has been stopped, beginning at @p stop_ns: take back all it had done, settle the
 * ledger. Returns 0 or -EIO.
 */
int net_stop(struct net *n, uint64_t stop_ns);
/**
 * The device will be stopped and started behind the guest's back, from @p stop_ns until
 * net_started(): a blackout to the ledger, while the guest goes on with its rings.
 */
void net_disturb(struct net *n, uint64_t stop_ns);
/**
 * The guest, stopped with net_stop() and bound to another memory with the same contents, will go
 * on at another device: new eventfds. Frames that no device had taken will still be sent. Returns 0
 * or the errno of eventfd.
 */
int net_move(struct net *n);
/** Settle the ledger without a look at the rings: the device is gone. */
void net_settle(struct net *n, uint64_t stop_ns);

/** First pair none of whose frames arrived since net_reset(), or -1. Any thread. */
int net_silent_pair(const struct net *n);

#endif /* TEST_VDPA_NET_H */
