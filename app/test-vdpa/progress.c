/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include "clock.h"
#include "progress.h"

#define FIRST_NS (2 * CLOCK_S)
#define TERMINAL_NS (100 * CLOCK_MS)
#define FILE_NS (5 * CLOCK_S)
#define CLEAR_LINE "\r\033[K"

static uint64_t next_ns;	/* when to show something again; 0: never called */
static bool shown;		/* there is a line to be removed */

void
progress_show(const char *fmt, ...)
{
	bool terminal = isatty(STDERR_FILENO);
	uint64_t now = clock_ns();
	va_list ap;

	if (next_ns == 0)
		next_ns = now + FIRST_NS;
	if (now < next_ns)
		return;
	next_ns = now + (terminal ? TERMINAL_NS : FILE_NS);
	if (terminal)
		fputs(CLEAR_LINE, stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	if (!terminal)
		fputc('\n', stderr);
	fflush(stderr);
	shown = terminal;
}

void
progress_end(void)
{
	if (shown)
		fputs(CLEAR_LINE, stderr);
	shown = false;
	next_ns = 0;
}
