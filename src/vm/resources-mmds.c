/* SPDX-License-Identifier: Apache-2.0 */
/* The metadata service and what it begins with, see resources.h. */
#include <errno.h>
#include <jansson.h>

#include "log.h"
#include "mmds.h"
#include "resources.h"

static int load(struct mmds *m, const char *path, struct volt_err *err)
{
	json_error_t fault;
	json_t *value = json_load_file(path, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &fault);
	int r;

	if (!value)
		return volt_err_set(err, EINVAL,
			"MMDS error: metadata provided not valid json: %s:%d:%d: %s", path,
			fault.line, fault.column, fault.text);
	r = mmds_store_put(&m->store, value);
	json_decref(value);
	if (r == -E2BIG)
		return volt_err_set(err, -r,
			"MMDS error: %s has more than %zu bytes as JSON without blanks; make it "
			"smaller, or raise --mmds-size-limit",
			path, m->store.limit);
	if (r < 0)
		return volt_err_set(err, -r, "MMDS error: %s: %m", path);
	log_info("Successfully added metadata to mmds from file");
	return 0;
}

int resources_mmds_open(struct resources *r, const struct vm_config *cfg, struct volt_err *err)
{
	uint64_t limit = cfg->mmds_size_limit ? cfg->mmds_size_limit : cfg->api_max_body;
	int e;

	if (r->mmds)
		return 0;
	e = mmds_create(cfg->id, (size_t)limit, &r->mmds, err);
	return e == 0 && cfg->metadata_path ? load(r->mmds, cfg->metadata_path, err) : e;
}

void resources_mmds_done(struct resources *r)
{
	mmds_destroy(r->mmds);
	r->mmds = NULL;
}
