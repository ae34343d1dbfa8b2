/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mlx5-emu-run: run a program with emulated ConnectX devices.
 *
 * Checks its options, leaves them in the environment for the library that it has the dynamic
 * linker load before the program's own, mounts what stands in for sysfs where only the program
 * sees it, and becomes the program.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "emu.h"
#include "env.h"
#include "pci.h"
#include "sysfs.h"

#define PROGRAM "mlx5-emu-run"
#define LIBRARY "verbs/libmlx5_emu_verbs.so"
#define SYSFS_DIR "/run/mlx5-emu"

enum { EXIT_USAGE = 2, EXIT_CANNOT_RUN = 126, EXIT_NOT_FOUND = 127 };

struct options {
	struct emu_dev_config devs[EMU_DEVICES_MAX];
	unsigned int ndevs;
	char *devices, *fails;     /* as given, joined */
	const char *latency, *check, *report_arg, *trace_arg; /* NULL: not given */
	char report[PATH_MAX], trace[PATH_MAX];
};

static const char usage[] =
	"Usage: " PROGRAM " [OPTION]... [--] COMMAND [ARG...]\n"
	"Run COMMAND with emulated ConnectX devices; exit with its status.\n"
	"\n"
	"  --device KEY=VAL[,KEY=VAL]...  add a device; without any there is a default one\n"
	"      bdf=ADDR      PCI address (0000:e1:00.2, then .3, ...)\n"
	"      name=NAME     RDMA device name (mlx5_0, mlx5_1, ...)\n"
	"      model=MODEL   cx6dx, cx7 (cx6dx)\n"
	"      caps=LIST     +NAME, -NAME or NAME=N by PRM name, joined by ':' (the model's)\n"
	"      wire=WIRE     loop: what it sends comes back; null: it goes nowhere;\n"
	"                    pair:NAME: to and from the device of that name;\n"
	"                    gen:PPS:SIZE: generated frames arrive (0 PPS: as fast as it goes);\n"
	"                    tap:IFNAME: a Linux tap (loop)\n"
	"      max_vqs=N     virtqueues (512)\n"
	"      mac=MAC       (derived from bdf)\n"
	"  --latency PROFILE              time charged a command: none, cx6dx (none)\n"
	"  --fail OPCODE:N[:STATUS]       the N-th command of that PRM name (or any) fails\n"
	"  --check orphans                DMA to a page that has left its file is a fault\n"
	"  --report FILE                  write a JSON report at exit\n"
	"  --trace FILE                   write each command, decoded and as a hex dump\n"
	"  --help, --version\n";

static void __attribute__((noreturn, format(printf, 2, 3)))
die(int status, const char *format, ...)
{
	va_list args;

	fputs(PROGRAM ": ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(status);
}

static void
set_env(const char *name, const char *value)
{
	int rc = value != NULL ? setenv(name, value, 1) : unsetenv(name);

	if (rc != 0)
		die(EXIT_FAILURE, "%s: %s", name, strerror(errno));
}

/* ---- options ---- */

static void
join(char **list, const char *option, const char *part)
{
	char *all;

	if (strstr(part, EMU_ENV_SEPARATOR) != NULL)
		die(EXIT_USAGE, "%s %s: '%s' is not allowed", option, part, EMU_ENV_SEPARATOR);
	if (*list == NULL)
		all = strdup(part);
	else if (asprintf(&all, "%s" EMU_ENV_SEPARATOR "%s", *list, part) < 0)
		all = NULL;
	if (all == NULL)
		die(EXIT_FAILURE, "out of memory");
	free(*list);
	*list = all;
}

static void
add_device(struct options *o, const char *spec)
{
	struct emu_dev_config *cfg;
	char err[512];
	unsigned int i;

	if (o->ndevs == EMU_DEVICES_MAX)
		die(EXIT_USAGE, "--device %s: at most %d devices", spec, EMU_DEVICES_MAX);
	cfg = &o->devs[o->ndevs];
	emu_config_default(cfg, o->ndevs);
	if (emu_config_parse(cfg, spec, err, sizeof(err)) != 0)
		die(EXIT_USAGE, "--device: %s", err);
	for (i = 0; i < o->ndevs; i++) {
		if (strcmp(cfg->bdf, o->devs[i].bdf) == 0)
			die(EXIT_USAGE, "--device %s: bdf=%s is another device's", spec, cfg->bdf);
		if (strcmp(cfg->name, o->devs[i].name) == 0)
			die(EXIT_USAGE, "--device %s: name=%s is another device's", spec,
				cfg->name);
	}
	o->ndevs++;
	join(&o->devices, "--device", spec);
}

static void
check_pairs(const struct options *o)
{
	const struct emu_dev_config *cfg[EMU_DEVICES_MAX];
	int peer[EMU_DEVICES_MAX];
	char err[512];
	unsigned int i;

	for (i = 0; i < o->ndevs; i++)
		cfg[i] = &o->devs[i];
	if (emu_config_pairs(cfg, o->ndevs, peer, err, sizeof(err)) != 0)
		die(EXIT_USAGE, "--device: %s", err);
}

static void
add_fail(struct options *o, const char *spec)
{
	char err[512];

	if (emu_fail_add(spec, err, sizeof(err)) != 0)
		die(EXIT_USAGE, "--fail: %s", err);
	join(&o->fails, "--fail", spec);
}

/* A file to write: it exists afterwards, is empty, and is named absolutely. After all that can be
 * wrong with the options: what the file had is gone. */
static void
set_file(const char *option, const char *path, char absolute[PATH_MAX])
{
	int fd;

	if (path == NULL)
		return;
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0 || realpath(path, absolute) == NULL)
		die(EXIT_USAGE, "%s %s: %s", option, path, strerror(errno));
	close(fd);
}

static void
set_latency(struct options *o, const char *profile)
{
	char err[256];

	if (emu_latency_set(profile, err, sizeof(err)) != 0)
		die(EXIT_USAGE, "--latency: %s", err);
	o->latency = profile;
}

static void
set_check(struct options *o, const char *what)
{
	if (strcmp(what, EMU_CHECK_ORPHANS) != 0)
		die(EXIT_USAGE, "--check %s: allowed is " EMU_CHECK_ORPHANS, what);
	o->check = what;
}

enum {
	OPT_DEVICE = 1, OPT_LATENCY, OPT_FAIL, OPT_CHECK, OPT_REPORT, OPT_TRACE, OPT_HELP,
	OPT_VERSION
};

/* Returns the index of COMMAND. */
static int
parse(struct options *o, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "device", required_argument, NULL, OPT_DEVICE },
		{ "latency", required_argument, NULL, OPT_LATENCY },
		{ "fail", required_argument, NULL, OPT_FAIL },
		{ "check", required_argument, NULL, OPT_CHECK },
		{ "report", required_argument, NULL, OPT_REPORT },
		{ "trace", required_argument, NULL, OPT_TRACE },
		{ "help", no_argument, NULL, OPT_HELP },
		{ "version", no_argument, NULL, OPT_VERSION },
		{ NULL, 0, NULL, 0 }
	};
	int opt;

	opterr = 0;
	/* '+': stop at COMMAND, whose options are its own. ':': tell a missing value from an
	 * unknown name. */
	while ((opt = getopt_long(argc, argv, "+:", longs, NULL)) != -1) {
		switch (opt) {
		case OPT_DEVICE:
			add_device(o, optarg);
			break;
		case OPT_LATENCY:
			set_latency(o, optarg);
			break;
		case OPT_FAIL:
			add_fail(o, optarg);
			break;
		case OPT_CHECK:
			set_check(o, optarg);
			break;
		case OPT_REPORT:
			o->report_arg = optarg;
			break;
		case OPT_TRACE:
			o->trace_arg = optarg;
			break;
		case OPT_HELP:
			fputs(usage, stdout);
			exit(EXIT_SUCCESS);
		case OPT_VERSION:
			puts(PROGRAM " " MLX5_PERSIST_VERSION);
			exit(EXIT_SUCCESS);
		case ':':
			die(EXIT_USAGE, "%s: a value is missing; see --help", argv[optind - 1]);
		default:
			die(EXIT_USAGE, "%s: no such option; see --help", argv[optind - 1]);
		}
	}
	if (optind == argc)
		die(EXIT_USAGE, "COMMAND is missing; see --help");
	return optind;
}

/* ---- what the command finds ---- */

/* Until a process with devices ends, the report is that none did anything. */
static void
write_empty_report(const char *path)
{
	FILE *f = fopen(path, "we");

	if (f == NULL)
		die(EXIT_USAGE, "--report %s: %s", path, strerror(errno));
	emu_report_print(f);
	if (fclose(f) != 0)
		die(EXIT_FAILURE, "--report %s: %s", path, strerror(errno));
}

/* A file system for this process and its children, which goes with the last of them. False where
 * that is not permitted. */
static bool
mount_sysfs(void)
{
	if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) != 0)
		return false;
	if (mkdir(SYSFS_DIR, 0755) != 0 && errno != EEXIST)
		return false;
	return mount("tmpfs", SYSFS_DIR, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
		"size=4m,mode=755") == 0;
}

static void __attribute__((format(printf, 1, 2)))
note(const char *format, ...)
{
	va_list args;

	fputs(PROGRAM ": ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputs("; programs find the RDMA devices, but no PCI functions\n", stderr);
}

static void
make_sysfs(const struct options *o)
{
	unsigned int i;
	char err[512];
	int rc;

	set_env(EMU_ENV_SYSFS, NULL);
	if (!mount_sysfs()) {
		note("no mount namespace: %s", strerror(errno));
		return;
	}
	for (i = 0; i < o->ndevs; i++) {
		rc = emu_sysfs_add(SYSFS_DIR, &o->devs[i], i);
		if (rc != 0)
			die(EXIT_FAILURE, SYSFS_DIR ": %s", strerror(-rc));
	}
	set_env(EMU_ENV_SYSFS, SYSFS_DIR);
	if (emu_pci_show(SYSFS_DIR, o->devs, o->ndevs, err, sizeof(err)) != 0)
		note("%s", err);
}

/* The library lies beside this program, wherever that was built or installed. */
static void
preload(void)
{
	const char *more = getenv("LD_PRELOAD");
	char path[PATH_MAX], *slash, *all;
	ssize_t n;

	n = readlink("/proc/self/exe", path, sizeof(path) - sizeof(LIBRARY));
	if (n < 0)
		die(EXIT_FAILURE, "/proc/self/exe: %s", strerror(errno));
	path[n] = '\0';
	slash = strrchr(path, '/');
	strcpy(slash + 1, LIBRARY);
	if (access(path, R_OK) != 0)
		die(EXIT_FAILURE, "%s: %s", path, strerror(errno));
	if (strpbrk(path, " :") != NULL)
		die(EXIT_FAILURE, "%s: the dynamic linker preloads no path with a blank or a colon",
			path);
	/* The address sanitizer's library must come first in a process. */
	if (more == NULL)
		more = "";
	if (asprintf(&all, "%s%s%s%s", EMU_PRELOAD_FIRST, path, *more != '\0' ? ":" : "", more) < 0)
		die(EXIT_FAILURE, "out of memory");
	set_env("LD_PRELOAD", all);
	free(all);
}

int
main(int argc, char **argv)
{
	static struct options o;
	int command = parse(&o, argc, argv);

	if (o.ndevs == 0)
		emu_config_default(&o.devs[o.ndevs++], 0);
	check_pairs(&o);
	set_file("--report", o.report_arg, o.report);
	set_file("--trace", o.trace_arg, o.trace);
	if (o.report[0] != '\0')
		write_empty_report(o.report);
	set_env(EMU_ENV_DEVICES, o.devices);
	set_env(EMU_ENV_FAIL, o.fails);
	set_env(EMU_ENV_LATENCY, o.latency);
	set_env(EMU_ENV_CHECK, o.check);
	set_env(EMU_ENV_REPORT, o.report[0] != '\0' ? o.report : NULL);
	set_env(EMU_ENV_TRACE, o.trace[0] != '\0' ? o.trace : NULL);
	make_sysfs(&o);
	preload();
	free(o.devices);
	free(o.fails);
	execvp(argv[command], argv + command);
	die(errno == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN, "%s: %s", argv[command],
		strerror(errno));
}
