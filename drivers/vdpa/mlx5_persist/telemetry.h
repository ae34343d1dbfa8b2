/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What DPDK's telemetry shows of our devices, over its socket:
 *
 *	/mlx5_persist/list				names of the devices
 *	/mlx5_persist/info,DEVICE			the card, arguments, state and totals
 *	/mlx5_persist/pins,DEVICE[,FIRST]		layer 1, figures and pins
 *	/mlx5_persist/iotlb,DEVICE[,FIRST[,ASID]]	layer 2, figures and maps
 *	/mlx5_persist/drop,DEVICE			unpin what waits for a front-end, now
 *
 * A reply holds one page of a table, from number FIRST on (0 unless told), and says how many rows
 * it leaves off and where the next page begins. What can't be answered is answered by a dictionary
 * with the key "error" alone.
 *
 * Owns: the commands, from the program's start to its end. Nobody calls it but telemetry, on
 * threads of its own; a device that they look at is not removed meanwhile.
 */
#ifndef MLX5P_TELEMETRY_H
#define MLX5P_TELEMETRY_H

/* Rows of a table in one reply: the library cuts a reply at 16 KiB, and says nothing. */
#define MLX5P_TELEMETRY_PAGE 64

/* Devices in a list: likewise. */
#define MLX5P_TELEMETRY_DEVICES 128

#endif /* MLX5P_TELEMETRY_H */
