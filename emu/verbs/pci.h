/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The emulated devices among the PCI functions of the machine, for programs that scan sysfs.
 *
 * Owns: what covers /sys/bus/pci/devices in a mount namespace. Used by mlx5-emu-run, which has
 * made that namespace before; the mounts go with it. One thread; no locks.
 */
#ifndef EMU_PCI_H
#define EMU_PCI_H

#include "emu.h"

/**
 * Cover /sys/bus/pci/devices, or what there is of that path, by a folder that shows what was there
 * and the folders devices/<PCI address> of @p root (sysfs.h), which is in a file system of the
 * namespace's own. A function of the machine with an emulated device's address is hidden.
 * Returns 0 or a negative errno, with what of it failed in @p err.
 */
int emu_pci_show(const char *root, const struct emu_dev_config *devs, unsigned int n, char *err,
		size_t errlen);

#endif /* EMU_PCI_H */
