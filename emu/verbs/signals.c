/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The program's own handlers of faults: sigaction() and signal() in the place of the C library's,
 * which they call. All they do is to remember that the guard's handlers may be covered.
 */
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>

#include "guard.h"

typedef int (*sigaction_fn)(int sig, const struct sigaction *act, struct sigaction *old);
typedef void (*handler_fn)(int sig);
typedef handler_fn (*signal_fn)(int sig, handler_fn handler);

static atomic_bool changed;

bool
emu_guard_covered(void)
{
	return atomic_load_explicit(&changed, memory_order_relaxed) &&
		atomic_exchange(&changed, false);
}

static void
note(int sig)
{
	if (sig == SIGBUS || sig == SIGSEGV)
		atomic_store(&changed, true);
}

int
sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
	static _Atomic(sigaction_fn) next;
	sigaction_fn fn = atomic_load(&next);
	int rc;

	if (fn == NULL) {
		*(void **)&fn = dlsym(RTLD_NEXT, "sigaction");
		atomic_store(&next, fn);
	}
	if (fn == NULL) {
		errno = ENOSYS;
		return -1;
	}
	rc = fn(sig, act, old);
	if (rc == 0 && act != NULL)
		note(sig);
	return rc;
}

handler_fn
signal(int sig, handler_fn handler)
{
	static _Atomic(signal_fn) next;
	signal_fn fn = atomic_load(&next);
	handler_fn before;

	if (fn == NULL) {
		*(void **)&fn = dlsym(RTLD_NEXT, "signal");
		atomic_store(&next, fn);
	}
	if (fn == NULL) {
		errno = ENOSYS;
		return SIG_ERR;
	}
	before = fn(sig, handler);
	if (before != SIG_ERR)
		note(sig);
	return before;
}
