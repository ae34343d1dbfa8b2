/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dpdk-vdpa: serve vDPA devices to VMs over vhost-user sockets.
 *
 * On DPDK's public API alone, so it drives any vDPA driver that is in the process.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <rte_common.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_version.h>

#include "port.h"
#include "shell.h"
#include "vdpa_list.h"

#define EXIT_USAGE 2
#define IFACE_LEN 128

struct args {
	const char *iface; /* prefix of socket paths, NULL when not given */
	bool interactive;
	bool client;
};

static int stop_fd = -1; /* eventfd: a signal asked to leave */

static void
usage(const char *prog)
{
	printf("Usage: %s [EAL options] -- [--iface PREFIX] [--client] [--interactive]\n"
		"Serve vDPA devices to VMs over vhost-user sockets.\n"
		"  --iface PREFIX      a socket for each vDPA device: PREFIX0, PREFIX1, ...\n"
		"  --client            connect to the sockets (the VMM listens) and reconnect\n"
		"  --interactive, -i   read commands; \"help\" shows them\n"
		"  --help, -h          this text\n"
		"  --version           the versions of this program and of DPDK\n"
		"Without --interactive it runs until SIGINT, SIGTERM or SIGHUP. Example:\n"
		"  %s -l 0,1 --no-pci --vdev=vdpa_mlx5_persist0,dev=0000:e1:00.2 -- --iface /tmp/vdpa\n",
		prog, prog);
}

static void
version(void)
{
	printf("dpdk-vdpa %s, %s\n", MLX5_PERSIST_VERSION, rte_version());
}

/* Behind a usage error: always the last line, so that it stands alone. */
static int
usage_error(const char *what, const char *arg)
{
	fprintf(stderr, "dpdk-vdpa: %s%s; see --help\n", what, arg);
	return -EINVAL;
}

/* Returns 0, 1 when the program has said all it was asked for, or -EINVAL. */
static int
args_parse(struct args *args, int argc, char **argv)
{
	static const struct option options[] = {
		{ "iface", required_argument, NULL, 'f' },
		{ "client", no_argument, NULL, 'c' },
		{ "interactive", no_argument, NULL, 'i' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 },
	};
	const char *arg;
	int opt;

	opterr = 0;
	optind = 1;
	for (;;) {
		arg = optind < argc ? argv[optind] : NULL;
		opt = getopt_long(argc, argv, "+:ih", options, NULL);
		if (opt == -1)
			break;
		switch (opt) {
		case 'f':
			args->iface = optarg;
			break;
		case 'c':
			args->client = true;
			break;
		case 'i':
			args->interactive = true;
			break;
		case 'h':
			usage("dpdk-vdpa");
			return 1;
		case 'V':
			version();
			return 1;
		case ':':
			return usage_error(arg, " needs a value");
		default:
			return usage_error("unknown option or unwanted value: ", arg);
		}
	}
	if (optind < argc)
		return usage_error("unexpected argument: ", argv[optind]);
	if (args->iface == NULL && !args->interactive)
		return usage_error("nothing to do: give --iface PREFIX or --interactive", " behind --");
	if (args->iface != NULL && (*args->iface == '\0' || strlen(args->iface) >= IFACE_LEN))
		return usage_error("--iface: a path prefix of 1 to 127 characters, not ", args->iface);
	return 0;
}

/* Our arguments are those behind "--"; a lone --help or --version is ours too. */
static int
args_find(int argc, char **argv)
{
	int i;

	if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
			strcmp(argv[1], "--version") == 0))
		return 0;
	for (i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		;
	return i;
}

/* In whatever thread it hits; one write(2) is all that a handler may do. Not through write(), which
 * is a cancellation point: a driver's thread that is being cancelled would end there, and the request
 * with it. */
static void
on_signal(int signum)
{
	const uint64_t one = 1;
	int saved = errno;

	(void)signum;
	if (syscall(SYS_write, stop_fd, &one, sizeof(one)) < 0) {
		/* The counter is full: it was asked often enough already. */
	}
	errno = saved;
}

static int
signals_init(void)
{
	static const int stops[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction sa = { .sa_handler = on_signal };
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	unsigned int i;

	stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (stop_fd < 0) {
		fprintf(stderr, "dpdk-vdpa: eventfd: %s\n", strerror(errno));
		return -EMFILE;
	}
	sigemptyset(&sa.sa_mask);
	for (i = 0; i < RTE_DIM(stops); i++)
		sigaction(stops[i], &sa, NULL);
	sigemptyset(&ignore.sa_mask);
	sigaction(SIGPIPE, &ignore, NULL); /* a reader of our output that left is no reason to die */
	return 0;
}

/* Serve every vDPA device there is. */
static int
ports_create(const struct args *args)
{
	unsigned int n = vdpa_list(NULL, 0), i;
	char path[IFACE_LEN + sizeof("4294967295")];
	struct rte_vdpa_device **devs;
	int ret = 0;

	if (n == 0) {
		fprintf(stderr, "dpdk-vdpa: no vDPA device in this process; see --help\n");
		return -ENODEV;
	}
	devs = calloc(n, sizeof(*devs));
	if (devs == NULL) {
		fprintf(stderr, "dpdk-vdpa: out of memory\n");
		return -ENOMEM;
	}
	vdpa_list(devs, n);
	for (i = 0; i < n && ret == 0; i++) {
		snprintf(path, sizeof(path), "%s%u", args->iface, i);
		ret = port_create(path, devs[i], args->client);
		if (ret == 0)
			printf("%s: device %s\n", path, vdpa_list_name(devs[i]));
	}
	fflush(stdout);
	free(devs);
	return ret;
}

static void
wait_for_stop(void)
{
	struct pollfd fd = { .fd = stop_fd, .events = POLLIN };

	printf("serving until SIGINT, SIGTERM or SIGHUP\n");
	fflush(stdout);
	while (poll(&fd, 1, -1) < 0 && errno == EINTR)
		;
}

static int
serve(const struct args *args)
{
	int ret = signals_init();

	if (ret == 0 && args->iface != NULL)
		ret = ports_create(args);
	if (ret == 0 && args->interactive)
		ret = shell_run(stop_fd, args->client);
	else if (ret == 0)
		wait_for_stop();
	port_close_all();
	return ret;
}

int
main(int argc, char **argv)
{
	struct args args = { 0 };
	int eal_argc = args_find(argc, argv);
	int ret;

	ret = args_parse(&args, argc - eal_argc, argv + eal_argc);
	if (ret != 0)
		return ret < 0 ? EXIT_USAGE : EXIT_SUCCESS;

	rte_set_application_usage_hook(usage);
	optind = 1;
	if (rte_eal_init(eal_argc, argv) < 0) {
		fprintf(stderr, "dpdk-vdpa: EAL: %s\n", rte_strerror(rte_errno));
		return rte_errno == EINVAL ? EXIT_USAGE : EXIT_FAILURE;
	}
	ret = serve(&args);
	rte_eal_cleanup(); /* removes the devices */
	return ret == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
