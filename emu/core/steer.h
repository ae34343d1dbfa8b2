/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Receive steering: flow rule -> TIR -> hash -> RQT -> virtio queue.
 *
 * Owns: RQTs, TIRs and TISes (steer.c), and flow tables (flow.c). All of it under dev->lock.
 */
#ifndef EMU_STEER_H
#define EMU_STEER_H

#include "core.h"

struct emu_flow_table;

/* The tables that a received frame meets, in ascending level. */
struct emu_steering {
	TAILQ_HEAD(emu_flow_tables, emu_flow_table) tables;
};

enum {
	EMU_TOEPLITZ_KEY = 40,
	EMU_TOEPLITZ_INPUT_MAX = 36,      /* two IPv6 addresses and two ports */
};

/* A hash key, spread out: what each value of each half byte of the input adds to the hash. */
struct emu_toeplitz {
	uint32_t part[EMU_TOEPLITZ_INPUT_MAX * 2][16];
};

void emu_toeplitz_init(struct emu_toeplitz *t, const uint8_t key[EMU_TOEPLITZ_KEY]);
/** The Toeplitz hash of @p len bytes, at most EMU_TOEPLITZ_INPUT_MAX. */
uint32_t emu_toeplitz_hash(const struct emu_toeplitz *t, const uint8_t *input, unsigned int len);

/* The headers of a frame, in the layout that rules match on. */
struct emu_flow_key {
	/* fte_match_set_lyr_2_4; words, so that a match is a few operations */
	uint64_t match[PRM_BYTES(fte_match_set_lyr_2_4) / 8];
	uint8_t l3;                /* IP version, 0 = not IP */
	uint8_t l4;                /* IPPROTO_TCP, IPPROTO_UDP, 0 = ports are not known */
};

/** Read the headers of a frame. False when it is too short for an Ethernet header. */
bool emu_flow_key_parse(struct emu_flow_key *key, const void *frame, uint32_t len);

struct emu_tir;
/** The queue that a TIR sends a frame with these headers to; NULL when that queue is gone. */
struct emu_virtq *emu_tir_pick(const struct emu_tir *tir, const struct emu_flow_key *key);

/** A queue is being destroyed: entries of RQTs that name it drop frames from now on. */
void emu_steer_forget(struct emu_virtq *vq);

/* Flow steering commands (flow.c), rows of steer.c's table. */
uint8_t emu_create_flow_table(struct emu_dev *dev, struct emu_cmd *c);
uint8_t emu_destroy_flow_table(struct emu_dev *dev, struct emu_cmd *c);
uint8_t emu_create_flow_group(struct emu_dev *dev, struct emu_cmd *c);
uint8_t emu_destroy_flow_group(struct emu_dev *dev, struct emu_cmd *c);
uint8_t emu_set_fte(struct emu_dev *dev, struct emu_cmd *c);
uint8_t emu_delete_fte(struct emu_dev *dev, struct emu_cmd *c);

#endif /* EMU_STEER_H */
