/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Offloads: what the virtio header of a packet (virtio 1.x section 5.1.6) asks the device to do.
 *
 * Owns: checksums of frames that are sent and received, and the cutting of large TCP packets into
 * frames. Knows neither queues nor wires and allocates nothing. No state but the caller's struct
 * emu_offload: any thread.
 *
 * A queue does what its features say, no more. A packet whose header asks for something else, or
 * for something that can't be done to it (a checksum behind its end, segments of something that is
 * not TCP), is not sent: its buffers are used, its bytes go nowhere. The queue goes on, since
 * virtio_q.error_type has no name for it: what a guest writes into a header is not a ring in error.
 */
#ifndef EMU_OFFLOAD_H
#define EMU_OFFLOAD_H

#include <stdbool.h>
#include <stdint.h>

/* Features of a queue: virtio_net_q_object.queue_feature_bit_mask_12_3 << 3 | ..._2_0. */
enum {
	EMU_FEATURE_TSO_IPV4 = 1 << 12,
	EMU_FEATURE_TSO_IPV6 = 1 << 11,
	EMU_FEATURE_TX_CSUM = 1 << 10,
	EMU_FEATURE_RX_CSUM = 1 << 9,
};

enum {
	/* The longest frame of a port, with Ethernet header and VLAN tags: an MTU of 9978 is what
	 * ConnectX ports take at most. */
	EMU_FRAME_MAX = 10000,
	/* The longest packet to be cut: Ethernet header, two VLAN tags, IPv6 header, and a payload
	 * of 16 bits' length. */
	EMU_GSO_MAX = 14 + 2 * 4 + 40 + UINT16_MAX,
	/* All headers of one: the above, IPv6 extension headers, and a TCP header with options. */
	EMU_GSO_HDR_MAX = 256,
	/* The least gso_size: what IPv4's least MTU, 68, leaves beside the longest headers of IP
	 * and TCP. */
	EMU_GSO_SIZE_MIN = 8,
	/* virtio_net_hdr: 10 bytes; VERSION_1 adds num_buffers, whatever else is negotiated. */
	EMU_VIRTIO_NET_HDR = 10,
	EMU_VIRTIO_NET_HDR_MAX = 12,
	EMU_VIRTIO_NET_HDR_NUM_BUFFERS = 10,
};

/* A packet on its way out. */
struct emu_offload {
	uint8_t *next;             /* the frame to come; if it is a segment, its payload; or NULL */
	uint32_t left;             /* bytes from there on */
	/* Of a packet that is cut; gso_size 0: it is not. */
	uint32_t gso_size;
	uint32_t l3, l4, hdr_len;  /* offsets of IP, TCP and payload */
	bool ipv4, csum;
	uint32_t seq;              /* of the segment to come */
	uint16_t ip_id;
	bool first;                /* the segment to come is */
	uint64_t pseudo;           /* sum of the pseudo header without its length */
	uint8_t hdr[EMU_GSO_HDR_MAX];
};

/**
 * Begin to send the packet at @p frame, @p len bytes, that came with the virtio header @p vnet
 * (EMU_VIRTIO_NET_HDR bytes of it are read) on a queue with these features. The packet is changed
 * in place.
 * @return whether there is something to send. If not: too short or too long for a frame, or the
 *         header asks for what can't be.
 */
bool emu_offload_start(struct emu_offload *o, uint16_t features, const uint8_t *vnet,
		uint8_t *frame, uint32_t len);

/** The next frame of the packet, valid until the next call; NULL: that was all. */
const uint8_t *emu_offload_next(struct emu_offload *o, uint32_t *len);

/**
 * Fill the virtio header, @p hdr_len zeroed bytes, of a frame that was received into one chain:
 * with rx_csum it says DATA_VALID where the frame is TCP or UDP over IP, no fragment, and all of
 * its checksums are good. NEEDS_CSUM is never given, for a frame from a wire has its checksum.
 */
void emu_offload_rx_hdr(uint16_t features, uint8_t *vnet, uint32_t hdr_len, const uint8_t *frame,
		uint32_t len);

#endif /* EMU_OFFLOAD_H */
