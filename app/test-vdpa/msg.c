/* SPDX-License-Identifier: BSD-3-Clause */
#include <stddef.h>
#include <string.h>

#include "msg.h"

static void
init(struct vu_msg *m, enum vu_request request, size_t size)
{
	memset(m, 0, sizeof(m->hdr) + size);
	m->hdr.request = request;
	m->hdr.flags = VU_VERSION;
	m->hdr.size = size;
}

void
vu_msg_init(struct vu_msg *m, enum vu_request request)
{
	init(m, request, 0);
}

void
vu_msg_u64(struct vu_msg *m, enum vu_request request, uint64_t value)
{
	init(m, request, sizeof(m->payload.u64));
	m->payload.u64 = value;
}

void
vu_msg_state(struct vu_msg *m, enum vu_request request, uint32_t index, uint32_t num)
{
	init(m, request, sizeof(m->payload.state));
	m->payload.state.index = index;
	m->payload.state.num = num;
}

void
vu_msg_addr(struct vu_msg *m, const struct vhost_vring_addr *addr)
{
	init(m, VU_SET_VRING_ADDR, sizeof(m->payload.addr));
	m->payload.addr = *addr;
}

void
vu_msg_log(struct vu_msg *m, uint64_t bytes)
{
	init(m, VU_SET_LOG_BASE, sizeof(m->payload.log));
	m->payload.log.bytes = bytes;
}

void
vu_msg_mem_table(struct vu_msg *m, const struct vu_mem_table *table)
{
	size_t regions = table->n * sizeof(table->region[0]);

	init(m, VU_SET_MEM_TABLE, offsetof(struct vu_msg, payload.mem.region) -
			offsetof(struct vu_msg, payload) + regions);
	m->payload.mem.nregions = table->n;
	memcpy(m->payload.mem.region, table->region, regions);
}

void
vu_msg_config(struct vu_msg *m, uint32_t offset, uint32_t bytes)
{
	init(m, VU_GET_CONFIG, offsetof(struct vu_config, data) + bytes);
	m->payload.config.offset = offset;
	m->payload.config.bytes = bytes;
}

bool
vu_msg_answers(const struct vu_hdr *reply, enum vu_request request, uint32_t size)
{
	return reply->request == request && reply->size == size &&
		(reply->flags & VU_REPLY) != 0 && (reply->flags & VU_VERSION_MASK) == VU_VERSION;
}

const char *
vu_request_name(uint32_t request)
{
	static const char *const name[] = {
		[VU_GET_FEATURES] = "GET_FEATURES",
		[VU_SET_FEATURES] = "SET_FEATURES",
		[VU_SET_OWNER] = "SET_OWNER",
		[VU_SET_LOG_BASE] = "SET_LOG_BASE",
		[VU_SET_MEM_TABLE] = "SET_MEM_TABLE",
		[VU_SET_VRING_NUM] = "SET_VRING_NUM",
		[VU_SET_VRING_ADDR] = "SET_VRING_ADDR",
		[VU_SET_VRING_BASE] = "SET_VRING_BASE",
		[VU_GET_VRING_BASE] = "GET_VRING_BASE",
		[VU_SET_VRING_KICK] = "SET_VRING_KICK",
		[VU_SET_VRING_CALL] = "SET_VRING_CALL",
		[VU_GET_PROTOCOL_FEATURES] = "GET_PROTOCOL_FEATURES",
		[VU_SET_PROTOCOL_FEATURES] = "SET_PROTOCOL_FEATURES",
		[VU_GET_QUEUE_NUM] = "GET_QUEUE_NUM",
		[VU_SET_VRING_ENABLE] = "SET_VRING_ENABLE",
		[VU_GET_CONFIG] = "GET_CONFIG",
		[VU_SET_STATUS] = "SET_STATUS",
		[VU_GET_STATUS] = "GET_STATUS",
	};

	if (request < sizeof(name) / sizeof(name[0]) && name[request] != NULL)
		return name[request];
	return "an unknown request";
}
