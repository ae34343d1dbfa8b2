/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * emu/core: what is at the end of a wire: a generator, a network interface of Linux.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

#include "emu_card.h"
#include <gen.h>

enum {
	RX = 0,
	TX = 1,
	SIZE = 256,
	HDR = EMU_VIRTIO_NET_HDR_MAX,
	BUF = 2048,
	ETHERTYPE_TEST = 0x88b5,   /* IEEE 802, for local experiments */
};

struct frame {
	struct ethhdr eth;
	struct iphdr ip;
	struct udphdr udp;
	uint64_t seq;
} __attribute__((packed));

/* A receive queue whose buffers are used in order, and a transmit queue. */
struct guest {
	struct card *card;
	struct queue rx, tx;
	uint8_t *buf;              /* SIZE buffers */
};

static void
guest_start(struct guest *g, const char *spec)
{
	struct queue *rx = &g->rx;

	g->card = card_new(spec);
	queue_create(g->card, &g->rx, RX, SIZE);
	queue_create(g->card, &g->tx, TX, SIZE);
	g->buf = card_alloc(g->card, SIZE * BUF, 64);
	steer_all(g->card, &rx, 1);
}

static void
guest_ready(struct guest *g)
{
	assert_int_equal(queue_set_state(&g->rx, MLX5_VIRTQ_STATE_RDY), 0);
	assert_int_equal(queue_set_state(&g->tx, MLX5_VIRTQ_STATE_RDY), 0);
	card_kick(g->card);
}

static void
add_buffers(struct guest *g, unsigned int n)
{
	struct seg seg = { .len = BUF };

	while (n-- > 0) {
		seg.addr = g->buf + (size_t)g->rx.next_desc * BUF;
		queue_add(&g->rx, RING_DIRECT, &seg, 1, true);
	}
	card_kick(g->card);
}

static void
send_frame(struct guest *g, uint8_t *packet, uint32_t len)
{
	struct seg seg = { packet, len };

	queue_add(&g->tx, RING_DIRECT, &seg, 1, false);
	card_kick(g->card);
}

/* The frame of the n-th used buffer, and its length. */
static const uint8_t *
received(const struct guest *g, uint16_t n, uint32_t *len)
{
	struct emu_vring_used_elem e = queue_used(&g->rx, n);

	*len = e.len - HDR;
	return g->buf + (size_t)e.id * BUF + HDR;
}

/* ---- generator ---- */

static uint16_t
ip_sum(const struct iphdr *ip)
{
	uint16_t words[sizeof(*ip) / 2];
	uint32_t sum = 0;
	size_t i;

	memcpy(words, ip, sizeof(words));
	for (i = 0; i < DIM(words); i++)
		sum += words[i];
	return (uint16_t)((sum & 0xffff) + (sum >> 16));
}

static void
check_generated(const struct guest *g, uint16_t n, uint32_t size)
{
	const uint8_t *data;
	struct iphdr ip;
	struct frame f;
	uint32_t len;

	data = received(g, n, &len);
	assert_int_equal(len, size);
	memcpy(&f, data, sizeof(f) < len ? sizeof(f) : len);
	ip = f.ip;
	assert_memory_equal(f.eth.h_dest, g->card->dev->cfg.mac, ETH_ALEN);
	assert_int_equal(ntohs(f.eth.h_proto), ETH_P_IP);
	assert_int_equal(ntohs(ip.tot_len), size - sizeof(f.eth));
	assert_int_equal(ip_sum(&ip), UINT16_MAX);
	assert_int_equal(ip.protocol, IPPROTO_UDP);
	assert_int_equal(ntohs(f.udp.uh_ulen), size - sizeof(f.eth) - sizeof(f.ip));
	assert_int_equal(ntohs(f.udp.uh_sport), 49152 + be64toh(f.seq) % EMU_GEN_FLOWS);
}

static uint64_t
seq_of(const struct guest *g, uint16_t n)
{
	uint32_t len;
	uint64_t seq;

	memcpy(&seq, received(g, n, &len) + offsetof(struct frame, seq), sizeof(seq));
	return be64toh(seq);
}

static void
frames_fill_what_buffers_there_are(void **state)
{
	struct guest g;
	uint16_t i;

	(void)state;
	guest_start(&g, "wire=gen:0:64");
	guest_ready(&g);
	add_buffers(&g, 100);
	WAIT_FOR(queue_used_idx(&g.rx) == 100);
	add_buffers(&g, 100);
	WAIT_FOR(queue_used_idx(&g.rx) == 200);
	for (i = 0; i < 200; i++)
		check_generated(&g, i, 64);
	for (i = 1; i < 200; i++)
		assert_true(seq_of(&g, i) > seq_of(&g, i - 1));
	/* It waited for buffers: nothing was dropped. */
	assert_int_equal(g.card->dev->rx_packets, 200);
	assert_int_equal(g.card->dev->rx_drops, 0);
	card_free(g.card);
}

static void
frames_have_the_size_that_was_asked_for(void **state)
{
	static const uint32_t sizes[] = { 60, 64, 1514, 2000 };
	char spec[32];
	struct guest g;
	size_t i;

	(void)state;
	for (i = 0; i < DIM(sizes); i++) {
		snprintf(spec, sizeof(spec), "wire=gen:0:%u", sizes[i]);
		guest_start(&g, spec);
		guest_ready(&g);
		add_buffers(&g, 1);
		WAIT_FOR(queue_used_idx(&g.rx) == 1);
		check_generated(&g, 0, sizes[i]);
		card_free(g.card);
	}
}

static void
frames_come_at_a_rate(void **state)
{
	struct guest g;

	(void)state;
	guest_start(&g, "wire=gen:2000:60");
	guest_ready(&g);
	add_buffers(&g, SIZE);
	/* Nothing is made up for while the device's thread has no time: there may be less, later. */
	WAIT_FOR(queue_used_idx(&g.rx) > 50);
	assert_int_equal(seq_of(&g, 40), 40 + seq_of(&g, 0));
	card_free(g.card);
}

static void
frames_at_a_rate_do_not_wait_for_buffers(void **state)
{
	struct guest g;

	(void)state;
	guest_start(&g, "wire=gen:10000:60");
	guest_ready(&g);
	WAIT_FOR(g.card->dev->rx_drops > 10);
	add_buffers(&g, SIZE);
	WAIT_FOR(queue_used_idx(&g.rx) > 0);
	assert_true(seq_of(&g, 0) > 10);
	card_free(g.card);
}

static void
no_frame_comes_while_no_queue_is_ready(void **state)
{
	struct guest g;

	(void)state;
	guest_start(&g, "wire=gen:100000:60");
	usleep(CARD_QUIET_MS * 1000);
	assert_int_equal(g.card->dev->rx_drops, 0);
	guest_ready(&g);
	WAIT_FOR(g.card->dev->rx_drops > 0);
	assert_int_equal(queue_set_state(&g.rx, MLX5_VIRTQ_STATE_SUSPEND), 0);
	assert_int_equal(queue_set_state(&g.tx, MLX5_VIRTQ_STATE_SUSPEND), 0);
	usleep(CARD_QUIET_MS * 1000);
	assert_int_equal(queue_used_idx(&g.rx), 0);
	card_free(g.card);
}

static void
what_is_sent_to_a_generator_is_counted(void **state)
{
	struct guest g;

	(void)state;
	guest_start(&g, "wire=gen:0:64");
	guest_ready(&g);
	send_frame(&g, card_alloc(g.card, HDR + 100, 2), HDR + 100);
	WAIT_FOR(queue_used_idx(&g.tx) == 1);
	assert_int_equal(g.card->dev->tx_packets, 1);
	assert_int_equal(g.card->dev->rx_packets, 0);
	card_free(g.card);
}

/* ---- tap ---- */

#define TAP "emutap0"

static int
tap_setup(void **state)
{
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI };

	*state = NULL;
	if (fd < 0)
		return 0;
	/* The right to make one may be missing, too. */
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "emutest");
	if (ioctl(fd, TUNSETIFF, &ifr) == 0)
		*state = (void *)(uintptr_t)1;
	close(fd);
	return 0;
}

#define NEED_TAP(state) do { \
		if (*(state) == NULL) \
			skip(); \
	} while (0)

/* A raw socket on the interface. */
static int
tap_socket(void)
{
	struct sockaddr_ll addr = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETHERTYPE_TEST),
		.sll_ifindex = (int)if_nametoindex(TAP),
	};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETHERTYPE_TEST));
	struct timeval wait = { .tv_sec = CARD_WAIT_MS / 1000 };

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)), 0);
	return fd;
}

static void
fill_frame(uint8_t *frame, uint32_t len, uint8_t seed)
{
	static const uint8_t addrs[] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5 };
	uint32_t i;

	for (i = 0; i < len; i++)
		frame[i] = i < sizeof(addrs) ? addrs[i] : (uint8_t)(seed + i);
}

static void
frames_go_to_a_tap_and_come_from_it(void **state)
{
	enum { LEN = 300 };
	uint8_t frame[LEN], got[BUF], *packet;
	const uint8_t *data = NULL;
	unsigned int ms;
	struct guest g;
	uint32_t len = 0;
	uint16_t n = 0;
	int fd;

	NEED_TAP(state);
	guest_start(&g, "wire=tap:" TAP);
	guest_ready(&g);
	add_buffers(&g, SIZE);
	fd = tap_socket();
	packet = card_alloc(g.card, HDR + LEN, 2);
	fill_frame(packet + HDR, LEN, 7);
	send_frame(&g, packet, HDR + LEN);
	assert_int_equal(recv(fd, got, sizeof(got), 0), LEN);
	assert_memory_equal(got, packet + HDR, LEN);
	WAIT_FOR(g.card->dev->tx_packets == 1);
	fill_frame(frame, LEN, 50);
	assert_int_equal(send(fd, frame, LEN, 0), LEN);
	/* The kernel says things of its own on an interface. */
	for (ms = 0; data == NULL && ms < CARD_WAIT_MS; ms++) {
		usleep(1000);
		for (; data == NULL && n != queue_used_idx(&g.rx); n++) {
			data = received(&g, n, &len);
			data = len == LEN && memcmp(data, frame, LEN) == 0 ? data : NULL;
		}
	}
	assert_non_null(data);
	close(fd);
	card_free(g.card);
}

static void
a_tap_that_was_made_goes_with_the_device(void **state)
{
	struct guest g;

	NEED_TAP(state);
	assert_int_equal(if_nametoindex(TAP), 0);
	guest_start(&g, "wire=tap:" TAP);
	assert_int_not_equal(if_nametoindex(TAP), 0);
	card_free(g.card);
	assert_int_equal(if_nametoindex(TAP), 0);
}

static void
a_tap_that_was_there_stays(void **state)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI };
	struct guest g;
	unsigned int index;
	int fd;

	NEED_TAP(state);
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", TAP);
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	assert_int_equal(ioctl(fd, TUNSETIFF, &ifr), 0);
	assert_int_equal(ioctl(fd, TUNSETPERSIST, 1), 0);
	close(fd);
	index = if_nametoindex(TAP);
	guest_start(&g, "wire=tap:" TAP);
	card_free(g.card);
	assert_int_equal(if_nametoindex(TAP), index);
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	assert_int_equal(ioctl(fd, TUNSETIFF, &ifr), 0);
	assert_int_equal(ioctl(fd, TUNSETPERSIST, 0), 0);
	close(fd);
	assert_int_equal(if_nametoindex(TAP), 0);
}

static const struct emu_host_ops no_ops;

static void
an_interface_that_is_no_tap_fails_the_device(void **state)
{
	struct emu_dev_config cfg;
	struct emu_dev *dev;
	char err[256];

	NEED_TAP(state);
	emu_config_default(&cfg, 0);
	assert_int_equal(emu_config_parse(&cfg, "wire=tap:lo", err, sizeof(err)), 0);
	assert_int_equal(emu_dev_create(&cfg, &no_ops, NULL, NULL, NULL, &dev), -EINVAL);
}

/* An interface that is set down refuses frames: they are not sent. */
static void
frames_that_a_tap_refuses_are_dropped(void **state)
{
	struct ifreq ifr = {0};
	struct guest g;
	int sock;

	NEED_TAP(state);
	guest_start(&g, "wire=tap:" TAP);
	guest_ready(&g);
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", TAP);
	sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(ioctl(sock, SIOCSIFFLAGS, &ifr), 0);
	close(sock);
	send_frame(&g, card_alloc(g.card, HDR + 100, 2), HDR + 100);
	WAIT_FOR(queue_used_idx(&g.tx) == 1);
	assert_int_equal(g.card->dev->tx_packets, 0);
	assert_int_equal(g.card->dev->tx_drops, 1);
	assert_int_equal(queue_state(&g.tx), MLX5_VIRTQ_STATE_RDY);
	card_free(g.card);
}

/* ---- idling ---- */

/* Processor time of a second in which nothing happens. */
static int64_t
idle_second_ns(void)
{
	const struct timespec second = { .tv_sec = 1 };
	struct timespec t0, t1;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t0);
	nanosleep(&second, NULL);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t1);
	return (t1.tv_sec - t0.tv_sec) * INT64_C(1000000000) + t1.tv_nsec - t0.tv_nsec;
}

/* Under 2 % of a core, with queues ready; on a busy machine, where waking up costs more, and when
 * the device comes to rest is not said, in one second out of several. */
static void
check_idle(const char *spec)
{
	const int64_t most_ns = 20 * 1000 * 1000;
	struct guest g;
	int64_t ns = INT64_MAX;
	int attempt;

	guest_start(&g, spec);
	guest_ready(&g);
	usleep(CARD_QUIET_MS * 1000);
	for (attempt = 0; attempt < 10 && ns > most_ns; attempt++)
		ns = idle_second_ns();
	print_message("idle, %s: %.2f %% of a core\n", spec, (double)ns / 1e7);
	assert_in_range(ns, 0, most_ns);
	card_free(g.card);
}

static void
a_tap_without_traffic_costs_next_to_nothing(void **state)
{
	NEED_TAP(state);
	check_idle("wire=tap:" TAP);
}

static void
a_generator_without_buffers_costs_next_to_nothing(void **state)
{
	(void)state;
	check_idle("wire=gen:0:64");
}

#define TEST_TAP(f) cmocka_unit_test_setup(f, tap_setup)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_fill_what_buffers_there_are),
		cmocka_unit_test(frames_have_the_size_that_was_asked_for),
		cmocka_unit_test(frames_come_at_a_rate),
		cmocka_unit_test(frames_at_a_rate_do_not_wait_for_buffers),
		cmocka_unit_test(no_frame_comes_while_no_queue_is_ready),
		cmocka_unit_test(what_is_sent_to_a_generator_is_counted),
		TEST_TAP(frames_go_to_a_tap_and_come_from_it),
		TEST_TAP(a_tap_that_was_made_goes_with_the_device),
		TEST_TAP(a_tap_that_was_there_stays),
		TEST_TAP(an_interface_that_is_no_tap_fails_the_device),
		TEST_TAP(frames_that_a_tap_refuses_are_dropped),
		TEST_TAP(a_tap_without_traffic_costs_next_to_nothing),
		cmocka_unit_test(a_generator_without_buffers_costs_next_to_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
