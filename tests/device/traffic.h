/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A receive and a transmit queue with the way between them.
 *
 * Owns: frames with checked content, flow rules, and the smallest set of objects that lets a frame
 * out of queue 1 arrive in queue 0: RQT, TIR and a rule that catches everything. The device's wire
 * must bring back what it sends: the emulated device's loop wire does, a card needs a loop cable.
 */
#ifndef TEST_TRAFFIC_H
#define TEST_TRAFFIC_H

#include "queue.h"

/* ---- frames ---- */

enum {
	NET_HDR = 12,              /* struct virtio_net_hdr_v1 */
	FRAME_MIN = 60,
	FRAME_MAX = 1514,
	BUF_BYTES = 2048,
	ETH_HDR = 14,
};

/** An Ethernet frame whose content depends on @p seq and @p len in every byte. */
void frame_make(uint8_t *frame, uint32_t len, uint32_t seq);
/** Is it that very frame? */
bool frame_is(const uint8_t *frame, uint32_t len, uint32_t seq);
/** A UDP datagram between IPv4 addresses 10.0.0.<n>, content by @p seq. */
void frame_make_udp4(uint8_t *frame, uint32_t len, uint32_t seq, uint8_t src, uint8_t dst,
		uint16_t sport, uint16_t dport);

/* ---- flow rules ---- */

struct flow {
	struct mlx5dv_flow_matcher *matcher;
	struct ibv_flow *flow;
};

struct match {
	uint8_t ip_version;        /* 0: any */
	uint8_t ip_protocol;       /* 0: any */
	uint64_t dmac, dmac_mask;  /* 48 bits; mask 0: any */
};

/** A rule in the receive table of this priority (lower comes first) that sends to a TIR.
 * Returns 0 or the errno. */
int flow_create(struct flow *f, struct dev *d, uint16_t priority, const struct match *match,
		struct obj *tir);
void flow_destroy(struct flow *f);

/* ---- a pair ---- */

enum {
	PAIR_MEM = 1 << 20,
	PAIR_SIZE = 64,            /* entries of each ring */
	PAIR_IOVA = 0x40000000,
};

/* Where things are in guest memory. */
enum {
	PAIR_RX_RING = 0x0000,
	PAIR_TX_RING = 0x4000,
	PAIR_TABLES = 0x8000,      /* indirect descriptor tables */
	PAIR_RX_BUFS = 0x10000,
	PAIR_TX_BUFS = 0x50000,
};

struct pair {
	struct dev *d;
	struct mem mem;
	struct queue rx, tx;
	struct obj rqt, tir;
	struct flow flow;
	uint32_t sent;             /* sequence number of the next frame */
};

/** Memory, both queues in INIT, and the steering. Events go to the given QPs (0: none). */
void pair_create(struct pair *p, struct dev *d, uint32_t rx_event_qpn, uint32_t tx_event_qpn);
/** The same in steps: rings use @p mkey instead of the memory's own key. */
void pair_create_mem(struct pair *p, struct dev *d);
void pair_create_queues(struct pair *p, uint32_t mkey, uint32_t rx_event_qpn,
		uint32_t tx_event_qpn);
void pair_create_steering(struct pair *p);
/** Both queues to RDY. */
void pair_start(struct pair *p);
void pair_destroy(struct pair *p);
void pair_discard(struct pair *p);

/* Buffer number @p i of receive and transmit. */
uint8_t *pair_rx_buf(const struct pair *p, unsigned int i);
uint8_t *pair_tx_buf(const struct pair *p, unsigned int i);
struct buf pair_rx(const struct pair *p, unsigned int i);
struct buf pair_tx(const struct pair *p, unsigned int i, uint32_t frame_len);

/** Post @p n receive buffers, numbers 0 up. */
void pair_post_rx(struct pair *p, unsigned int n);
/** Make the next frame of @p len in transmit buffer seq % PAIR_SIZE and post it; no doorbell.
 * Returns its sequence number. */
uint32_t pair_post_tx(struct pair *p, uint32_t len);
/** Wait for the next received frame, check that it is @p seq of @p len, in one buffer. */
#define pair_expect(p, seq, len) check_expect((p), (seq), (len), __FILE__, __LINE__)
void check_expect(struct pair *p, uint32_t seq, uint32_t len, const char *file, int line);
/** Send @p n frames of lengths from FRAME_MIN up, one at a time, and expect each. */
void pair_exchange(struct pair *p, unsigned int n);

/* DMA faults that the device counted, -1 where it can't be asked (a card). */
int64_t dma_faults(void);

#endif /* TEST_TRAFFIC_H */
