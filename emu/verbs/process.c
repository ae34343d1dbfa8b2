/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The process: its devices, made when it first asks for them, and the report when it ends.
 */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "env.h"
#include "face.h"
#include "guard.h"
#include "host.h"
#include "sysfs.h"

static struct {
	pthread_mutex_t lock;
	struct emu_host *host;
	struct face_dev *devs[EMU_DEVICES_MAX];
	int n;
	bool asked;                /* for devices, with or without success: the report is ours */
	int rc;                    /* why there are none */
	char *sysfs;               /* the folder that stands in for it */
	bool own_sysfs;            /* made by this process */
} process = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void
complain(const char *what, const char *why)
{
	fprintf(stderr, "mlx5-emu: %s: %s\n", what, why);
}

/* ---- set-up ---- */

/* For each part of an environment variable; none when it is not set. Stops at the first that
 * fails. */
static int
for_each_part(const char *name, int (*fn)(const char *part, unsigned int i, void *arg), void *arg)
{
	const char *val = getenv(name);
	char *copy, *rest, *part;
	unsigned int i = 0;
	int rc = 0;

	if (val == NULL)
		return 0;
	copy = rest = strdup(val);
	if (copy == NULL)
		return -ENOMEM;
	while (rc >= 0 && (part = strsep(&rest, EMU_ENV_SEPARATOR)) != NULL)
		rc = fn(part, i++, arg);
	free(copy);
	return rc < 0 ? rc : (int)i;
}

static int
add_fail(const char *spec, unsigned int i, void *arg)
{
	char err[256];
	int rc;

	(void)i;
	(void)arg;
	rc = emu_fail_add(spec, err, sizeof(err));
	if (rc != 0)
		complain(EMU_ENV_FAIL, err);
	return rc;
}

static int
add_device(const struct emu_dev_config *cfg, unsigned int i)
{
	int rc;

	if (process.own_sysfs) {
		rc = emu_sysfs_add(process.sysfs, cfg, i);
		if (rc != 0) {
			complain(process.sysfs, strerror(-rc));
			return rc;
		}
	}
	rc = face_dev_create(cfg, i, process.sysfs, process.host, &process.devs[i]);
	if (rc == 0)
		process.n++;
	return rc;
}

static int
add_device_by_spec(const char *spec, unsigned int i, void *arg)
{
	struct emu_dev_config cfg;
	char err[256];
	int rc;

	(void)arg;
	if (i == EMU_DEVICES_MAX) {
		complain(EMU_ENV_DEVICES, "too many devices");
		return -EINVAL;
	}
	emu_config_default(&cfg, i);
	rc = emu_config_parse(&cfg, spec, err, sizeof(err));
	if (rc != 0) {
		complain(EMU_ENV_DEVICES, err);
		return rc;
	}
	return add_device(&cfg, i);
}

/* The folder that mlx5-emu-run has mounted; one of our own where it could not, or where this
 * process has left the namespace that it was mounted in. */
static int
make_sysfs(void)
{
	const char *given = getenv(EMU_ENV_SYSFS), *tmp = getenv("TMPDIR");
	char path[PATH_MAX];

	process.own_sysfs = given == NULL || access(given, R_OK | X_OK) != 0;
	if (process.own_sysfs) {
		snprintf(path, sizeof(path), "%s/mlx5-emu.XXXXXX", tmp != NULL ? tmp : "/tmp");
		given = mkdtemp(path);
		if (given == NULL) {
			process.own_sysfs = false;
			complain(path, strerror(errno));
			return -errno;
		}
	}
	process.sysfs = strdup(given);
	return process.sysfs != NULL ? 0 : -ENOMEM;
}

static void
remove_sysfs(void)
{
	if (process.own_sysfs && process.sysfs != NULL)
		emu_sysfs_remove(process.sysfs);
	free(process.sysfs);
	process.sysfs = NULL;
}

/* The report, empty: other processes that end now wait with theirs until this file is closed.
 * Returns the file, or a negative errno. */
static int
open_report(const char *path, int flags)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC | flags, 0666);

	if (fd < 0)
		return -errno;
	/* Where there are no locks (a file system without, a pipe) it does without. */
	while (flock(fd, LOCK_EX) != 0 && errno == EINTR)
		continue;
	if (ftruncate(fd, 0) != 0 && errno != EINVAL)
		complain(path, strerror(errno));
	return fd;
}

/* A report that says nothing happened must not outlive a process that ends without writing its
 * own. */
static void
empty_report(void)
{
	const char *path = getenv(EMU_ENV_REPORT);
	int fd;

	if (path == NULL)
		return;
	fd = open_report(path, 0);
	if (fd >= 0)
		close(fd);
	else if (fd != -ENOENT)
		complain(path, strerror(-fd));
}

static void
remove_devices(void)
{
	while (process.n > 0)
		face_dev_destroy(process.devs[--process.n]);
	emu_host_destroy(process.host);
	process.host = NULL;
	remove_sysfs();
}

static int
connect_devices(void)
{
	struct emu_dev *devs[EMU_DEVICES_MAX];
	char err[256];
	int i, rc;

	for (i = 0; i < process.n; i++)
		devs[i] = process.devs[i]->dev;
	rc = emu_devs_connect(devs, (unsigned int)process.n, err, sizeof(err));
	if (rc != 0)
		complain(EMU_ENV_DEVICES, err);
	return rc;
}

static int
set_latency(void)
{
	const char *profile = getenv(EMU_ENV_LATENCY);
	char err[256];
	int rc;

	rc = profile != NULL ? emu_latency_set(profile, err, sizeof(err)) : 0;
	if (rc != 0)
		complain(EMU_ENV_LATENCY, err);
	return rc;
}

static int
make_host(void)
{
	const char *check = getenv(EMU_ENV_CHECK);
	int rc = emu_host_create(&process.host);

	if (rc != 0 || check == NULL)
		return rc;
	if (strcmp(check, EMU_CHECK_ORPHANS) != 0) {
		complain(EMU_ENV_CHECK, "allowed is " EMU_CHECK_ORPHANS);
		return -EINVAL;
	}
	rc = emu_host_check_orphans(process.host);
	if (rc != 0)
		complain("--check " EMU_CHECK_ORPHANS, rc == -EPERM ? "page frame numbers are not "
			"shown: that takes CAP_SYS_ADMIN" : strerror(-rc));
	return rc;
}

static int
make_devices(void)
{
	const char *trace = getenv(EMU_ENV_TRACE);
	struct emu_dev_config cfg;
	int rc;

	empty_report();
	rc = trace != NULL ? emu_trace_open(trace) : 0;
	if (rc != 0) {
		complain(trace, strerror(-rc));
		return rc;
	}
	rc = set_latency();
	if (rc == 0)
		rc = for_each_part(EMU_ENV_FAIL, add_fail, NULL);
	if (rc < 0)
		return rc;
	rc = make_sysfs();
	if (rc != 0)
		return rc;
	rc = make_host();
	if (rc != 0)
		goto err;
	rc = for_each_part(EMU_ENV_DEVICES, add_device_by_spec, NULL);
	if (rc == 0) {
		emu_config_default(&cfg, 0);
		rc = add_device(&cfg, 0);
	}
	if (rc >= 0)
		rc = connect_devices();
	if (rc == 0)
		return 0;
err:
	remove_devices();
	return rc;
}

int
face_devices(struct face_dev *const **devs)
{
	int rc;

	pthread_mutex_lock(&process.lock);
	/* Once: what failed is not a matter of time. */
	if (!process.asked)
		process.rc = make_devices();
	process.asked = true;
	*devs = process.devs;
	rc = process.rc == 0 ? process.n : process.rc;
	pthread_mutex_unlock(&process.lock);
	return rc;
}

/* ---- fork: a child has no device threads; it makes devices of its own if it asks for some ---- */

static void
before_fork(void)
{
	emu_fork(EMU_FORK_PREPARE);
}

static void
in_parent(void)
{
	emu_fork(EMU_FORK_PARENT);
}

static void
in_child(void)
{
	emu_fork(EMU_FORK_CHILD);
	emu_guard_forked();
	pthread_mutex_init(&process.lock, NULL);
	process.host = NULL;
	process.n = 0;
	process.asked = false;
	process.sysfs = NULL;
}

static void __attribute__((constructor))
at_start(void)
{
	pthread_atfork(before_fork, in_parent, in_child);
}

/* ---- the report ---- */

static void
write_report(const char *path)
{
	int fd = open_report(path, O_CREAT);
	FILE *f;

	if (fd < 0) {
		complain(path, strerror(-fd));
		return;
	}
	f = fdopen(fd, "w");
	if (f == NULL) {
		complain(path, strerror(errno));
		close(fd);
		return;
	}
	emu_report_print(f);
	if (fclose(f) != 0)
		complain(path, strerror(errno));
}

/* mlx5-emu-run has left the report of a process that never asked for a device: only one that did
 * writes. */
static void __attribute__((destructor))
at_end(void)
{
	const char *path = getenv(EMU_ENV_REPORT);

	if (process.asked && path != NULL)
		write_report(path);
	remove_sysfs();
}

static pthread_key_t json_key;
static pthread_once_t json_once = PTHREAD_ONCE_INIT;

static void
json_init(void)
{
	pthread_key_create(&json_key, free);
}

const char *mlx5_emu_counters_json(void);

/** The report's object now. Valid until the thread's next call or end. */
const char *
mlx5_emu_counters_json(void)
{
	char *text = NULL;
	size_t len;
	FILE *f;

	pthread_once(&json_once, json_init);
	free(pthread_getspecific(json_key));
	pthread_setspecific(json_key, NULL);
	f = open_memstream(&text, &len);
	if (f == NULL)
		return NULL;
	emu_report_print(f);
	if (fclose(f) != 0) {
		free(text);
		return NULL;
	}
	pthread_setspecific(json_key, text);
	return text;
}

void mlx5_emu_trace_mark(const char *phase);

/** Commands from here on belong to this phase: a line of the trace, if there is one. */
void
mlx5_emu_trace_mark(const char *phase)
{
	emu_trace_mark(phase);
}
