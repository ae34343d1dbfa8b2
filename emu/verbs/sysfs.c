/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sysfs.h"

enum {
	/* "ConnectX Family mlx5Gen Virtual Function" (pci.ids; DPDK: CONNECTXVF), of every model. */
	PCI_ID_VF = 0x101e,
	PCI_CLASS_ETHERNET = 0x020000,
	PCI_SUBSYSTEM = 0x0043,
	PCI_RESOURCES = 13,        /* Linux: six BARs, the ROM, six of SR-IOV */
	VERBS_ABI = 1,
	/* Paths: of the PCI folder and of a uverbs one, of the RDMA device's in it, of a file. */
	SHORT_LEN = 64,
	IB_LEN = 192,
	PATH_LEN = 256,
	TEXT_LEN = 1024,
};

uint16_t
emu_sysfs_pci_device(const struct emu_dev_config *cfg)
{
	(void)cfg;
	return PCI_ID_VF;
}

uint64_t
emu_sysfs_guid(const struct emu_dev_config *cfg)
{
	const uint8_t *m = cfg->mac;

	return (uint64_t)(m[0] ^ 0x02) << 56 | (uint64_t)m[1] << 48 | (uint64_t)m[2] << 40 |
		UINT64_C(0xfffe) << 24 | (uint64_t)m[3] << 16 | (uint64_t)m[4] << 8 | m[5];
}

/* A folder that files are added to; the first error sticks, and the rest is skipped. */
struct dir {
	int fd;
	int rc;
};

static void
sub_dir(struct dir *d, const char *path)
{
	if (d->rc == 0 && mkdirat(d->fd, path, 0755) != 0 && errno != EEXIST)
		d->rc = -errno;
}

static void
sub_link(struct dir *d, const char *path, const char *target)
{
	if (d->rc == 0 && symlinkat(target, d->fd, path) != 0)
		d->rc = -errno;
}

static void __attribute__((format(printf, 4, 5)))
sub_file(struct dir *d, const char *folder, const char *name, const char *format, ...)
{
	char path[PATH_LEN], text[TEXT_LEN];
	va_list args;
	int fd, len;

	if (d->rc != 0)
		return;
	va_start(args, format);
	len = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = openat(d->fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, text, (size_t)len) != len)
		d->rc = errno != 0 ? -errno : -EIO;
	if (fd >= 0)
		close(fd);
}

/* Memory that others could map: none. The device's is reached through its RDMA device. */
static void
add_resources(struct dir *d, const char *pci)
{
	static const char none[] = "0x0000000000000000 0x0000000000000000 0x0000000000000000\n";
	char text[PCI_RESOURCES * sizeof(none)] = "";
	unsigned int i;

	for (i = 0; i < PCI_RESOURCES; i++)
		strcat(text, none);
	sub_file(d, pci, "resource", "%s", text);
}

/* What a PCI function shows. */
static void
add_pci(struct dir *d, const struct emu_dev_config *cfg, const char *pci)
{
	unsigned int device = emu_sysfs_pci_device(cfg);
	char path[PATH_LEN];

	sub_dir(d, "devices");
	sub_dir(d, pci);
	sub_file(d, pci, "vendor", "0x%04x\n", EMU_VENDOR_PCI);
	sub_file(d, pci, "device", "0x%04x\n", device);
	sub_file(d, pci, "subsystem_vendor", "0x%04x\n", EMU_VENDOR_PCI);
	sub_file(d, pci, "subsystem_device", "0x%04x\n", PCI_SUBSYSTEM);
	sub_file(d, pci, "class", "0x%06x\n", PCI_CLASS_ETHERNET);
	sub_file(d, pci, "revision", "0x00\n");
	sub_file(d, pci, "numa_node", "0\n");
	sub_file(d, pci, "max_vfs", "0\n");
	sub_file(d, pci, "uevent", "DRIVER=mlx5_core\nPCI_CLASS=%X\nPCI_ID=%04X:%04X\n"
		"PCI_SUBSYS_ID=%04X:%04X\nPCI_SLOT_NAME=%s\n", PCI_CLASS_ETHERNET, EMU_VENDOR_PCI,
		device, EMU_VENDOR_PCI, PCI_SUBSYSTEM, cfg->bdf);
	/* RoCE is on until somebody writes 0, as with Linux's mlx5_core before devlink. */
	sub_file(d, pci, "roce_enable", "1\n");
	add_resources(d, pci);
	snprintf(path, sizeof(path), "%s/driver", pci);
	sub_link(d, path, "/sys/bus/pci/drivers/mlx5_core");
}

/* What the RDMA device shows. */
static void
add_ib(struct dir *d, const struct emu_dev_config *cfg, const char *pci, const char *ib)
{
	char path[PATH_LEN], target[PATH_LEN];
	uint64_t g = emu_sysfs_guid(cfg);

	snprintf(path, sizeof(path), "%s/infiniband", pci);
	sub_dir(d, path);
	sub_dir(d, ib);
	sub_file(d, ib, "node_type", "1: CA\n");
	sub_file(d, ib, "fw_ver", "%s\n", emu_model_find(cfg->model)->fw_ver);
	sub_file(d, ib, "hca_type", "MT%u\n", emu_sysfs_pci_device(cfg));
	sub_file(d, ib, "node_guid", "%04" PRIx64 ":%04" PRIx64 ":%04" PRIx64 ":%04" PRIx64 "\n",
		g >> 48, g >> 32 & 0xffff, g >> 16 & 0xffff, g & 0xffff);
	snprintf(path, sizeof(path), "%s/device", ib);
	sub_link(d, path, "../..");
	sub_dir(d, "infiniband");
	snprintf(path, sizeof(path), "infiniband/%s", cfg->name);
	snprintf(target, sizeof(target), "../%s", ib);
	sub_link(d, path, target);
}

int
emu_sysfs_add(const char *root, const struct emu_dev_config *cfg, unsigned int index)
{
	char pci[SHORT_LEN], ib[IB_LEN], uverbs[SHORT_LEN];
	char path[PATH_LEN], target[PATH_LEN];
	struct dir d = { .fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC) };

	if (d.fd < 0)
		return -errno;
	snprintf(pci, sizeof(pci), "devices/%s", cfg->bdf);
	snprintf(ib, sizeof(ib), "%s/infiniband/%s", pci, cfg->name);
	snprintf(uverbs, sizeof(uverbs), "infiniband_verbs/uverbs%u", index);
	add_pci(&d, cfg, pci);
	add_ib(&d, cfg, pci, ib);
	sub_dir(&d, "infiniband_verbs");
	sub_dir(&d, uverbs);
	sub_file(&d, uverbs, "ibdev", "%s\n", cfg->name);
	sub_file(&d, uverbs, "abi_version", "%d\n", VERBS_ABI);
	snprintf(path, sizeof(path), "%s/device", uverbs);
	snprintf(target, sizeof(target), "../../%s", pci);
	sub_link(&d, path, target);
	close(d.fd);
	return d.rc;
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	remove(path);
	return 0;
}

void
emu_sysfs_remove(const char *root)
{
	enum { MAX_FDS = 8 };

	nftw(root, remove_one, MAX_FDS, FTW_DEPTH | FTW_PHYS);
}
