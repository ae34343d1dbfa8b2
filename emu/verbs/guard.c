/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guarded copies. The fast path takes no lock and no atomic read-modify-write: a thread
 * publishes the entry that it uses with plain stores, and the waiting side, which is rare, pays
 * with membarrier(), which makes every thread's stores visible. Where that is missing, a fence
 * in the fast path does.
 */
#include <errno.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guard.h"

enum { JMP_WORDS = 5 };        /* size that __builtin_setjmp asks for */

struct emu_guard {
	_Atomic(const void *) entry;
	volatile sig_atomic_t armed;
	uintptr_t from, to;        /* host bytes of the copy under way: faults in them are ours */
	void *env[JMP_WORDS];
	atomic_bool used;          /* by a living thread */
	struct emu_guard *next;    /* records are never freed */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;   /* adding records, installing handlers */
static _Atomic(struct emu_guard *) guards;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t thread_end;
static bool have_membarrier;
/* The handler uses it, too: it must exist without an allocation. */
static __thread struct emu_guard *self __attribute__((tls_model("initial-exec")));

/* ---- signals ---- */

static const int signals[] = { SIGBUS, SIGSEGV };

#define NSIGNALS (sizeof(signals) / sizeof(signals[0]))

static struct sigaction program[NSIGNALS];   /* what was installed before */

/*
 * Handlers that pass a fault on can form a circle: the program's, installed after ours, passes on
 * to ours, which passes on to it since it was found installed. Each round is deeper in the stack
 * than the last; faults that the program's handler jumps out of are not.
 */
enum { ROUNDS_MAX = 8 };

static __thread unsigned int rounds __attribute__((tls_model("initial-exec")));
static __thread uintptr_t last_frame __attribute__((tls_model("initial-exec")));

static bool
in_circle(void)
{
	uintptr_t frame = (uintptr_t)__builtin_frame_address(0);

	rounds = rounds > 0 && frame < last_frame ? rounds + 1 : 1;
	last_frame = frame;
	return rounds > ROUNDS_MAX;
}

/* As if we were not there: call the program's handler, or die of the signal. */
static void
pass_on(int sig, siginfo_t *info, void *ucontext)
{
	const struct sigaction *sa = &program[sig == SIGBUS ? 0 : 1];

	if (sa->sa_handler == SIG_IGN && info->si_code <= 0)
		return; /* sent by a process; a fault can't be ignored */
	if (sa->sa_handler == SIG_DFL || sa->sa_handler == SIG_IGN || in_circle()) {
		signal(sig, SIG_DFL);
		/* A fault comes again by itself. */
		if (info->si_code <= 0)
			raise(sig);
		return;
	}
	if ((sa->sa_flags & SA_SIGINFO) != 0)
		sa->sa_sigaction(sig, info, ucontext);
	else
		sa->sa_handler(sig);
	rounds = 0;
}

static void
on_fault(int sig, siginfo_t *info, void *ucontext)
{
	struct emu_guard *g = self;
	uintptr_t at = (uintptr_t)info->si_addr;

	if (g != NULL && g->armed && info->si_code > 0 && at >= g->from && at < g->to) {
		g->armed = 0;
		__builtin_longjmp(g->env, 1);
	}
	pass_on(sig, info, ucontext);
}

void
emu_guard_install(void)
{
	/* A jump out of the handler restores no signal mask: it must not have changed. */
	struct sigaction sa = { .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK };
	struct sigaction now;
	size_t i;

	sa.sa_sigaction = on_fault;
	sigemptyset(&sa.sa_mask);
	pthread_mutex_lock(&lock);
	for (i = 0; i < NSIGNALS; i++) {
		sigaction(signals[i], NULL, &now);
		if (now.sa_sigaction == on_fault) {
			/* A program that puts back what signal() returned has lost the flags. */
			if ((now.sa_flags & SA_SIGINFO) != 0)
				continue;
		} else {
			program[i] = now;
		}
		sigaction(signals[i], &sa, NULL);
	}
	pthread_mutex_unlock(&lock);
}

void
emu_guard_forked(void)
{
	pthread_mutex_init(&lock, NULL);
}

/* ---- threads ---- */

static void
thread_ended(void *arg)
{
	struct emu_guard *g = arg;

	self = NULL;
	atomic_store(&g->used, false);
}

static bool
membarrier(int cmd)
{
	return syscall(SYS_membarrier, cmd, 0, 0) == 0;
}

static void
init(void)
{
	pthread_key_create(&thread_end, thread_ended);
	have_membarrier = membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
}

static struct emu_guard *
reuse_guard(void)
{
	struct emu_guard *g;
	bool unused = false;

	for (g = atomic_load(&guards); g != NULL; g = g->next) {
		if (atomic_compare_exchange_strong(&g->used, &unused, true))
			return g;
		unused = false;
	}
	return NULL;
}

struct emu_guard *
emu_guard_self(void)
{
	struct emu_guard *g = self;
	sigset_t ours;
	size_t i;

	if (g != NULL)
		return g;
	/* A thread that blocks all signals would die of a fault instead of being asked. */
	sigemptyset(&ours);
	for (i = 0; i < NSIGNALS; i++)
		sigaddset(&ours, signals[i]);
	pthread_sigmask(SIG_UNBLOCK, &ours, NULL);
	pthread_once(&once, init);
	g = reuse_guard();
	if (g == NULL) {
		g = calloc(1, sizeof(*g));
		if (g == NULL)
			return NULL;
		atomic_init(&g->used, true);
		pthread_mutex_lock(&lock);
		g->next = atomic_load(&guards);
		atomic_store(&guards, g);
		pthread_mutex_unlock(&lock);
	}
	pthread_setspecific(thread_end, g);
	self = g;
	return g;
}

void
emu_guard_enter(struct emu_guard *g, const void *entry)
{
	atomic_store_explicit(&g->entry, entry, memory_order_relaxed);
	if (have_membarrier)
		atomic_signal_fence(memory_order_seq_cst);
	else
		atomic_thread_fence(memory_order_seq_cst);
}

void
emu_guard_leave(struct emu_guard *g)
{
	atomic_store_explicit(&g->entry, NULL, memory_order_release);
}

void
emu_guard_wait(const void *from, const void *to)
{
	struct emu_guard *g;
	const void *e;

	pthread_once(&once, init);
	if (!have_membarrier || !membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED))
		atomic_thread_fence(memory_order_seq_cst);
	for (g = atomic_load(&guards); g != NULL; g = g->next) {
		for (;;) {
			e = atomic_load_explicit(&g->entry, memory_order_acquire);
			if (e < from || e >= to)
				break;
			sched_yield();
		}
	}
}

/* ---- copies ---- */

/* One load, if the access is a naturally aligned word. */
static bool
load_word(void *dst, const void *host, uint32_t len)
{
	uint64_t v64;
	uint32_t v32;
	uint16_t v16;

	if ((uintptr_t)host % len != 0)
		return false;
	switch (len) {
	case sizeof(v64):
		v64 = __atomic_load_n((const uint64_t *)host, __ATOMIC_ACQUIRE);
		memcpy(dst, &v64, sizeof(v64));
		return true;
	case sizeof(v32):
		v32 = __atomic_load_n((const uint32_t *)host, __ATOMIC_ACQUIRE);
		memcpy(dst, &v32, sizeof(v32));
		return true;
	case sizeof(v16):
		v16 = __atomic_load_n((const uint16_t *)host, __ATOMIC_ACQUIRE);
		memcpy(dst, &v16, sizeof(v16));
		return true;
	default:
		return false;
	}
}

static bool
store_word(void *host, const void *src, uint32_t len)
{
	uint64_t v64;
	uint32_t v32;
	uint16_t v16;

	if ((uintptr_t)host % len != 0)
		return false;
	switch (len) {
	case sizeof(v64):
		memcpy(&v64, src, sizeof(v64));
		__atomic_store_n((uint64_t *)host, v64, __ATOMIC_RELEASE);
		return true;
	case sizeof(v32):
		memcpy(&v32, src, sizeof(v32));
		__atomic_store_n((uint32_t *)host, v32, __ATOMIC_RELEASE);
		return true;
	case sizeof(v16):
		memcpy(&v16, src, sizeof(v16));
		__atomic_store_n((uint16_t *)host, v16, __ATOMIC_RELEASE);
		return true;
	default:
		return false;
	}
}

static void
load(void *dst, const void *host, uint32_t len)
{
	if (len <= sizeof(uint64_t) && load_word(dst, host, len))
		return;
	memcpy(dst, host, len);
	atomic_thread_fence(memory_order_acquire);
}

static void
store(void *host, const void *src, uint32_t len)
{
	if (len <= sizeof(uint64_t) && store_word(host, src, len))
		return;
	atomic_thread_fence(memory_order_release);
	memcpy(host, src, len);
}

int
emu_guard_copy(struct emu_guard *g, void *host, void *buf, uint32_t len, enum emu_guard_op op)
{
	/* From a fault in the copy, the handler comes back here. */
	if (__builtin_setjmp(g->env) != 0)
		return -EFAULT;
	g->from = (uintptr_t)host;
	g->to = (uintptr_t)host + len;
	g->armed = 1;
	atomic_signal_fence(memory_order_seq_cst);
	if (op == EMU_GUARD_LOAD)
		load(buf, host, len);
	else if (op == EMU_GUARD_STORE)
		store(host, buf, len);
	else
		__atomic_fetch_or((uint8_t *)host, *(const uint8_t *)buf, __ATOMIC_SEQ_CST);
	atomic_signal_fence(memory_order_seq_cst);
	g->armed = 0;
	return 0;
}
