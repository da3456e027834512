/* SPDX-License-Identifier: Apache-2.0 */
/* Rate limiters in bodies and answers, the same for every resource. */
#include "api.h"

static const struct serde_field bucket_fields[] = {
	{ "size", { SERDE_U64 }, .required = true },
	{ "one_time_burst", { SERDE_U64 } },
	{ "refill_time", { SERDE_U64 }, .required = true },
};
const struct serde_object api_token_bucket = { "TokenBucketConfig", false, bucket_fields,
	ARRAY_SIZE(bucket_fields) };

static const struct serde_field limiter_fields[] = {
	{ "bandwidth", { SERDE_OBJECT, .object = &api_token_bucket } },
	{ "ops", { SERDE_OBJECT, .object = &api_token_bucket } },
};
const struct serde_object api_rate_limiter = { "RateLimiterConfig", true, limiter_fields,
	ARRAY_SIZE(limiter_fields) };

static bool off(const struct bucket_params *b)
{
	return !b->size || !b->refill_ms;
}

json_t *api_bucket_json(const struct bucket_params *b)
{
	if (off(b))
		return json_null();
	return json_pack("{s:I, s:o, s:I}", "size", (json_int_t)b->size, "one_time_burst",
		b->one_time_burst ? json_integer((json_int_t)b->one_time_burst) : json_null(),
		"refill_time", (json_int_t)b->refill_ms);
}

json_t *api_limiter_json(const struct limiter_params *p)
{
	if (off(&p->bandwidth) && off(&p->ops))
		return json_null();
	return json_pack("{s:o, s:o}", "bandwidth", api_bucket_json(&p->bandwidth), "ops",
		api_bucket_json(&p->ops));
}

bool api_bucket_read(const json_t *b, struct bucket_params *ret)
{
	*ret = (struct bucket_params){ 0 };
	if (!b)
		return false;
	ret->size = (uint64_t)json_integer_value(json_object_get(b, "size"));
	ret->refill_ms = (uint64_t)json_integer_value(json_object_get(b, "refill_time"));
	ret->one_time_burst = (uint64_t)json_integer_value(json_object_get(b, "one_time_burst"));
	return true;
}

/* The bucket if the object names it. */
static const struct bucket_params *read(const json_t *limiter, const char *key,
	struct bucket_params *ret)
{
	return api_bucket_read(json_object_get(limiter, key), ret) ? ret : NULL;
}

void api_limiter_read(const json_t *limiter, struct api_limiter *ret)
{
	ret->change.bandwidth = read(limiter, "bandwidth", &ret->params.bandwidth);
	ret->change.ops = read(limiter, "ops", &ret->params.ops);
}

void api_limiter_store(const struct api_limiter *l, struct limiter_params *params)
{
	if (l->change.bandwidth)
		params->bandwidth = *l->change.bandwidth;
	if (l->change.ops)
		params->ops = *l->change.ops;
}
