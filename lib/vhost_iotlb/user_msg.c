/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include <rte_vhost.h>

#include "user_msg.h"

/* Over the wire, in the byte order of the machine; packed, so that the payload is not aligned. */
struct header {
	uint32_t request, flags, size;
};

#define PAYLOAD(msg) ((uint8_t *)(msg) + sizeof(struct header))

/* struct vhost_vring_state: what messages about one ring carry. */
struct ring_state {
	uint32_t index, num;
};

/* What is before the regions of SET_MEM_TABLE. */
struct table_header {
	uint32_t nregions, padding;
};

/* struct vhost_vring_addr. */
struct ring_addr {
	uint32_t index, flags;
	uint64_t desc, used, avail, log;
};

/* struct vhost_iotlb_msg: 26 bytes and maybe its padding. The type is the last byte that counts. */
enum { IOTLB_LEAST = 26, IOTLB_MOST = 32, IOTLB_TYPE = 25, IOTLB_TYPE_NONE = 0xff };

/* SET_VRING_KICK, _CALL, _ERR: the ring, and "there is no descriptor". */
#define RING_MASK UINT64_C(0xff)
#define RING_NO_FD UINT64_C(0x100)

#define NAME(number, name) [number] = name

static const char *const names[] = {
	NAME(1, "GET_FEATURES"), NAME(2, "SET_FEATURES"), NAME(3, "SET_OWNER"),
	NAME(4, "RESET_OWNER"), NAME(5, "SET_MEM_TABLE"), NAME(6, "SET_LOG_BASE"),
	NAME(7, "SET_LOG_FD"), NAME(8, "SET_VRING_NUM"), NAME(9, "SET_VRING_ADDR"),
	NAME(10, "SET_VRING_BASE"), NAME(11, "GET_VRING_BASE"), NAME(12, "SET_VRING_KICK"),
	NAME(13, "SET_VRING_CALL"), NAME(14, "SET_VRING_ERR"), NAME(15, "GET_PROTOCOL_FEATURES"),
	NAME(16, "SET_PROTOCOL_FEATURES"), NAME(17, "GET_QUEUE_NUM"), NAME(18, "SET_VRING_ENABLE"),
	NAME(19, "SEND_RARP"), NAME(20, "NET_SET_MTU"), NAME(21, "SET_BACKEND_REQ_FD"),
	NAME(22, "IOTLB_MSG"), NAME(28, "POSTCOPY_ADVISE"), NAME(29, "POSTCOPY_LISTEN"),
	NAME(30, "POSTCOPY_END"), NAME(31, "GET_INFLIGHT_FD"), NAME(32, "SET_INFLIGHT_FD"),
	NAME(39, "SET_STATUS"), NAME(40, "GET_STATUS"),
};

static struct header
header_of(const void *msg)
{
	struct header header;

	memcpy(&header, msg, sizeof(header));
	return header;
}

uint32_t
user_msg_request(const void *msg)
{
	return header_of(msg).request;
}

const char *
user_msg_name(uint32_t request)
{
	if (request >= sizeof(names) / sizeof(names[0]) || names[request] == NULL)
		return "unknown message";
	return names[request];
}

uint64_t
user_msg_u64(const void *msg)
{
	uint64_t value;

	memcpy(&value, PAYLOAD(msg), sizeof(value));
	return value;
}

void *
user_msg_payload(void *msg)
{
	return PAYLOAD(msg);
}

uint32_t
user_msg_ring(const void *msg, struct vhost_iotlb_user_ring *ring)
{
	struct ring_addr addr;

	memcpy(&addr, PAYLOAD(msg), sizeof(addr));
	*ring = (struct vhost_iotlb_user_ring){
		.desc = addr.desc, .avail = addr.avail, .used = addr.used };
	return addr.index;
}

/* ---- lengths ---- */

/* The length that a memory table of so many regions has. */
static uint32_t
table_size(uint32_t nregions)
{
	return sizeof(struct table_header) + nregions * sizeof(struct user_region);
}

/* How long the payload may be. Messages that are not named here carry none, or the library looks
 * at its length itself (SET_LOG_BASE, the inflight messages). */
static bool
size_fits(const struct header *header, uint32_t nregions)
{
	switch (header->request) {
	case USER_SET_FEATURES:
	case USER_SET_PROTOCOL_FEATURES:
	case USER_SET_VRING_KICK:
	case USER_SET_VRING_CALL:
	case USER_SET_VRING_ERR:
	case USER_SEND_RARP:
	case USER_NET_SET_MTU:
	case USER_SET_STATUS:
		return header->size == sizeof(uint64_t);
	case USER_SET_VRING_NUM:
	case USER_SET_VRING_BASE:
	case USER_GET_VRING_BASE:
	case USER_SET_VRING_ENABLE:
		return header->size == sizeof(struct ring_state);
	case USER_SET_VRING_ADDR:
		return header->size == sizeof(struct ring_addr);
	case USER_IOTLB_MSG:
		return header->size >= IOTLB_LEAST && header->size <= IOTLB_MOST;
	case USER_SET_MEM_TABLE:
		return header->size >= sizeof(struct table_header) &&
			(nregions > USER_MAX_REGIONS || header->size == table_size(nregions));
	default:
		return true;
	}
}

const char *
user_msg_size_problem(const void *msg)
{
	struct header header = header_of(msg);
	struct table_header table;

	memcpy(&table, PAYLOAD(msg), sizeof(table));
	return size_fits(&header, table.nregions) ? NULL : "its payload has the wrong length";
}

void
user_msg_table(const void *msg, struct user_table *table)
{
	struct table_header header;

	memcpy(&header, PAYLOAD(msg), sizeof(header));
	table->nregions = header.nregions;
	if (header.nregions <= USER_MAX_REGIONS)
		memcpy(table->regions, PAYLOAD(msg) + sizeof(header),
			header.nregions * sizeof(table->regions[0]));
}

/* ---- refusing ---- */

/* No ring that works: a size that there is not, addresses where nothing is, switched off. The
 * library has made room for the ring that the message names, so that its number stays. */
static void
spoil_ring(int vid, uint32_t request, uint8_t *payload)
{
	struct ring_addr addr;
	struct ring_state state;
	uint16_t avail, used;

	memcpy(&state, payload, sizeof(state));
	switch (request) {
	case USER_SET_VRING_NUM:
		state.num = UINT32_MAX;
		break;
	case USER_SET_VRING_ADDR:
		memset(&addr, 0xff, sizeof(addr));
		addr.index = state.index;
		addr.flags = 0;
		memcpy(payload, &addr, sizeof(addr));
		return;
	case USER_SET_VRING_BASE:
		if (rte_vhost_get_vring_base(vid, state.index, &avail, &used) == 0)
			state.num = avail;
		break;
	default:
		state.num = 0;
		break;
	}
	memcpy(payload, &state, sizeof(state));
}

static void
spoil_u64(uint8_t *payload, uint64_t value)
{
	memcpy(payload, &value, sizeof(value));
}

void
user_msg_spoil(int vid, void *msg)
{
	struct header header = header_of(msg);
	uint8_t *payload = PAYLOAD(msg);

	switch (header.request) {
	case USER_SET_FEATURES:
	case USER_SET_PROTOCOL_FEATURES:
	case USER_NET_SET_MTU:
	case USER_SET_STATUS:
	case USER_SET_MEM_TABLE: /* that many regions would take as many descriptors */
		spoil_u64(payload, UINT64_MAX);
		break;
	case USER_SET_VRING_NUM:
	case USER_SET_VRING_ADDR:
	case USER_SET_VRING_BASE:
	case USER_SET_VRING_ENABLE:
		spoil_ring(vid, header.request, payload);
		break;
	case USER_SET_VRING_KICK:
	case USER_SET_VRING_CALL:
	case USER_SET_VRING_ERR:
		spoil_u64(payload, (user_msg_u64(msg) & RING_MASK) | RING_NO_FD);
		break;
	case USER_IOTLB_MSG:
		payload[IOTLB_TYPE] = IOTLB_TYPE_NONE;
		break;
	case USER_SET_LOG_BASE:
	case USER_GET_INFLIGHT_FD:
	case USER_SET_INFLIGHT_FD:
		header.size = 0;
		memcpy(msg, &header, sizeof(header));
		break;
	default:
		break;
	}
}

void
user_msg_drop_reply(void *msg)
{
	struct header header = header_of(msg);

	header.flags &= ~USER_NEED_REPLY;
	memcpy(msg, &header, sizeof(header));
}
