/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dpdk-test-vdpa: find the device, serve it on a vhost-user socket, be its guest, report.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>
#include <rte_vdpa.h>
#include <rte_version.h>

#include "args.h"
#include "backend.h"
#include "bench.h"
#include "counters.h"
#include "fe.h"
#include "report.h"
#include "shell.h"
#include "vdpa_list.h"

#define PROGRAM "dpdk-test-vdpa"
#define MAX_LISTED 16

enum { EXIT_USAGE = 2 };	/* beside EXIT_SUCCESS and EXIT_FAILURE */

struct program {
	struct args args;
	cpu_set_t cpus;		/* before EAL pins this thread */
};

static int
complain(int status, const char *what)
{
	fprintf(stderr, PROGRAM ": %s\n", what);
	return status;
}

static void
on_signal(int signum)
{
	(void)signum;
	if (fe_interrupted())
		_exit(EXIT_FAILURE);	/* asked twice: the orderly way out hangs */
	fe_interrupt();
}

static void
catch_signals(void)
{
	struct sigaction sa = { .sa_handler = on_signal };

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
}

/* ---- the device ---- */

static void
list_names(char *buf, size_t len)
{
	struct rte_vdpa_device *devs[MAX_LISTED];
	unsigned int n = vdpa_list(devs, MAX_LISTED), i;
	size_t at = snprintf(buf, len, "%s", n ? "" : "none");

	for (i = 0; i < n && i < MAX_LISTED && at < len; i++)
		at += snprintf(buf + at, len - at, "%s%s", i ? ", " : "", vdpa_list_name(devs[i]));
}

/* The device to test. Returns NULL after one line to stderr. */
static struct rte_vdpa_device *
find_device(const char *name, bool two)
{
	struct rte_vdpa_device *dev = NULL;
	char names[512], line[640];
	unsigned int n = vdpa_list(&dev, 1);

	if (name == NULL && (n == 1 || (two && n == 2)))
		return dev;
	list_names(names, sizeof(names));
	if (name != NULL) {
		dev = rte_vdpa_find_device_by_name(name);
		if (dev != NULL)
			return dev;
		snprintf(line, sizeof(line), "--device %s: no such vDPA device; there are: %s",
				name, names);
	} else if (n == 0) {
		snprintf(line, sizeof(line),
				"--device: there is no vDPA device (EAL gets them by --vdev, -a)");
	} else {
		snprintf(line, sizeof(line), "--device is missing: one of %s", names);
	}
	complain(EXIT_USAGE, line);
	return NULL;
}

/* The device that a benchmark of two takes besides @dev: any other. Returns NULL after one line. */
static struct rte_vdpa_device *
find_second(const struct rte_vdpa_device *dev, const char *bench)
{
	struct rte_vdpa_device *devs[MAX_LISTED];
	unsigned int n = vdpa_list(devs, MAX_LISTED), i;
	char line[128];

	for (i = 0; i < n && i < MAX_LISTED; i++)
		if (devs[i] != dev)
			return devs[i];
	snprintf(line, sizeof(line), "--bench %s: takes two vDPA devices, there is one", bench);
	complain(EXIT_USAGE, line);
	return NULL;
}

/* ---- a run ---- */

static int
write_json(const struct report *r, const char *path)
{
	FILE *f = fopen(path, "we");
	int ret;

	if (f == NULL)
		return -errno;
	ret = report_json(r, f);
	if (fclose(f) != 0 && ret == 0)
		ret = -errno;
	return ret;
}

static int
report(const struct program *p, const struct bench_result *res, const char *device,
		const char *driver)
{
	const struct report r = { .args = &p->args, .res = res, .device = device,
		.driver = driver };
	char line[320];
	int ret = 0;

	report_table(&r, stdout);
	fflush(stdout);
	if (p->args.json != NULL)
		ret = write_json(&r, p->args.json);
	if (ret != 0) {
		snprintf(line, sizeof(line), "--json %s: %s", p->args.json, strerror(-ret));
		return complain(EXIT_FAILURE, line);
	}
	return bench_succeeded(res) ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int
run_shell(const struct program *p, const char *path, const char *device, const char *driver,
		struct rte_vdpa_device *dev)
{
	const struct shell_cfg cfg = { .args = &p->args, .path = path, .device = device,
		.driver = driver, .dev = dev, .cpus = &p->cpus };
	char err[320];
	int ret = shell_run(&cfg, err, sizeof(err));

	if (ret == 0)
		return EXIT_SUCCESS;
	return complain(ret == -EINVAL ? EXIT_USAGE : EXIT_FAILURE, err);
}

static int
run(const struct program *p, const char *path, const char *second, const char *device,
		const char *driver, struct rte_vdpa_device *dev)
{
	struct bench_result res;
	int status;

	if (p->args.interactive)
		return run_shell(p, path, device, driver, dev);
	if (bench_run(&p->args, path, second, &p->cpus, &res) != 0)
		status = complain(EXIT_USAGE, res.failed);
	else
		status = report(p, &res, device, driver);
	bench_result_free(&res);
	return status;
}

/* Serve the device and be its guest. @stuck: nothing may be taken down. */
static int
run_device(const struct program *p, bool *stuck)
{
	bool two = p->args.bench != NULL && p->args.bench->two;
	struct rte_vdpa_device *dev = find_device(p->args.device, two), *second = NULL;
	struct rte_device *rdev;
	struct backend first, other;
	char err[256];
	int status;

	if (dev != NULL && two)
		second = find_second(dev, p->args.bench->name);
	if (dev == NULL || (two && second == NULL))
		return EXIT_USAGE;
	if (backend_start(&first, dev, err, sizeof(err)) != 0)
		return complain(EXIT_FAILURE, err);
	if (two && backend_start(&other, second, err, sizeof(err)) != 0) {
		backend_stop(&first);
		return complain(EXIT_FAILURE, err);
	}
	rdev = rte_vdpa_get_rte_device(dev);
	status = run(p, first.path, two ? other.path : NULL, rte_dev_name(rdev),
			rte_driver_name(rte_dev_driver(rdev)), dev);
	/* Either waits until the connections of both are gone. */
	if ((two && !backend_stop(&other)) || !backend_stop(&first)) {
		*stuck = true;
		return complain(EXIT_FAILURE, "the driver does not let go of the connection");
	}
	return status;
}

/* ---- the command line ---- */

/* Where EAL's arguments end: the index of "--", or argc. */
static int
eal_argc(int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++)
		if (strcmp(argv[i], "--") == 0)
			return i;
	return argc;
}

/* Without "--", the two options that need no EAL. */
static bool
asks(int argc, char **argv, const char *option)
{
	return argc == 2 && strcmp(argv[1], option) == 0;
}

/* Whether the result can be written there, asked before the run and without a trace. */
static int
check_writable(const char *path)
{
	const char *slash = strrchr(path, '/');
	struct stat st;
	char *folder;
	int ret;

	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return -EISDIR;
	if (access(path, F_OK) == 0)
		return access(path, W_OK) == 0 ? 0 : -errno;
	folder = slash ? strndup(path, slash - path + 1) : strdup(".");
	if (folder == NULL)
		return -ENOMEM;
	ret = access(folder, W_OK | X_OK) == 0 ? 0 : -errno;
	free(folder);
	return ret;
}

static int
parse(struct program *p, int argc, char **argv)
{
	int eal = eal_argc(argc, argv), ret = 0;
	char err[256];

	if (asks(argc, argv, "--help") || asks(argc, argv, "-h")) {
		p->args.help = true;
		return 0;
	}
	if (asks(argc, argv, "--version")) {
		p->args.version = true;
		return 0;
	}
	/* What stands at the place of "--" is skipped like a program's name. */
	if (args_parse(&p->args, argc > eal ? argc - eal : 1, argv + (argc > eal ? eal : 0),
				err, sizeof(err)) != 0) {
		complain(EXIT_USAGE, err);
		return -EINVAL;
	}
	if (p->args.json != NULL)
		ret = check_writable(p->args.json);
	if (ret != 0) {
		snprintf(err, sizeof(err), "--json %s: %s", p->args.json, strerror(-ret));
		complain(EXIT_USAGE, err);
	}
	return ret;
}

static int
start_eal(int argc, char **argv)
{
	int eal = eal_argc(argc, argv);
	char line[128];

	/* The vhost library tells of every message; hear its complaints, or what --log-level asks for. */
	rte_log_set_level_pattern("lib.vhost.*", RTE_LOG_WARNING);
	if (rte_eal_init(eal, argv) >= 0)
		return 0;
	snprintf(line, sizeof(line), "EAL does not start: %s",
		rte_errno != 0 ? rte_strerror(rte_errno) : "what it says above");
	complain(EXIT_FAILURE, line);
	return -EIO;
}

int
main(int argc, char **argv)
{
	struct program p = { .args = { .help = false } };
	bool stuck = false;
	int status;

	if (parse(&p, argc, argv) != 0)
		return EXIT_USAGE;
	if (p.args.help) {
		args_usage(stdout);
		return EXIT_SUCCESS;
	}
	if (p.args.version) {
		printf(PROGRAM " %s, %s\n", MLX5_PERSIST_VERSION, rte_version());
		return EXIT_SUCCESS;
	}
	sched_getaffinity(0, sizeof(p.cpus), &p.cpus);
	if (start_eal(argc, argv) != 0)
		return EXIT_FAILURE;
	catch_signals();
	counters_mark("probe");
	if (p.args.socket != NULL)
		status = run(&p, p.args.socket, NULL, p.args.socket, NULL, NULL);
	else
		status = run_device(&p, &stuck);
	/* A driver that is stuck may still use what a cleanup would take away. */
	if (!stuck) {
		counters_mark("remove");
		rte_eal_cleanup();
	}
	return status;
}
