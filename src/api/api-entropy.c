/* SPDX-License-Identifier: Apache-2.0 */
/* PUT /entropy: the entropy device. */
#include "api-resources.h"

static const struct serde_field fields[] = {
	{ "rate_limiter", { SERDE_OBJECT, .object = &api_rate_limiter } },
};
static const struct serde_object body = { "EntropyDeviceConfig", true, fields, ARRAY_SIZE(fields) };

static void put_entropy(struct api_call *c)
{
	c->api->cfg->entropy_limit = (struct limiter_params){ 0 };
	if (api_apply(c, "entropy", c->api->cfg, "Entropy config error: "))
		c->api->cfg->entropy = true;
}

json_t *api_entropy_json(const struct vm_config *cfg)
{
	if (!cfg->entropy)
		return json_null();
	return json_pack("{s:o}", "rate_limiter", api_limiter_json(&cfg->entropy_limit));
}

const struct api_route api_entropy_routes[] = {
	{ HTTP_PUT, "/entropy", API_PRE, .body = &body, .serve = put_entropy,
		.doc = "Adds the entropy device." },
};
const size_t api_entropy_n_routes = ARRAY_SIZE(api_entropy_routes);
