/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The guest: a thread that runs the virtio-net driver (net.h) at a steady pace.
 *
 * It sends pps frames a second, in bursts, and looks at its rings at least every GUEST_TICK_NS
 * while frames are on their way; in between it sleeps, since cores may be few. That tick is the
 * resolution of every time it reports. Flat out it neither paces nor sleeps, but for naps when
 * there has been nothing to do for a while.
 *
 * Paused, the caller may use guest->net; running, it is the thread's, which works on it under
 * guest->lock. All functions are for the thread that created the guest.
 */
#ifndef TEST_VDPA_GUEST_H
#define TEST_VDPA_GUEST_H

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

#include "net.h"

#define GUEST_TICK_NS (100 * 1000)

enum guest_want { GUEST_PAUSED, GUEST_RUNNING, GUEST_GONE };

struct guest {
	struct net net;
	uint32_t pps;
	int ctl_fd;			/* wakes a paused thread when want has changed */
	pthread_mutex_t lock;		/* net, want, drain and the pace */
	enum guest_want want;
	bool drain;			/* send nothing new */
	bool flat_out;
	unsigned int idle;		/* flat out: looks in a row that found nothing to do */
	unsigned int waiting;		/* atomic: somebody wants the lock */
	bool broken;			/* atomic: net.fault says why; the thread rests */
	uint64_t first_rx_ns;		/* atomic: since guest_resume(), 0: nothing yet */
	uint64_t last_rx_ns;		/* atomic */
	uint64_t silence_ns;		/* longest time without a frame since guest_disturb() */
	uint64_t last_ns;		/* when credit was given last; 0: pace starts anew */
	double credit;			/* frames it may send now */
	bool on_lcore;
	unsigned int lcore;
	pthread_t thread;
	struct pollfd *fds;		/* of the thread: the receive rings' call eventfds */
	cpu_set_t cpus;			/* of a thread that is no lcore: its creator is pinned */
};

/**
 * Create a guest, paused, without memory (net_bind()). Its thread is the first worker lcore, or a
 * thread of its own on @p cpus where EAL has none. Returns 0 or a negative errno.
 */
int guest_create(struct guest *g, const struct net_cfg *cfg, const struct layout *layout,
		uint32_t pps, const cpu_set_t *cpus);
/** End the thread and free everything. */
void guest_destroy(struct guest *g);

/** Let it run. Forgets the first frame seen. */
void guest_resume(struct guest *g);
/** Returns once the thread touches neither rings nor memory. */
void guest_pause(struct guest *g);

/** Send nothing new and wait up to @p timeout_ns for what is on its way: did all come back? */
bool guest_drain(struct guest *g, uint64_t timeout_ns);

/** Send and receive as fast as it goes, or at the pace again. */
void guest_set_flat_out(struct guest *g, bool on);
/** net_go_one_way() and net_track(), while it runs. */
void guest_go_one_way(struct guest *g);
void guest_track(struct guest *g, struct dirty_log *log);

/** net_disturb() and net_use_plug(), while it runs. */
void guest_disturb(struct guest *g);
void guest_use_plug(struct guest *g, const struct mem_file *plug);
/** The longest time without a frame since guest_disturb(), its last frame before it included. */
uint64_t guest_silence_ns(struct guest *g);

void guest_set_pps(struct guest *g, uint32_t pps);
/** Whether to send on a virtqueue, until the next net_reset(). Those that receive are ignored. */
void guest_set_sending(struct guest *g, unsigned int vq, bool on);

/** Pairs that may send from now on: the first @p pairs. */
void guest_set_active(struct guest *g, uint16_t pairs);

/** When the first frame since guest_resume(), and the last of all, were seen; 0: none. */
uint64_t guest_first_rx(const struct guest *g);
uint64_t guest_last_rx(const struct guest *g);
/** Whether the device broke the rings; guest->net.fault says how. */
bool guest_broken(const struct guest *g);

#endif /* TEST_VDPA_GUEST_H */
