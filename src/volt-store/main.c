/* SPDX-License-Identifier: Apache-2.0 */
/* volt-store: Stellarium on the command line. One thread. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "num.h"
#include "store-cmd.h"
#include "version.h"

#define EXIT_ERROR  1
#define EXIT_USAGE  2
#define EXIT_DAMAGE 3 /* verify has found something */

static void help(FILE *f)
{
	fprintf(f, "volt-store " VOLT_VERSION ": snapshots of memory, disks and machine state in a "
		   "folder\n\n");
	for (const struct store_cmd *c = store_cmd_list; c->name; c++)
		fprintf(f, "  volt-store %-6s %-24s %s\n", c->name, c->words, c->help);
	fprintf(f,
		"\n  --base NAME      put: the snapshot that this one was made from\n"
		"  --grace SECONDS  gc: keep what is younger, %d by default\n"
		"  --help, --version\n",
		STORE_GRACE_S);
}

static int usage(const char *what, const char *which)
{
	fprintf(stderr, "volt-store: %s%s; volt-store --help tells more\n", what, which);
	return EXIT_USAGE;
}

/* Fills a; -1: go on, else the status to end with. */
static int parse(int argc, char **argv, struct store_cmd_args *a)
{
	static const struct option options[] = {
		{ "base", required_argument, NULL, 'b' },
		{ "grace", required_argument, NULL, 'g' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'v' },
		{ 0 },
	};
	uint64_t n;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (c) {
		case 'b':
			a->base = optarg;
			break;
		case 'g':
			if (num_parse_u64(optarg, 0, INT32_MAX, &n) < 0)
				return usage("--grace wants a number of seconds, not ", optarg);
			a->grace_s = (int64_t)n;
			break;
		case 'h':
			help(stdout);
			return 0;
		case 'v':
			printf("volt-store " VOLT_VERSION "\n");
			return 0;
		default:
			return EXIT_USAGE;
		}
	if (argc - optind < 2)
		return usage("want a command and the folder of a store", "");
	a->command = argv[optind];
	a->dir = argv[optind + 1];
	a->word = argv + optind + 2;
	a->n = argc - optind - 2;
	return -1;
}

int main(int argc, char **argv)
{
	struct store_cmd_args a = { .grace_s = STORE_GRACE_S };
	const struct store_cmd *c = store_cmd_list;
	struct volt_err err = { 0 };
	struct store_bar bar;
	int status = parse(argc, argv, &a), r;

	if (status >= 0)
		return status;
	while (c->name && strcmp(c->name, a.command) != 0)
		c++;
	if (!c->name)
		return usage("there is no command ", a.command);
	if (a.n < c->least || (c->most >= 0 && a.n > c->most))
		return usage("want ", c->words);
	if (a.base && strcmp(c->name, "put") != 0)
		return usage("--base is for put", "");
	store_bar_init(&bar, c->name);
	r = c->run(&a, &bar, &err);
	store_bar_done(&bar);
	if (r < 0)
		fprintf(stderr, "volt-store: %s: %s\n", c->name, err.msg);
	if (fflush(stdout) != 0 && r == 0) {
		fprintf(stderr, "volt-store: standard output: %s\n", strerror(errno));
		return EXIT_ERROR;
	}
	return r < 0 ? EXIT_ERROR : r > 0 ? EXIT_DAMAGE : 0;
}
