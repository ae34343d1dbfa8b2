/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A folder that looks like the parts of sysfs which drivers read of an RDMA device:
 *
 *   devices/<PCI address>/                        uevent, vendor, device, numa_node, driver, ...
 *   devices/<PCI address>/infiniband/<name>/      node_guid, fw_ver, ..., device -> ../..
 *   infiniband/<name> -> the former               (sysfs: /sys/class/infiniband)
 *   infiniband_verbs/uverbs<n>/                   ibdev, abi_version, device -> the PCI folder
 *
 * Used by mlx5-emu-run, which puts it into a mount namespace of its own, and by the library
 * where that is not permitted. No state; any thread.
 */
#ifndef EMU_SYSFS_H
#define EMU_SYSFS_H

#include <stddef.h>
#include <stdint.h>

#include "emu.h"

/** PCI device id of a model's virtual function. */
uint16_t emu_sysfs_pci_device(const struct emu_dev_config *cfg);
/** GUID of the device, host order: EUI-64 of its MAC. */
uint64_t emu_sysfs_guid(const struct emu_dev_config *cfg);

/* Ids of Mellanox: IEEE's, of verbs, and PCI's. */
enum { EMU_VENDOR_OUI = 0x02c9, EMU_VENDOR_PCI = 0x15b3 };

/** Add device number @p index to the folder @p root, which exists. Returns 0 or a negative
 * errno. */
int emu_sysfs_add(const char *root, const struct emu_dev_config *cfg, unsigned int index);

/** Remove the folder and all in it. */
void emu_sysfs_remove(const char *root);

#endif /* EMU_SYSFS_H */
