/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The device's thread: doorbells in, packets through, commands past.
 *
 * It works in turns. A turn holds dev->lock: it takes doorbells and what waits at the wire's end,
 * serves every ready queue once with at most EMU_BURST packets, and publishes what was
 * received. Between turns commands have the lock first. With nothing to do it looks at the doorbell
 * words without the lock: for a while without a pause, then with pauses that grow. A queue that
 * becomes ready ends a pause, for its doorbell is about to be rung; so does a frame of a pair.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>

#include "engine.h"
#include "pair.h"

enum {
	NS_PER_US = 1000,
	NS_PER_S = 1000 * 1000 * NS_PER_US,
	/* A queue that sent something is looked at again for this long without a doorbell, as the
	 * card does: a driver that fills its ring meanwhile is served sooner. */
	GRACE_NS = 50 * NS_PER_US,
	/* Doorbells are awaited without a pause for this long, then with pauses of a quarter of the
	 * time that nothing happened: a first packet waits for no longer than that. A pause costs
	 * some 20 us of CPU time in a virtual machine: with the longest one an idle device uses
	 * about 1 % of a core. */
	SPIN_NS = 50 * NS_PER_US,
	NAP_SHARE = 4,
	NAP_MIN_NS = 50 * NS_PER_US,
	NAP_MAX_NS = 2000 * NS_PER_US,
	/* Commands go first, but not for ever: packets move under an endless stream of them. */
	YIELD_NS = 1000 * NS_PER_US,
	TIMER_SLACK_NS = 1,
	THREAD_NAME = 16,
};

static uint64_t
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* ---- doorbells ---- */

static uint32_t *
doorbell(const struct emu_dev *dev, uint64_t off)
{
	return (uint32_t *)(dev->bar + off);
}

/* Is there a doorbell that nobody has looked at? */
static bool
doorbell_rung(const struct emu_dev *dev)
{
	uint64_t off;

	for (off = EMU_BAR_DOORBELL_OFF; off < dev->bar_len; off += UINT64_C(1) << EMU_LOG_VAR) {
		if (__atomic_load_n(doorbell(dev, off), __ATOMIC_RELAXED) != EMU_DOORBELL_IDLE)
			return true;
	}
	return false;
}

/* All queues write one word: which of them rang last says nothing about the others. Every queue
 * that is ready counts as rung, the transmit queues are scanned. */
static bool
take_doorbells(struct emu_engine *eng)
{
	struct emu_dev *dev = eng->dev;
	struct emu_virtq *vq;
	bool rung = false;
	uint64_t off;

	for (off = EMU_BAR_DOORBELL_OFF; off < dev->bar_len; off += UINT64_C(1) << EMU_LOG_VAR) {
		if (__atomic_load_n(doorbell(dev, off), __ATOMIC_RELAXED) != EMU_DOORBELL_IDLE)
			rung |= __atomic_exchange_n(doorbell(dev, off), EMU_DOORBELL_IDLE,
				__ATOMIC_ACQ_REL) != EMU_DOORBELL_IDLE;
	}
	if (!rung)
		return false;
	TAILQ_FOREACH(vq, &eng->ready, ready_link) {
		vq->rung = true;
		vq->scan = true;
	}
	return true;
}

/* ---- queues ---- */

void
emu_engine_add(struct emu_virtq *vq)
{
	struct emu_engine *eng = vq->obj.dev->engine;

	/* A doorbell that was rung before is not this queue's, but still the others'. */
	if (take_doorbells(eng))
		atomic_store(&eng->recall, true);
	vq->rung = false;
	vq->scan = false;
	vq->poll_until = 0;
	if (vq->event_owed)
		atomic_fetch_add(&eng->npending, 1);
	TAILQ_INSERT_TAIL(&eng->ready, vq, ready_link);
	eng->nready++;
	emu_engine_wake(eng->dev);
}

void
emu_engine_remove(struct emu_virtq *vq)
{
	struct emu_engine *eng = vq->obj.dev->engine;

	if (vq->event_owed)
		atomic_fetch_sub(&eng->npending, 1);
	if (vq->filled)
		TAILQ_REMOVE(&eng->filled, vq, filled_link);
	vq->filled = false;
	TAILQ_REMOVE(&eng->ready, vq, ready_link);
	eng->nready--;
}

void
emu_engine_fill(struct emu_virtq *vq)
{
	if (vq->filled)
		return;
	vq->filled = true;
	TAILQ_INSERT_TAIL(&vq->obj.dev->engine->filled, vq, filled_link);
}

static void
publish_received(struct emu_engine *eng)
{
	struct emu_virtq *vq;

	while ((vq = TAILQ_FIRST(&eng->filled)) != NULL) {
		TAILQ_REMOVE(&eng->filled, vq, filled_link);
		vq->filled = false;
		emu_ring_publish(vq);
	}
}

/* True if the queue wants another turn soon. */
static bool
serve(struct emu_engine *eng, struct emu_virtq *vq, uint64_t now)
{
	if (vq->event_owed)
		emu_virtq_notify(vq);
	if (!emu_virtq_is_tx(vq) || (!vq->scan && now >= vq->poll_until))
		return false;
	vq->scan = emu_virtq_tx(vq, EMU_BURST) > 0;
	publish_received(eng);
	if (vq->scan)
		vq->poll_until = now + GRACE_NS;
	return true;
}

/* ---- turns ---- */

static void
turn(struct emu_engine *eng)
{
	struct emu_dev *dev = eng->dev;
	uint64_t now = now_ns();
	struct emu_virtq *vq;
	unsigned int n;

	if (dev->host_ops->begin != NULL)
		dev->host_ops->begin(dev->host);
	emu_cq_poll_arms(dev);
	eng->busy = atomic_exchange(&eng->recall, false);
	eng->busy |= take_doorbells(eng);
	if (emu_wire_poll(dev, EMU_BURST, now)) {
		publish_received(eng);
		eng->busy = true;
	}
	/* A queue that fails leaves the list: its place is taken, not walked past. */
	for (n = eng->nready; n > 0 && (vq = TAILQ_FIRST(&eng->ready)) != NULL; n--) {
		TAILQ_REMOVE(&eng->ready, vq, ready_link);
		TAILQ_INSERT_TAIL(&eng->ready, vq, ready_link);
		eng->busy |= serve(eng, vq, now);
		if (atomic_load_explicit(&dev->lock_waiters, memory_order_relaxed) > 0) {
			/* The queues that were not served are the first of the next turn. */
			eng->busy |= n > 1;
			break;
		}
	}
}

static void
cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#else
	atomic_signal_fence(memory_order_seq_cst);
#endif
}

static void
lock_after_commands(struct emu_dev *dev)
{
	uint64_t start;

	if (atomic_load(&dev->lock_waiters) > 0) {
		start = now_ns();
		while (atomic_load(&dev->lock_waiters) > 0 && now_ns() - start < YIELD_NS)
			sched_yield();
	}
	pthread_mutex_lock(&dev->lock);
}

/* Something to do, as far as can be seen without the lock. */
static bool
called(struct emu_engine *eng)
{
	return doorbell_rung(eng->dev) || emu_uar_rung(eng->dev, &eng->uars) ||
		emu_wire_pending(eng->dev) ||
		atomic_load_explicit(&eng->npending, memory_order_relaxed) > 0 ||
		atomic_load_explicit(&eng->recall, memory_order_relaxed);
}

/* Sleep until somebody wakes the thread, and then true, or the time is over. */
static bool
nap(struct emu_engine *eng, uint64_t until)
{
	const struct timespec ts = {
		.tv_sec = (time_t)(until / NS_PER_S),
		.tv_nsec = (long)(until % NS_PER_S),
	};

	if (sem_clockwait(&eng->wake, CLOCK_MONOTONIC, &ts) != 0)
		return false;
	/* One reason to wake up is as good as several. */
	while (sem_trywait(&eng->wake) == 0)
		continue;
	return true;
}

static void *
engine_main(void *arg)
{
	struct emu_engine *eng = arg;
	uint64_t idle_since = now_ns(), now = idle_since, pause, until, due;
	bool busy = false, woken;

	prctl(PR_SET_TIMERSLACK, TIMER_SLACK_NS);
	while (!atomic_load_explicit(&eng->stop, memory_order_relaxed)) {
		if (busy || now >= emu_wire_due(eng->dev) || called(eng)) {
			lock_after_commands(eng->dev);
			turn(eng);
			busy = eng->busy;
			pthread_mutex_unlock(&eng->dev->lock);
		}
		now = now_ns();
		if (busy) {
			idle_since = now;
		} else if (now - idle_since < SPIN_NS) {
			cpu_relax();
		} else {
			pause = (now - idle_since) / NAP_SHARE;
			pause = pause < NAP_MIN_NS ? NAP_MIN_NS : pause;
			until = now + (pause < NAP_MAX_NS ? pause : NAP_MAX_NS);
			due = emu_wire_due(eng->dev);
			woken = nap(eng, until < due ? until : due);
			now = now_ns();
			if (woken)
				idle_since = now;
		}
	}
	return NULL;
}

/* ---- start and stop ---- */

/* The thread is the device's, not the program's: it runs on any CPU whoever made it (DPDK pins its
 * threads to one each), with the default policy, and no signal of the program is handled on it.
 * Those that a bad access raises stay: the host's memory interface may catch them. */
static int
thread_create(struct emu_engine *eng)
{
	static const int synchronous[] = { SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGTRAP };
	char name[THREAD_NAME];
	sigset_t block, old;
	pthread_attr_t attr;
	cpu_set_t all;
	size_t i;
	int ret;

	ret = pthread_attr_init(&attr);
	if (ret != 0)
		return -ret;
	memset(&all, 0xff, sizeof(all));
	pthread_attr_setaffinity_np(&attr, sizeof(all), &all);
	pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED);
	sigfillset(&block);
	for (i = 0; i < sizeof(synchronous) / sizeof(synchronous[0]); i++)
		sigdelset(&block, synchronous[i]);
	pthread_sigmask(SIG_SETMASK, &block, &old);
	ret = pthread_create(&eng->thread, &attr, engine_main, eng);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	if (ret != 0)
		return -ret;
	snprintf(name, sizeof(name), "emu-%.10s", eng->dev->cfg.name);
	pthread_setname_np(eng->thread, name);
	return 0;
}

static void
engine_free(struct emu_dev *dev)
{
	sem_destroy(&dev->engine->wake);
	free(dev->engine);
	dev->engine = NULL;
}

int
emu_engine_start(struct emu_dev *dev)
{
	struct emu_engine *eng = calloc(1, sizeof(*eng));
	int ret;

	if (eng == NULL)
		return -ENOMEM;
	eng->dev = dev;
	TAILQ_INIT(&eng->ready);
	TAILQ_INIT(&eng->filled);
	TAILQ_INIT(&eng->steering.tables);
	sem_init(&eng->wake, 0, 0);
	dev->engine = eng;
	ret = thread_create(eng);
	if (ret != 0)
		engine_free(dev);
	return ret;
}

void
emu_engine_wake(struct emu_dev *dev)
{
	sem_post(&dev->engine->wake);
}

void
emu_engine_stop(struct emu_dev *dev)
{
	atomic_store(&dev->engine->stop, true);
	emu_engine_wake(dev);
	pthread_join(dev->engine->thread, NULL);
	/* Up to here the other device of a pair may wake the thread. */
	emu_pair_unplug(dev);
	engine_free(dev);
}
