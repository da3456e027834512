/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of volt-store. Main thread. */
#ifndef VOLT_STORE_CMD_H
#define VOLT_STORE_CMD_H

#include "store-bar.h"
#include "store.h"

struct store_cmd_args {
	const char *command, *dir;
	const char *base; /* --base, NULL: not given */
	int64_t grace_s; /* --grace */
	int n; /* what follows the folder */
	char **word;
};

struct store_cmd {
	const char *name, *words; /* words: for the usage */
	int least, most; /* of them; most -1: any number */
	const char *help;
	/* 0, -errno and err; verify: 1, there is damage, which has been told. */
	int (*run)(const struct store_cmd_args *a, struct store_bar *bar, struct volt_err *err);
};

/* Ends with a row without a name. */
extern const struct store_cmd store_cmd_list[];

#endif
