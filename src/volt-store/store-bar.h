/* SPDX-License-Identifier: Apache-2.0 */
/* A progress bar on standard error, if that is a terminal. One thread. */
#ifndef VOLT_STORE_BAR_H
#define VOLT_STORE_BAR_H

#include <stdbool.h>

#include "compiler.h"

struct store_bar {
	const char *what; /* borrowed */
	bool on;
	uint64_t begun_ns, shown_ns;
};

void store_bar_init(struct store_bar *bar, const char *what);
/* Has the form of store_progress.tell; ctx is the bar. total 0: not known. */
void store_bar_tell(void *ctx, uint64_t done, uint64_t total);
/* Wipes the line. */
void store_bar_done(struct store_bar *bar);

#endif
