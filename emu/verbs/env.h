/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What mlx5-emu-run tells the library that it preloads: names of environment variables. Children
 * of the command inherit them, so that a program started by a script finds devices as well.
 */
#ifndef EMU_ENV_H
#define EMU_ENV_H

/* --device, as given, joined by the separator; unset: one default device. */
#define EMU_ENV_DEVICES "MLX5_EMU_DEVICES"
/* --fail, likewise. */
#define EMU_ENV_FAIL "MLX5_EMU_FAIL"
/* --latency. */
#define EMU_ENV_LATENCY "MLX5_EMU_LATENCY"
/* --report, --trace: absolute paths. */
#define EMU_ENV_REPORT "MLX5_EMU_REPORT"
#define EMU_ENV_TRACE "MLX5_EMU_TRACE"
/* --check. */
#define EMU_ENV_CHECK "MLX5_EMU_CHECK"
/* The folder that stands in for sysfs; unset: the library makes one. */
#define EMU_ENV_SYSFS "MLX5_EMU_SYSFS"

#define EMU_ENV_SEPARATOR ";"

/* The values of --check. */
#define EMU_CHECK_ORPHANS "orphans"

enum { EMU_DEVICES_MAX = 64 };

#endif /* EMU_ENV_H */
