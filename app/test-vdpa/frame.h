/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Test frames: Ethernet, IPv4, UDP and a payload, every byte of which follows from the sending
 * queue and a sequence number. A receiver therefore verifies a frame by building it again.
 *
 * Frames of one queue belong to FRAME_FLOWS flows that differ in their UDP source port, so that
 * receive side scaling spreads them; frames of one flow arrive in order on any sane network.
 * No state, no locks, any thread.
 */
#ifndef TEST_VDPA_FRAME_H
#define TEST_VDPA_FRAME_H

#include <stdbool.h>
#include <stdint.h>

#define FRAME_MIN 64
#define FRAME_MAX 1514
#define FRAME_FLOWS 16

struct frame_addr {
	uint8_t src[6];
	uint8_t dst[6];
	/* All frames have the smallest length instead of one each. */
	bool small;
	/* The wire has other senders: a frame from another source address is foreign. */
	bool shared;
};

struct frame_id {
	uint64_t seq;
	uint16_t queue;
};

enum frame_verdict {
	FRAME_GOOD,
	FRAME_CORRUPT,		/* unrecognisable: nobody knows which frame it was */
	FRAME_CORRUPT_KNOWN,	/* the stamp is whole and names the frame, the rest is not */
	FRAME_FOREIGN,		/* other traffic: a multicast that we never send, or see shared */
};

/** Flow of a frame, 0 to FRAME_FLOWS - 1. */
unsigned int frame_flow(uint64_t seq);

/** Length of a frame that is not small, FRAME_MIN to FRAME_MAX. */
uint16_t frame_len(const struct frame_id *id);

/** Build a frame at @p buf (room for FRAME_MAX). Returns its length. */
uint16_t frame_build(uint8_t *buf, const struct frame_id *id, const struct frame_addr *addr);

/** Verify every byte of a received frame. @p id is set for FRAME_GOOD and FRAME_CORRUPT_KNOWN. */
enum frame_verdict frame_check(const uint8_t *buf, uint32_t len, const struct frame_addr *addr,
		struct frame_id *id);

#endif /* TEST_VDPA_FRAME_H */
