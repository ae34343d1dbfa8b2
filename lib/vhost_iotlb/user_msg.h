/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A vhost-user message as the vhost library shows it to a hook: what may be read of it, and how one
 * is refused. Internal to the adaptor (vhost_iotlb_user.h).
 *
 * Owns: the layout of messages (QEMU, vhost-user specification). The library's own struct is not
 * public and differs between releases; that it begins with the message as it came over the wire,
 * header and payload, is so in all of them. The descriptors behind it are never touched.
 *
 * Threads: none of its own; a message belongs to the call of the hook.
 */
#ifndef USER_MSG_H
#define USER_MSG_H

#include <stdint.h>

#include "vhost_iotlb_user.h"

/** Requests that somebody here looks at, by their numbers in the specification. */
enum user_request {
	USER_NONE = 0,
	USER_SET_FEATURES = 2,
	USER_RESET_OWNER = 4,
	USER_SET_MEM_TABLE = 5,
	USER_SET_LOG_BASE = 6,
	USER_SET_VRING_NUM = 8,
	USER_SET_VRING_ADDR = 9,
	USER_SET_VRING_BASE = 10,
	USER_GET_VRING_BASE = 11,
	USER_SET_VRING_KICK = 12,
	USER_SET_VRING_CALL = 13,
	USER_SET_VRING_ERR = 14,
	USER_SET_PROTOCOL_FEATURES = 16,
	USER_SET_VRING_ENABLE = 18,
	USER_SEND_RARP = 19,
	USER_NET_SET_MTU = 20,
	USER_IOTLB_MSG = 22,
	USER_POSTCOPY_ADVISE = 28,
	USER_POSTCOPY_LISTEN = 29,
	USER_POSTCOPY_END = 30,
	USER_GET_INFLIGHT_FD = 31,
	USER_SET_INFLIGHT_FD = 32,
	USER_SET_STATUS = 39,
};

/** Flag of a message: its sender waits for an acknowledgement. */
#define USER_NEED_REPLY 0x8u

/** Most regions of a memory table. */
#define USER_MAX_REGIONS 8u

/** One region of SET_MEM_TABLE. */
struct user_region {
	uint64_t guest_addr;
	uint64_t size;
	uint64_t user_addr;        /* the front-end's own address */
	uint64_t offset;           /* in its file */
};

/** The payload of SET_MEM_TABLE. */
struct user_table {
	uint32_t nregions;
	struct user_region regions[USER_MAX_REGIONS];
};

/** What it asks for: a number of enum user_request, or another. */
uint32_t
user_msg_request(const void *msg);

/** A name for log lines. */
const char *
user_msg_name(uint32_t request);

/** The first 64 bits of the payload. */
uint64_t
user_msg_u64(const void *msg);

/** What is wrong with the length of its payload, in words; NULL: nothing. The library reads what it
 * expects, however little came: the rest would be whatever was on its stack. */
const char *
user_msg_size_problem(const void *msg);

/** The payload. */
void *
user_msg_payload(void *msg);

/** Where a SET_VRING_ADDR of the right length puts its ring. Returns the ring's number. */
uint32_t
user_msg_ring(const void *msg, struct vhost_iotlb_user_ring *ring);

/** The payload of a SET_MEM_TABLE of the right length. */
void
user_msg_table(const void *msg, struct user_table *table);

/**
 * Change the message to one that the vhost library refuses, or where there is none, to one that
 * does no harm. The library alone can close the descriptors that came with a message, and does so
 * where it handles the message itself; a message that a hook refuses keeps them open for good.
 */
void
user_msg_spoil(int vid, void *msg);

/** Nobody is to be told of the message's result: if it failed, the connection ends. */
void
user_msg_drop_reply(void *msg);

#endif /* USER_MSG_H */
