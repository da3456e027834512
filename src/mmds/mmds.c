/* SPDX-License-Identifier: Apache-2.0 */
/* The metadata service as a whole, see mmds.h. */
#include "mmds.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int mmds_create(const char *id, size_t limit, struct mmds **ret, struct volt_err *err)
{
	struct mmds *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return volt_err_set(err, ENOMEM, "MMDS: %m");
	r = mmds_token_init(&m->token, id, err);
	if (r < 0) {
		free(m);
		return r;
	}
	m->store.limit = limit;
	*ret = m;
	return 0;
}

void mmds_destroy(struct mmds *m)
{
	if (!m)
		return;
	mmds_store_done(&m->store);
	explicit_bzero(&m->token, sizeof(m->token));
	free(m);
}
