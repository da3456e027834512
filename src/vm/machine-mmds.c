/* SPDX-License-Identifier: Apache-2.0 */
/* The metadata service as a detour of network devices, see machine-mmds.h. */
#include "machine-mmds.h"

#include <errno.h>
#include <string.h>

#include "mmds-stack.h"
#include "vm.h"

static_assert(NET_DETOUR_HEAD == MMDS_FRAME_HEAD, "");
static_assert(NET_DETOUR_TAKE_MAX == MMDS_FRAME_MAX, "");
static_assert(NET_DETOUR_GIVE_MAX == MMDS_STACK_FRAME, "");
static_assert(NET_DETOUR_NEVER == MMDS_TCP_NEVER, "");

static bool wants(void *owner, const uint8_t *head, size_t n)
{
	return mmds_stack_wants(owner, head, n);
}

static void take(void *owner, const uint8_t *frame, size_t n, uint64_t now_ns)
{
	mmds_stack_take(owner, frame, n, now_ns);
}

static size_t give(void *owner, uint8_t *frame, uint64_t now_ns)
{
	return mmds_stack_give(owner, frame, now_ns);
}

static uint64_t due_ns(void *owner)
{
	return mmds_stack_due_ns(owner);
}

static const struct net_detour_ops detour = { wants, take, give, due_ns };

/* One of the words of the list. */
static bool listed(const struct vm_config *cfg, const char *id)
{
	const char *word = cfg->mmds.present && cfg->mmds.interfaces ? cfg->mmds.interfaces : "";
	size_t len = strlen(id);

	for (size_t n; *word; word += n + (word[n] == ' ')) {
		n = strcspn(word, " ");
		if (n == len && memcmp(word, id, n) == 0)
			return true;
	}
	return false;
}

int machine_mmds_attach(struct vm *vm, struct resources *res, const struct net_config *net,
	struct net_params *params, struct volt_err *err)
{
	uint32_t ipv4;
	int r;

	if (!listed(vm->cfg, net->id))
		return 0;
	if (net->vhost)
		return volt_err_set(err, EINVAL,
			"MMDS does not go with vhost, where the host's kernel moves the frames");
	if (!vmcfg_judge_ipv4(vm->cfg->mmds.ipv4, &ipv4))
		return volt_err_set(err, EINVAL, "MMDS: '%s' is no address", vm->cfg->mmds.ipv4);
	vm->mmds = res->mmds;
	vm->mmds->v2 = vm->cfg->mmds.version == MMDS_V2;
	vm->mmds->imds_compat = vm->cfg->mmds.imds_compat;
	r = mmds_stack_create(vm->mmds, ipv4, net->mtu, &vm->mmds_stacks[vm->n_mmds_stacks], err);
	if (r < 0)
		return r;
	params->detour = &detour;
	params->detour_owner = vm->mmds_stacks[vm->n_mmds_stacks++];
	return 0;
}

void machine_mmds_destroy(struct vm *vm)
{
	while (vm->n_mmds_stacks > 0)
		mmds_stack_destroy(vm->mmds_stacks[--vm->n_mmds_stacks]);
}
