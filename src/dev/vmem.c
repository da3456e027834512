/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-mem, see vmem.h. Section numbers: virtio 1.2. */
#include "vmem.h"

#include <errno.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_mem.h>
#include <stdlib.h>

#include "cleanup.h"
#include "gmem.h"
#include "kvm.h"
#include "loop.h"
#include "num.h"
#include "state.h"
#include "virtio.h"

#define QUEUE_SIZE LIMIT_QUEUE_SIZE
#define BUDGET	   8 /* requests a round: one may attach or detach many slots */

/* 5.15.6 */
#define REQUEST_BYTES 24u /* type, 6 bytes, address, number of blocks, 6 bytes */
#define ANSWER_BYTES  10u /* type, 6 bytes, state */

struct slot {
	uint32_t n_plugged; /* blocks of it */
	bool attached;
};

struct vmem {
	struct virtio_dev v;
	const struct gmem_region *region; /* borrowed */
	int vmfd;			  /* borrowed */
	uint32_t first_slot;
	uint64_t slot_bytes, slot_blocks;
	struct slot *slots; /* owned */
	struct virtio_mem_config config;
	struct vmem_counters counters;
};

/* Blocks that a request means, counted from the start of the region. */
struct range {
	uint64_t first, n;
};

static struct vmem *vmem_of(struct virtio_dev *v)
{
	return container_of(v, struct vmem, v);
}

/* -- slots ----------------------------------------------------------------------------------- */

static int set_slot(struct vmem *m, uint64_t i, bool attach)
{
	struct kvm_userspace_memory_region region = {
		.slot = m->first_slot + (uint32_t)i,
		.guest_phys_addr = m->region->gpa + i * m->slot_bytes,
		.memory_size = attach ? m->slot_bytes : 0,
		.userspace_addr = gmem_kvm_address(m->region, i * m->slot_bytes),
	};
	int r;

	if (m->slots[i].attached == attach)
		return 0;
	r = kvm_set_user_memory_region(m->vmfd, &region);
	if (r < 0) {
		virtio_count(&m->counters.slot_fails);
		return r;
	}
	m->slots[i].attached = attach;
	virtio_count(attach ? &m->counters.slots_attached : &m->counters.slots_detached);
	return 0;
}

/* Attaches the slots of the range that are not, or none of them. */
static int attach_slots(struct vmem *m, const struct range *r)
{
	uint64_t first = r->first / m->slot_blocks, last = (r->first + r->n - 1) / m->slot_blocks;
	int e = 0;

	for (uint64_t i = first; e == 0 && i <= last; i++)
		e = set_slot(m, i, true);
	for (uint64_t i = first; e < 0 && i <= last; i++)
		if (m->slots[i].n_plugged == 0 && set_slot(m, i, false) < 0)
			break; /* it remains attached, and is tried again when it empties next */
	return e;
}

static void count_blocks(struct vmem *m, const struct range *r, bool plug)
{
	for (uint64_t i = r->first; i < r->first + r->n; i++)
		m->slots[i / m->slot_blocks].n_plugged += plug ? 1u : UINT32_MAX;
	if (plug)
		m->config.plugged_size += r->n * m->config.block_size;
	else
		m->config.plugged_size -= r->n * m->config.block_size;
}

/* All of the range is plugged. KVM lets go of the memory before it is given back. */
static void take_away(struct vmem *m, const struct range *r)
{
	uint64_t first = r->first / m->slot_blocks, last = (r->first + r->n - 1) / m->slot_blocks;

	count_blocks(m, r, false);
	for (uint64_t i = first; i <= last; i++)
		if (m->slots[i].n_plugged == 0 && set_slot(m, i, false) < 0)
			break; /* counted */
	if (gmem_unplug(m->region, r->first, r->n) < 0)
		virtio_count(&m->counters.discard_fails);
}

/* -- requests -------------------------------------------------------------------------------- */

static bool any_plugged(const struct vmem *m, const struct range *r)
{
	for (uint64_t i = r->first; i < r->first + r->n; i++)
		if (gmem_plugged(m->region, i, 1))
			return true;
	return false;
}

/* False if these are not blocks of the usable region. */
static bool find_range(const struct vmem *m, uint64_t gpa, uint16_t n, struct range *ret)
{
	uint64_t off = gpa - m->config.addr, bytes = n * m->config.block_size;

	if (n == 0 || gpa < m->config.addr || off % m->config.block_size != 0)
		return false;
	if (off > m->config.usable_region_size || bytes > m->config.usable_region_size - off)
		return false;
	*ret = (struct range){ off / m->config.block_size, n };
	return true;
}

static uint16_t plug(struct vmem *m, const struct range *r)
{
	uint64_t bytes = r->n * m->config.block_size;

	if (any_plugged(m, r))
		return VIRTIO_MEM_RESP_ERROR;
	if (m->config.plugged_size > m->config.requested_size ||
		bytes > m->config.requested_size - m->config.plugged_size)
		return VIRTIO_MEM_RESP_NACK;
	if (attach_slots(m, r) < 0)
		return VIRTIO_MEM_RESP_BUSY;
	count_blocks(m, r, true);
	gmem_plug(m->region, r->first, r->n);
	return VIRTIO_MEM_RESP_ACK;
}

static uint16_t unplug(struct vmem *m, const struct range *r)
{
	if (!gmem_plugged(m->region, r->first, r->n))
		return VIRTIO_MEM_RESP_ERROR;
	take_away(m, r);
	return VIRTIO_MEM_RESP_ACK;
}

/* Runs of plugged blocks, so that the rest of a large region costs nothing. */
static uint16_t unplug_all(struct vmem *m)
{
	uint64_t n_blocks = m->config.region_size / m->config.block_size;
	struct range run = { 0 };

	for (uint64_t i = 0; i <= n_blocks && m->config.plugged_size > 0; i++) {
		if (i < n_blocks && gmem_plugged(m->region, i, 1)) {
			run.first = run.n ? run.first : i;
			run.n++;
			continue;
		}
		if (run.n > 0)
			take_away(m, &run);
		run.n = 0;
	}
	return VIRTIO_MEM_RESP_ACK;
}

static uint16_t state_of(const struct vmem *m, const struct range *r)
{
	if (gmem_plugged(m->region, r->first, r->n))
		return VIRTIO_MEM_STATE_PLUGGED;
	return any_plugged(m, r) ? VIRTIO_MEM_STATE_MIXED : VIRTIO_MEM_STATE_UNPLUGGED;
}

static struct vmem_requests *kind_of(struct vmem *m, uint16_t type)
{
	switch (type) {
	case VIRTIO_MEM_REQ_PLUG:
		return &m->counters.plug;
	case VIRTIO_MEM_REQ_UNPLUG:
		return &m->counters.unplug;
	case VIRTIO_MEM_REQ_UNPLUG_ALL:
		return &m->counters.unplug_all;
	case VIRTIO_MEM_REQ_STATE:
		return &m->counters.state;
	default:
		return NULL;
	}
}

static uint16_t serve(struct vmem *m, uint16_t type, const struct range *r, uint16_t *state)
{
	switch (type) {
	case VIRTIO_MEM_REQ_PLUG:
		return plug(m, r);
	case VIRTIO_MEM_REQ_UNPLUG:
		return unplug(m, r);
	case VIRTIO_MEM_REQ_UNPLUG_ALL:
		return unplug_all(m);
	default:
		*state = state_of(m, r);
		return VIRTIO_MEM_RESP_ACK;
	}
}

/* The answer to a copied request. */
static uint16_t judge(struct vmem *m, const uint8_t request[REQUEST_BYTES], uint16_t *state)
{
	uint16_t type = num_get_le16(request), word = VIRTIO_MEM_RESP_ERROR;
	struct vmem_requests *kind = kind_of(m, type);
	uint64_t start_ns = loop_now_ns(), before = m->config.plugged_size, bytes;
	struct range r = { 0 };

	if (!kind) {
		virtio_count(&m->counters.unknown);
		return VIRTIO_MEM_RESP_ERROR;
	}
	virtio_count(&kind->count);
	if (type == VIRTIO_MEM_REQ_UNPLUG_ALL ||
		find_range(m, num_get_le64(request + 8), num_get_le16(request + 16), &r))
		word = serve(m, type, &r, state);
	bytes = MAX(before, m->config.plugged_size) - MIN(before, m->config.plugged_size);
	atomic_fetch_add_explicit(&kind->bytes, bytes, memory_order_relaxed);
	if (word != VIRTIO_MEM_RESP_ACK)
		virtio_count(&kind->fails);
	latency_add(&kind->latency, loop_now_ns() - start_ns);
	return word;
}

static void handle(struct virtio_dev *v, unsigned q, const struct virtq_chain *c)
{
	struct vmem *m = vmem_of(v);
	uint8_t request[REQUEST_BYTES], answer[ANSWER_BYTES] = { 0 };
	uint16_t state = 0;

	if (c->in_len < sizeof(answer) || !virtq_read(c, 0, request, sizeof(request))) {
		virtio_count(&m->counters.malformed);
		virtio_fail(v, "request that is too short, or has no room for the answer");
		return;
	}
	num_put_le16(answer, judge(m, request, &state));
	num_put_le16(answer + 8, state);
	if (virtq_write(c, 0, answer, sizeof(answer)))
		virtio_push(v, q, c->head, sizeof(answer));
}

static void kick(struct virtio_dev *v, unsigned q)
{
	virtio_drain(v, q, BUDGET, handle);
}

/* -- configuration and life ------------------------------------------------------------------ */

static const void *config(struct virtio_dev *v, size_t *ret_len)
{
	*ret_len = sizeof(vmem_of(v)->config);
	return &vmem_of(v)->config;
}

static int activate(struct virtio_dev *v)
{
	if (virtio_acked(v, VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE))
		return 0;
	virtio_count(&vmem_of(v)->counters.activate_fails);
	return -EINVAL;
}

/* Plugs what a file says was plugged, in runs; the device is new. */
static void replug(struct vmem *m, const uint8_t *bits, struct state *s)
{
	uint64_t n_blocks = m->config.region_size / m->config.block_size;
	struct range run = { 0 };

	for (uint64_t i = 0; i <= n_blocks; i++) {
		if (i < n_blocks && (bits[i / 8] & 1u << i % 8)) {
			run.first = run.n ? run.first : i;
			run.n++;
			continue;
		}
		if (run.n > 0 && attach_slots(m, &run) < 0) {
			state_refuse(s, "plugged", "KVM does not take the memory");
			return;
		}
		if (run.n > 0) {
			count_blocks(m, &run, true);
			gmem_plug(m->region, run.first, run.n);
		}
		run.n = 0;
	}
}

static void plugged_fields(struct vmem *m, struct state *s)
{
	uint64_t n_blocks = m->config.region_size / m->config.block_size;
	size_t bytes = (n_blocks + 7) / 8;
	_cleanup_free_ uint8_t *bits = calloc(1, bytes);

	if (!bits) {
		state_refuse(s, "plugged", "no memory");
		return;
	}
	for (uint64_t i = 0; i < n_blocks; i++)
		if (gmem_plugged(m->region, i, 1))
			bits[i / 8] |= (uint8_t)(1u << i % 8);
	state_bytes(s, "plugged", bits, bytes);
	if (state_loading(s) && m->config.plugged_size > 0)
		state_refuse(s, "plugged", "there is memory already");
	else if (state_loading(s) && n_blocks % 8 && bits[bytes - 1] >> n_blocks % 8)
		state_refuse(s, "plugged", "a block behind the last one");
	if (state_loading(s) && state_error(s, NULL) == 0)
		replug(m, bits, s);
}

static void fields(struct virtio_dev *v, struct state *s)
{
	struct vmem *m = vmem_of(v);
	uint64_t wanted = m->config.requested_size;

	state_fixed(s, "address", m->config.addr);
	state_fixed(s, "region-size", m->config.region_size);
	state_fixed(s, "block-size", m->config.block_size);
	state_u64(s, "requested-size", &wanted);
	if (state_loading(s) &&
		(wanted > m->config.region_size || wanted % m->config.block_size != 0))
		state_refuse(s, "requested-size", "0x%llx is not a number of blocks",
			(unsigned long long)wanted);
	m->config.requested_size = wanted;
	plugged_fields(m, s);
}

static void destroy(struct virtio_dev *v)
{
	virtio_done(v);
	free(vmem_of(v)->slots);
	free(vmem_of(v));
}

/* A reset of the device leaves the blocks as they are (5.15.5.1): the next driver asks. */
static const struct virtio_ops vmem_ops = {
	.name = "mem",
	.id = VIRTIO_ID_MEM,
	.queue_max = QUEUE_SIZE,
	.config = config,
	.config_write = virtio_no_config_write,
	.activate = activate,
	.kick = kick,
	.cancel = virtio_no_cancel,
	.reset = virtio_no_reset,
	.state = fields,
	.destroy = destroy,
};

int vmem_create(const struct vmem_params *p, struct virtio_dev **ret, struct volt_err *err)
{
	const struct gmem_region *region = gmem_blocks(p->mem);
	struct vmem *m = calloc(1, sizeof(*m));

	assert(region && p->slot_bytes > 0 && region->bytes % p->slot_bytes == 0);
	assert(p->slot_bytes % region->block_bytes == 0);
	if (m)
		m->slots = calloc(region->bytes / p->slot_bytes, sizeof(m->slots[0]));
	if (!m || !m->slots) {
		free(m);
		return volt_err_set(err, ENOMEM, "%m");
	}
	m->region = region;
	m->vmfd = p->vmfd;
	m->first_slot = p->first_slot;
	m->slot_bytes = p->slot_bytes;
	m->slot_blocks = p->slot_bytes / region->block_bytes;
	m->config = (struct virtio_mem_config){
		.block_size = region->block_bytes,
		.addr = region->gpa,
		.region_size = region->bytes,
		.usable_region_size = region->bytes,
		.requested_size = p->wanted_bytes,
	};
	virtio_init(&m->v, &vmem_ops, "memory-hotplug",
		VIRTIO_BIT(VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE), 1);
	*ret = &m->v;
	return 0;
}

int vmem_want(struct virtio_dev *v, uint64_t bytes)
{
	struct vmem *m = vmem_of(v);
	int r = 0;

	virtio_lock(v);
	if (!virtio_alive(v)) {
		r = -ENODEV;
	} else if (bytes % m->config.block_size != 0 || bytes > m->config.region_size) {
		r = -EINVAL;
	} else if (bytes != m->config.requested_size) {
		m->config.requested_size = bytes;
		virtio_config_changed(v);
	}
	virtio_unlock(v);
	return r;
}

void vmem_status(struct virtio_dev *v, struct vmem_status *ret)
{
	struct vmem *m = vmem_of(v);

	virtio_lock(v);
	*ret = (struct vmem_status){
		.block_bytes = m->config.block_size,
		.total_bytes = m->config.region_size,
		.slot_bytes = m->slot_bytes,
		.plugged_bytes = m->config.plugged_size,
		.wanted_bytes = m->config.requested_size,
	};
	virtio_unlock(v);
}

const struct vmem_counters *vmem_counters(const struct virtio_dev *v)
{
	return &container_of(v, struct vmem, v)->counters;
}
