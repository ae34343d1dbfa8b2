/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vhost-user messages as they travel: numbers, layouts and encoding, from the front-end's side.
 * Source: the vhost-user specification (QEMU, docs/interop/vhost-user.rst). All fields are in the
 * host's byte order. No state, any thread.
 */
#ifndef TEST_VDPA_MSG_H
#define TEST_VDPA_MSG_H

#include <linux/vhost_types.h>
#include <stdbool.h>
#include <stdint.h>

enum vu_request {
	VU_GET_FEATURES = 1,
	VU_SET_FEATURES = 2,
	VU_SET_OWNER = 3,
	VU_SET_MEM_TABLE = 5,
	VU_SET_LOG_BASE = 6,
	VU_SET_VRING_NUM = 8,
	VU_SET_VRING_ADDR = 9,
	VU_SET_VRING_BASE = 10,
	VU_GET_VRING_BASE = 11,
	VU_SET_VRING_KICK = 12,
	VU_SET_VRING_CALL = 13,
	VU_GET_PROTOCOL_FEATURES = 15,
	VU_SET_PROTOCOL_FEATURES = 16,
	VU_GET_QUEUE_NUM = 17,
	VU_SET_VRING_ENABLE = 18,
	VU_GET_CONFIG = 24,
	VU_SET_STATUS = 39,
	VU_GET_STATUS = 40,
};

#define VU_F_PROTOCOL_FEATURES 30	/* bit of the features */

/* Bits of the protocol features. */
#define VU_PROTOCOL_F_MQ 0
#define VU_PROTOCOL_F_LOG_SHMFD 1
#define VU_PROTOCOL_F_REPLY_ACK 3
#define VU_PROTOCOL_F_CONFIG 9
#define VU_PROTOCOL_F_STATUS 16

/* Bits of the header's flags. */
#define VU_VERSION 0x1u
#define VU_VERSION_MASK 0x3u
#define VU_REPLY 0x4u
#define VU_NEED_REPLY 0x8u

#define VU_MAX_REGIONS 8
#define VU_MAX_CONFIG 256

struct vu_region {
	uint64_t gpa;
	uint64_t bytes;
	uint64_t uaddr;		/* where the front-end sees it */
	uint64_t mmap_off;	/* in the file */
};

struct vu_config {
	uint32_t offset;
	uint32_t bytes;
	uint32_t flags;
	uint8_t data[VU_MAX_CONFIG];
};

struct vu_hdr {
	uint32_t request;
	uint32_t flags;
	uint32_t size;		/* of the payload */
} __attribute__((packed));

struct vu_msg {
	struct vu_hdr hdr;
	union {
		uint64_t u64;
		struct vhost_vring_state state;
		struct vhost_vring_addr addr;
		struct {
			uint32_t nregions;
			uint32_t padding;
			struct vu_region region[VU_MAX_REGIONS];
		} mem;
		struct vu_config config;
		struct {
			uint64_t bytes;
			uint64_t mmap_off;
		} log;
	} payload;
} __attribute__((packed));

_Static_assert(sizeof(struct vu_hdr) == 12, "three words");
_Static_assert(sizeof(struct vu_region) == 32, "four double words");

/* A memory table, ready to be sent: one file descriptor a region. */
struct vu_mem_table {
	unsigned int n;
	struct vu_region region[VU_MAX_REGIONS];
	int fd[VU_MAX_REGIONS];
};

/** Message without payload. */
void vu_msg_init(struct vu_msg *m, enum vu_request request);
void vu_msg_u64(struct vu_msg *m, enum vu_request request, uint64_t value);
void vu_msg_state(struct vu_msg *m, enum vu_request request, uint32_t index, uint32_t num);
void vu_msg_addr(struct vu_msg *m, const struct vhost_vring_addr *addr);
void vu_msg_log(struct vu_msg *m, uint64_t bytes);
void vu_msg_mem_table(struct vu_msg *m, const struct vu_mem_table *table);
void vu_msg_config(struct vu_msg *m, uint32_t offset, uint32_t bytes);

/** Whether @p reply answers @p request with a payload of @p size bytes. */
bool vu_msg_answers(const struct vu_hdr *reply, enum vu_request request, uint32_t size);

/** Name of a request, for messages to people. */
const char *vu_request_name(uint32_t request);

#endif /* TEST_VDPA_MSG_H */
