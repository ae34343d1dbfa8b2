/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is not supported says so once. Any thread.
 */
#ifndef EMU_UNSUPPORTED_H
#define EMU_UNSUPPORTED_H

#include <stdatomic.h>

/** Say once (by @p said) that a function, or a way to use it, is not supported. Returns
 * -EOPNOTSUPP. */
int face_unsupported(atomic_flag *said, const char *what);

#define FACE_UNSUPPORTED(what) ({ \
		static atomic_flag said_ = ATOMIC_FLAG_INIT; \
		face_unsupported(&said_, what); \
	})

#endif /* EMU_UNSUPPORTED_H */
