/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How far a run is, on standard error: one line that is rewritten on a terminal, else a line every
 * few seconds. Runs of less than that show nothing. Main thread.
 */
#ifndef TEST_VDPA_PROGRESS_H
#define TEST_VDPA_PROGRESS_H

/** Show the state of things, if it is time to. Starts the clock when called first. */
__attribute__((format(printf, 1, 2)))
void progress_show(const char *fmt, ...);

/** Remove the line. */
void progress_end(void);

#endif /* TEST_VDPA_PROGRESS_H */
