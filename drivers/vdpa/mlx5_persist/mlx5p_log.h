/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Logging of the driver: log type pmd.vdpa.mlx5_persist, default level NOTICE. A line starts with
 * the device's name; errors are said once, at the place that knows what failed.
 */
#ifndef MLX5P_LOG_H
#define MLX5P_LOG_H

#include <rte_log.h>

extern int mlx5p_logtype;

#define MLX5P_LOG(level, name, fmt, ...) \
	rte_log(RTE_LOG_##level, mlx5p_logtype, "mlx5_persist: %s: " fmt "\n", name, ##__VA_ARGS__)

#endif /* MLX5P_LOG_H */
