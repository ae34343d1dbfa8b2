/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernel's network interface of the card's function.
 *
 * Owns: nothing; the interface is the kernel driver's. The function has one MTU, whoever uses it,
 * so a guest that was promised one (VIRTIO_NET_F_MTU) gets it by way of the interface, as with
 * NVIDIA's driver.
 */
#ifndef MLX5P_NETDEV_H
#define MLX5P_NETDEV_H

#include <net/if.h>
#include <stdint.h>

/** Name of the interface of the function at @p sysfs ("/sys/class/infiniband/mlx5_0/device");
 * empty when it has none, as in a namespace that the interface was moved out of. */
void mlx5p_netdev_find(const char *sysfs, char name[IF_NAMESIZE]);

/** Give the interface that MTU, unless it has it. @return 0 or a negative errno. */
int mlx5p_netdev_set_mtu(const char *name, uint16_t mtu);

#endif /* MLX5P_NETDEV_H */
