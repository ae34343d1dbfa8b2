/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rte_common.h>

#include "dpdk_sdk.h"
#include "events.h"
#include "mlx5p_log.h"
#include "notifier.h"

/* How long a stop waits for the front-end's answer. One that works on something else needs not to
 * know that it delays us; more than this would be felt by the guest. */
#define ANSWER_MS 50

enum { NOBODY = -1 };

struct mlx5p_notifier {
	const char *name;
	pthread_mutex_t lock;
	pthread_cond_t wake;       /* of the thread: something is wanted, or it is to leave */
	pthread_cond_t idle;       /* of end(): no offer is under way */
	pthread_t thread;
	bool running, leave;
	int vid;                   /* whose queues run, NOBODY: none */
	bool useless;              /* this connection takes no offers */
	bool busy;                 /* an offer is under way */
	bool wanted[MLX5P_MAX_QUEUES];
	bool refused[MLX5P_MAX_QUEUES]; /* by any front-end: never offered again */
	uint32_t nwanted;
};

struct mlx5p_notifier *
mlx5p_notifier_create(const char *name)
{
	struct mlx5p_notifier *n = calloc(1, sizeof(*n));
	pthread_condattr_t attr;

	if (n == NULL)
		return NULL;
	n->name = name;
	n->vid = NOBODY;
	pthread_mutex_init(&n->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&n->wake, &attr);
	pthread_cond_init(&n->idle, &attr);
	pthread_condattr_destroy(&attr);
	return n;
}

/* ---- the thread ---- */

/* Take the next wanted queue, with the lock held. */
static uint16_t
take_wanted(struct mlx5p_notifier *n)
{
	uint16_t queue = 0;

	while (!n->wanted[queue])
		queue++;
	n->wanted[queue] = false;
	n->nwanted--;
	return queue;
}

static void
forget_wanted(struct mlx5p_notifier *n)
{
	memset(n->wanted, 0, sizeof(n->wanted));
	n->nwanted = 0;
}

/* One offer, with the lock held when it is called and when it returns. */
static void
offer(struct mlx5p_notifier *n, uint16_t queue)
{
	int ret, state, vid = n->vid;

	n->busy = true;
	pthread_mutex_unlock(&n->lock);
	/* Here and nowhere else the thread may be ended from outside. */
	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &state);
	ret = rte_vhost_host_notifier_ctrl(vid, queue, true);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	pthread_mutex_lock(&n->lock);
	n->busy = false;
	pthread_cond_signal(&n->idle);
	if (ret == 0) {
		MLX5P_LOG(INFO, n->name, "virtqueue %u: the guest rings the card itself", queue);
		return;
	}
	MLX5P_LOG(INFO, n->name, "virtqueue %u: the guest's kicks come through the driver: %s",
		queue, ret == -ENOTSUP ? "the front-end takes no host notifiers" :
		"the front-end refused its host notifier");
	/* What it is able to do was negotiated for the connection; what it refuses for one queue it
	 * may take for another. */
	if (ret == -ENOTSUP) {
		n->useless = true;
		forget_wanted(n);
	} else {
		n->refused[queue] = true;
	}
}

static void *
notifier_loop(void *arg)
{
	struct mlx5p_notifier *n = arg;
	int state;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	pthread_mutex_lock(&n->lock);
	while (!n->leave) {
		if (n->nwanted == 0)
			pthread_cond_wait(&n->wake, &n->lock);
		else
			offer(n, take_wanted(n));
	}
	pthread_mutex_unlock(&n->lock);
	return NULL;
}

/* With the lock held. */
static void
start_thread(struct mlx5p_notifier *n)
{
	sigset_t all, before;
	int ret;

	/* Signals are the application's: they are not for this thread. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	ret = pthread_create(&n->thread, NULL, notifier_loop, n);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (ret != 0) {
		MLX5P_LOG(WARNING, n->name, "no thread for host notifiers: %s", strerror(ret));
		n->useless = true;
		return;
	}
	n->running = true;
	pthread_setname_np(n->thread, "mlx5p-notifier");
}

/* ---- its users ---- */

void
mlx5p_notifier_begin(struct mlx5p_notifier *n, int vid)
{
	pthread_mutex_lock(&n->lock);
	n->vid = vid;
	pthread_mutex_unlock(&n->lock);
}

void
mlx5p_notifier_want(struct mlx5p_notifier *n, uint16_t queue)
{
	pthread_mutex_lock(&n->lock);
	if (n->vid != NOBODY && !n->useless && !n->wanted[queue] && !n->refused[queue]) {
		n->wanted[queue] = true;
		n->nwanted++;
		if (!n->running)
			start_thread(n);
		pthread_cond_signal(&n->wake);
	}
	pthread_mutex_unlock(&n->lock);
}

/* The thread waits for an answer that does not come: end it, with the lock held. */
static void
break_off(struct mlx5p_notifier *n)
{
	MLX5P_LOG(NOTICE, n->name, "the front-end does not answer: it gets no more host notifiers");
	n->leave = true; /* should the answer come at last */
	pthread_mutex_unlock(&n->lock);
	pthread_cancel(n->thread);
	pthread_join(n->thread, NULL);
	pthread_mutex_lock(&n->lock);
	n->leave = false;
	n->running = false;
	n->busy = false;
	n->useless = true;
}

void
mlx5p_notifier_end(struct mlx5p_notifier *n)
{
	struct timespec until;
	int ret = 0;

	pthread_mutex_lock(&n->lock);
	n->vid = NOBODY;
	forget_wanted(n);
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += ANSWER_MS * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	while (n->busy && ret == 0)
		ret = pthread_cond_timedwait(&n->idle, &n->lock, &until);
	if (n->busy)
		break_off(n);
	pthread_mutex_unlock(&n->lock);
}

void
mlx5p_notifier_forget(struct mlx5p_notifier *n)
{
	pthread_mutex_lock(&n->lock);
	n->useless = false;
	pthread_mutex_unlock(&n->lock);
}

void
mlx5p_notifier_destroy(struct mlx5p_notifier *n)
{
	if (n == NULL)
		return;
	pthread_mutex_lock(&n->lock);
	n->leave = true;
	pthread_cond_signal(&n->wake);
	pthread_mutex_unlock(&n->lock);
	if (n->running)
		pthread_join(n->thread, NULL);
	pthread_cond_destroy(&n->idle);
	pthread_cond_destroy(&n->wake);
	pthread_mutex_destroy(&n->lock);
	free(n);
}
