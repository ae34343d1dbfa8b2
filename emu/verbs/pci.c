/* SPDX-License-Identifier: BSD-3-Clause */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pci.h"

#define PCI_DEVICES "/sys/bus/pci/devices"

/* A folder that takes another's place. */
struct cover {
	char place[PATH_MAX];      /* the nearest folder of PCI_DEVICES that is there */
	const char *rest;          /* of PCI_DEVICES below it: "" or "pci/devices" */
	char folder[PATH_MAX];     /* what will be shown there */
	char *err;
	size_t errlen;
};

static int
failed(struct cover *c, const char *path)
{
	int rc = -errno;

	snprintf(c->err, c->errlen, "%s: %s", path, strerror(-rc));
	return rc;
}

/* Kernels without PCI, and containers without sysfs, do not have all of the path. */
static int
find_place(struct cover *c)
{
	struct stat st;
	char *slash;

	strcpy(c->place, PCI_DEVICES);
	c->rest = "";
	while (stat(c->place, &st) != 0 || !S_ISDIR(st.st_mode)) {
		slash = strrchr(c->place, '/');
		if (slash == c->place) {
			errno = ENOENT;
			return failed(c, c->place);
		}
		*slash = '\0';
		c->rest = PCI_DEVICES + (slash - c->place) + 1;
	}
	return 0;
}

/* A link as it is: it is read at the place that it was read at before. Else the thing itself, which
 * stays what it was when something is mounted over the place. */
static int
show_entry(struct cover *c, const char *name)
{
	char from[PATH_MAX], to[PATH_MAX], target[PATH_MAX];
	struct stat st;
	ssize_t n;
	int fd;

	if (snprintf(from, sizeof(from), "%s/%s", c->place, name) >= (int)sizeof(from) ||
			snprintf(to, sizeof(to), "%s/%s", c->folder, name) >= (int)sizeof(to)) {
		errno = ENAMETOOLONG;
		return failed(c, name);
	}
	if (lstat(from, &st) != 0)
		return errno == ENOENT ? 0 : failed(c, from);
	if (S_ISLNK(st.st_mode)) {
		n = readlink(from, target, sizeof(target) - 1);
		if (n < 0)
			return errno == ENOENT ? 0 : failed(c, from);
		target[n] = '\0';
		return symlink(target, to) == 0 ? 0 : failed(c, to);
	}
	if (S_ISDIR(st.st_mode)) {
		if (mkdir(to, st.st_mode & ALLPERMS) != 0)
			return failed(c, to);
	} else {
		fd = open(to, O_WRONLY | O_CREAT | O_CLOEXEC, st.st_mode & ALLPERMS);
		if (fd < 0)
			return failed(c, to);
		close(fd);
	}
	return mount(from, to, NULL, MS_BIND | MS_REC, NULL) == 0 ? 0 : failed(c, from);
}

static int
show_old(struct cover *c)
{
	DIR *dir = opendir(c->place);
	struct dirent *entry;
	int rc = 0;

	if (dir == NULL)
		return failed(c, c->place);
	while (rc == 0 && (entry = readdir(dir)) != NULL) {
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			rc = show_entry(c, entry->d_name);
	}
	closedir(dir);
	return rc;
}

/* The folders of the path that the place lacks; @p path becomes the last one's. */
static int
make_rest(struct cover *c, char path[PATH_MAX])
{
	const char *part = c->rest;
	size_t len, n;

	strcpy(path, c->folder);
	while (*part != '\0') {
		n = strcspn(part, "/");
		len = strlen(path);
		if (len + 1 + n >= PATH_MAX) {
			errno = ENAMETOOLONG;
			return failed(c, path);
		}
		snprintf(path + len, PATH_MAX - len, "/%.*s", (int)n, part);
		if (mkdir(path, 0755) != 0)
			return failed(c, path);
		part += n + (part[n] == '/');
	}
	return 0;
}

static int
show_new(struct cover *c, const char *root, const struct emu_dev_config *devs, unsigned int n)
{
	char devices[PATH_MAX], link[PATH_MAX + sizeof(devs->bdf)], target[PATH_MAX];
	unsigned int i;
	int rc;

	rc = make_rest(c, devices);
	for (i = 0; rc == 0 && i < n; i++) {
		snprintf(link, sizeof(link), "%s/%s", devices, devs[i].bdf);
		snprintf(target, sizeof(target), "%s/devices/%s", root, devs[i].bdf);
		if (unlink(link) != 0 && errno != ENOENT)
			rc = failed(c, link);
		else if (symlink(target, link) != 0)
			rc = failed(c, link);
	}
	return rc;
}

int
emu_pci_show(const char *root, const struct emu_dev_config *devs, unsigned int n, char *err,
		size_t errlen)
{
	struct cover c = { .err = err, .errlen = errlen };
	int rc;

	rc = find_place(&c);
	if (rc != 0)
		return rc;
	snprintf(c.folder, sizeof(c.folder), "%s/pci", root);
	if (mkdir(c.folder, 0755) != 0)
		return failed(&c, c.folder);
	rc = show_old(&c);
	if (rc == 0)
		rc = show_new(&c, root, devs, n);
	if (rc == 0 && mount(c.folder, c.place, NULL, MS_BIND | MS_REC, NULL) != 0)
		rc = failed(&c, c.place);
	return rc;
}
