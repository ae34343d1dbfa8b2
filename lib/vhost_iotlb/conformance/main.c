/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "conformance.h"

#define EXIT_USAGE 2
/* Most parents of a program. */
#define PARENTS_MAX 8u

/* The parents that a program has. */
struct parents {
	const struct vhost_iotlb_conf_adapter *const *adapter;
	size_t n;
};

struct args {
	const char *name;                          /* of the program */
	const char *parent;                        /* NULL: all */
	const char *check;                         /* a file, or NULL */
	bool quiet, print;
};

static void
usage(const struct args *args, const struct parents *parents)
{
	printf("Usage: %s [--parent NAME] [--quiet]\n"
		"       %s --print | --check FILE\n"
		"Run the conformance suite of lib/vhost_iotlb, or print it.\n"
		"  --parent NAME    run it on this parent alone\n"
		"  --quiet          nothing about scenarios that pass\n"
		"  --print          print the scenarios as a part of the guide\n"
		"  --check FILE     is FILE what --print prints?\n"
		"  --help           this text\n"
		"  --version        the version\n"
		"Parents:\n", args->name, args->name);
	for (size_t i = 0; i < parents->n; i++)
		printf("  %-16s %s\n", parents->adapter[i]->name, parents->adapter[i]->what);
}

static int
usage_error(const struct args *args, const char *what, const char *arg)
{
	fprintf(stderr, "%s: %s%s; see --help\n", args->name, what, arg);
	return -EINVAL;
}

static bool
is_parent(const struct parents *parents, const char *name)
{
	for (size_t i = 0; i < parents->n; i++)
		if (strcmp(parents->adapter[i]->name, name) == 0)
			return true;
	return false;
}

/* Returns 0, 1 when the program has said all it was asked for, or -EINVAL. */
static int
parse_args(struct args *args, const struct parents *parents, int argc, char **argv)
{
	static const struct option options[] = {
		{ "parent", required_argument, NULL, 'p' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "print", no_argument, NULL, 'P' },
		{ "check", required_argument, NULL, 'c' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 },
	};
	int opt;

	opterr = 0;
	while ((opt = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		switch (opt) {
		case 'p':
			if (!is_parent(parents, optarg))
				return usage_error(args, "--parent: there is none named ", optarg);
			args->parent = optarg;
			break;
		case 'q':
			args->quiet = true;
			break;
		case 'P':
			args->print = true;
			break;
		case 'c':
			args->check = optarg;
			break;
		case 'h':
			usage(args, parents);
			return 1;
		case 'V':
			printf("%s %s\n", args->name, MLX5_PERSIST_VERSION);
			return 1;
		case ':':
			return usage_error(args, argv[optind - 1], " needs a value");
		default:
			return usage_error(args, "unknown option ", argv[optind - 1]);
		}
	}
	return optind < argc ? usage_error(args, "unexpected argument ", argv[optind]) : 0;
}

/* Is the file the page? Returns an exit status. */
static int
check_page(const char *name, const char *path)
{
	FILE *file = fopen(path, "r"), *page;
	char *text = NULL;
	size_t len = 0, at = 0;
	bool same = true;
	int c;

	if (file == NULL) {
		fprintf(stderr, "%s: %s: %s\n", name, path, strerror(errno));
		return EXIT_FAILURE;
	}
	page = open_memstream(&text, &len);
	if (page == NULL) {
		fclose(file);
		return EXIT_FAILURE;
	}
	vhost_iotlb_conf_print(page);
	fclose(page);
	while (same && (c = fgetc(file)) != EOF)
		same = at < len && (unsigned char)text[at++] == c;
	same = same && at == len;
	fclose(file);
	free(text);
	if (!same)
		fprintf(stderr, "%s: %s is out of date: write it again with --print\n",
			name, path);
	return same ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* Run it on the parents that were asked for. Returns an exit status. */
static int
run(const struct args *args, const struct parents *parents)
{
	const struct vhost_iotlb_conf_adapter *adapter[PARENTS_MAX];
	struct vhost_iotlb_conf_result result[PARENTS_MAX];
	unsigned int failed = 0;
	size_t n = 0;

	for (size_t i = 0; i < parents->n && n < PARENTS_MAX; i++)
		if (args->parent == NULL || strcmp(args->parent, parents->adapter[i]->name) == 0)
			adapter[n++] = parents->adapter[i];
	vhost_iotlb_conf_run(adapter, n, stdout, args->quiet, result);
	for (size_t i = 0; i < n; i++) {
		printf("%s: %u passed, %u failed, %u left out\n", adapter[i]->name,
			result[i].passed, result[i].failed, result[i].left_out);
		failed += result[i].failed;
	}
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int
vhost_iotlb_conf_main(int argc, char **argv,
		const struct vhost_iotlb_conf_adapter *const adapters[], size_t n)
{
	const struct parents parents = { adapters, n };
	const char *slash = strrchr(argv[0], '/');
	struct args args = { .name = slash != NULL ? slash + 1 : argv[0] };
	int ret;

	ret = parse_args(&args, &parents, argc, argv);
	if (ret != 0)
		return ret < 0 ? EXIT_USAGE : EXIT_SUCCESS;
	if (args.print) {
		vhost_iotlb_conf_print(stdout);
		return EXIT_SUCCESS;
	}
	return args.check != NULL ? check_page(args.name, args.check) : run(&args, &parents);
}
