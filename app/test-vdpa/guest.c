/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <rte_launch.h>
#include <rte_lcore.h>

#include "clock.h"
#include "guest.h"

#define IDLE_NS CLOCK_MS		/* longest sleep of a running guest */
#define TIMER_SLACK_NS 1000ul		/* the kernel's default of 50 us would be half a tick */
#define NO_REST_NS 1			/* what turn() returns for "go on at once" */
#define IDLE_LOOKS 256			/* flat out: looks without work before a nap */
#define NAP_NS (20 * CLOCK_US)
#define CREDIT_NS (2 * CLOCK_MS)	/* a guest that was held up catches up this much, no more */

/*
 * The thread that runs flat out releases the lock for moments only: it lets others go first, who
 * would else wait for a chance hit.
 */
static void
lock(struct guest *g)
{
	__atomic_add_fetch(&g->waiting, 1, __ATOMIC_RELAXED);
	pthread_mutex_lock(&g->lock);
	__atomic_sub_fetch(&g->waiting, 1, __ATOMIC_RELAXED);
}

static void
lock_politely(struct guest *g)
{
	while (__atomic_load_n(&g->waiting, __ATOMIC_RELAXED) > 0)
		sched_yield();
	pthread_mutex_lock(&g->lock);
}

static void
unlock(struct guest *g)
{
	pthread_mutex_unlock(&g->lock);
}

/* ---- the guest's thread ---- */

static void
note_rx(struct guest *g, uint64_t now_ns)
{
	if (now_ns - g->last_rx_ns > g->silence_ns)
		g->silence_ns = now_ns - g->last_rx_ns;
	__atomic_store_n(&g->last_rx_ns, now_ns, __ATOMIC_RELEASE);
	if (__atomic_load_n(&g->first_rx_ns, __ATOMIC_RELAXED) == 0)
		__atomic_store_n(&g->first_rx_ns, now_ns, __ATOMIC_RELEASE);
}

static void
give_credit(struct guest *g, uint64_t now_ns)
{
	double most = (double)CREDIT_NS * g->pps / CLOCK_S;

	g->credit += (double)(now_ns - g->last_ns) * g->pps / CLOCK_S;
	g->last_ns = now_ns;
	if (most < 1)
		most = 1;
	if (g->credit > most)
		g->credit = most;
}

static unsigned int
send_some(struct guest *g, uint64_t now_ns)
{
	unsigned int sent;

	if (g->flat_out)
		return g->drain ? 0 : net_tx(&g->net, UINT_MAX);
	give_credit(g, now_ns);
	if (g->credit < 1 || g->drain)
		return 0;
	sent = net_tx(&g->net, g->credit);
	g->credit -= sent;
	return sent;
}

/* One look at the rings. Returns 0 or -EIO. */
static int
tick(struct guest *g)
{
	uint64_t now_ns = clock_ns();
	int seen = net_rx(&g->net, now_ns), ret;

	if (seen < 0)
		return seen;
	if (seen > 0)
		note_rx(g, now_ns);
	ret = net_reap(&g->net, now_ns);
	if (ret < 0)
		return ret;
	g->idle = send_some(g, now_ns) + seen > 0 ? 0 : g->idle + 1;
	return 0;
}

static uint64_t
time_to_sleep(const struct guest *g)
{
	uint64_t ns;

	if (g->flat_out)
		return g->idle < IDLE_LOOKS ? NO_REST_NS : NAP_NS;
	ns = g->credit >= 1 ? 0 : (1 - g->credit) * CLOCK_S / g->pps;
	if (ns < GUEST_TICK_NS || net_outstanding(&g->net) > 0)
		return GUEST_TICK_NS;
	return ns < IDLE_NS ? ns : IDLE_NS;
}

/* Take a turn. Returns how long to rest, and what may cut it short; 0: not running. */
static uint64_t
turn(struct guest *g, struct pollfd *fds)
{
	uint64_t ns = 0;
	uint16_t i;

	lock_politely(g);
	if (g->want == GUEST_RUNNING && !g->broken) {
		if (g->last_ns == 0) {
			g->last_ns = clock_ns();
			g->credit = 0;
			net_kick_all(&g->net);
		}
		if (tick(g) == 0)
			ns = time_to_sleep(g);
		else
			__atomic_store_n(&g->broken, true, __ATOMIC_RELEASE);
		for (i = 0; i < g->net.cfg.pairs; i++)
			fds[i] = (struct pollfd){ .fd = g->net.pair[i].rx.call_fd,
				.events = POLLIN };
	}
	unlock(g);
	return ns;
}

static void
rest(const struct guest *g, uint64_t ns, struct pollfd *fds)
{
	struct timespec ts = { .tv_sec = 0, .tv_nsec = ns };

	if (ns == NO_REST_NS)
		return;
	if (g->net.cfg.interrupts)
		ppoll(fds, g->net.cfg.pairs, &ts, NULL);
	else
		nanosleep(&ts, NULL);
}

static bool
gone(struct guest *g)
{
	bool yes;

	lock_politely(g);
	yes = g->want == GUEST_GONE;
	unlock(g);
	return yes;
}

static void
wait_ctl(const struct guest *g)
{
	struct pollfd pfd = { .fd = g->ctl_fd, .events = POLLIN };
	uint64_t count;

	if (poll(&pfd, 1, -1) > 0 && read(g->ctl_fd, &count, sizeof(count)) < 0)
		return;		/* EAGAIN: nothing to be had, look at want again */
}

static int
guest_main(void *arg)
{
	struct guest *g = arg;

	prctl(PR_SET_TIMERSLACK, TIMER_SLACK_NS);
	while (!gone(g)) {
		uint64_t ns = turn(g, g->fds);

		if (ns > 0)
			rest(g, ns, g->fds);
		else
			wait_ctl(g);
	}
	return 0;
}

static void *
guest_thread(void *arg)
{
	const struct guest *g = arg;

	/* Best effort: at worst it shares the CPU of its creator. */
	pthread_setaffinity_np(pthread_self(), sizeof(g->cpus), &g->cpus);
	guest_main(arg);
	return NULL;
}

/* ---- its master ---- */

static int
start_thread(struct guest *g)
{
	int ret;

	g->lcore = rte_get_next_lcore(-1, 1, 0);
	g->on_lcore = g->lcore < RTE_MAX_LCORE;
	if (g->on_lcore)
		return rte_eal_remote_launch(guest_main, g, g->lcore);
	ret = pthread_create(&g->thread, NULL, guest_thread, g);
	return -ret;
}

int
guest_create(struct guest *g, const struct net_cfg *cfg, const struct layout *layout,
		uint32_t pps, const cpu_set_t *cpus)
{
	int ret;

	*g = (struct guest){ .pps = pps, .want = GUEST_PAUSED, .cpus = *cpus,
		.lock = PTHREAD_MUTEX_INITIALIZER };
	ret = net_init(&g->net, cfg, layout);
	if (ret != 0)
		return ret;
	g->fds = calloc(cfg->pairs, sizeof(*g->fds));
	if (g->fds == NULL) {
		ret = -ENOMEM;
		goto err_net;
	}
	g->ctl_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (g->ctl_fd < 0) {
		ret = -errno;
		goto err_fds;
	}
	ret = start_thread(g);
	if (ret != 0)
		goto err_ctl;
	return 0;

err_ctl:
	close(g->ctl_fd);
err_fds:
	free(g->fds);
err_net:
	net_fini(&g->net);
	return ret;
}

static void
set_want(struct guest *g, enum guest_want want)
{
	uint64_t one = 1;

	lock(g);
	g->want = want;
	g->last_ns = 0;
	g->drain = false;
	unlock(g);
	if (write(g->ctl_fd, &one, sizeof(one)) < 0)
		return;		/* EAGAIN: it will not miss the wakes before */
}

void
guest_destroy(struct guest *g)
{
	set_want(g, GUEST_GONE);
	if (g->on_lcore)
		rte_eal_wait_lcore(g->lcore);
	else
		pthread_join(g->thread, NULL);
	close(g->ctl_fd);
	free(g->fds);
	net_fini(&g->net);
}

void
guest_resume(struct guest *g)
{
	__atomic_store_n(&g->first_rx_ns, 0, __ATOMIC_RELAXED);
	set_want(g, GUEST_RUNNING);
}

void
guest_pause(struct guest *g)
{
	set_want(g, GUEST_PAUSED);
}

bool
guest_drain(struct guest *g, uint64_t timeout_ns)
{
	uint64_t end = clock_ns() + timeout_ns;
	uint32_t left;

	do {
		lock(g);
		g->drain = true;
		left = net_outstanding(&g->net);
		unlock(g);
		if (left == 0)
			return true;
		clock_sleep_ns(GUEST_TICK_NS);
	} while (clock_ns() < end && !guest_broken(g));
	return false;
}

void
guest_set_flat_out(struct guest *g, bool on)
{
	lock(g);
	g->flat_out = on;
	g->idle = 0;
	unlock(g);
}

void
guest_set_pps(struct guest *g, uint32_t pps)
{
	lock(g);
	g->pps = pps;
	g->credit = 0;
	unlock(g);
}

void
guest_set_sending(struct guest *g, unsigned int vq, bool on)
{
	lock(g);
	if (vq % 2 == 1)
		g->net.pair[vq / 2].tx_off = !on;
	unlock(g);
}

void
guest_go_one_way(struct guest *g)
{
	lock(g);
	net_go_one_way(&g->net);
	unlock(g);
}

void
guest_track(struct guest *g, struct dirty_log *log)
{
	lock(g);
	net_track(&g->net, log);
	unlock(g);
}

void
guest_disturb(struct guest *g)
{
	lock(g);
	net_disturb(&g->net, clock_ns());
	g->silence_ns = 0;
	unlock(g);
}

void
guest_use_plug(struct guest *g, const struct mem_file *plug)
{
	lock(g);
	net_use_plug(&g->net, plug);
	unlock(g);
}

uint64_t
guest_silence_ns(struct guest *g)
{
	uint64_t ns;

	lock(g);
	ns = g->silence_ns;
	unlock(g);
	return ns;
}

void
guest_set_active(struct guest *g, uint16_t pairs)
{
	__atomic_store_n(&g->net.active, pairs, __ATOMIC_RELEASE);
}

uint64_t
guest_first_rx(const struct guest *g)
{
	return __atomic_load_n(&g->first_rx_ns, __ATOMIC_ACQUIRE);
}

uint64_t
guest_last_rx(const struct guest *g)
{
	return __atomic_load_n(&g->last_rx_ns, __ATOMIC_ACQUIRE);
}

bool
guest_broken(const struct guest *g)
{
	return __atomic_load_n(&g->broken, __ATOMIC_ACQUIRE);
}
