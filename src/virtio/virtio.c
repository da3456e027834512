/* SPDX-License-Identifier: Apache-2.0 */
/* What every virtio device is, see virtio.h. Section numbers: virtio 1.2. */
#include "virtio.h"

#include <errno.h>
#include <stdio.h>

#include "log.h"
#include "state.h"

#define STATUS_STOPPED (VIRTIO_CONFIG_S_FAILED | VIRTIO_CONFIG_S_NEEDS_RESET)

/* The steps of the initialisation (3.1.1), each with all before it. */
static const uint32_t steps[] = {
	VIRTIO_CONFIG_S_ACKNOWLEDGE,
	VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER,
	VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK,
	VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK |
		VIRTIO_CONFIG_S_DRIVER_OK,
};

void virtio_init(struct virtio_dev *v, const struct virtio_ops *ops, const char *name,
	uint64_t features, unsigned n_queues)
{
	assert(n_queues > 0 && n_queues <= VIRTIO_QUEUES_MAX);
	v->ops = ops;
	snprintf(v->name, sizeof(v->name), "%s", name);
	v->features = features | VIRTIO_COMMON_FEATURES;
	v->n_queues = n_queues;
	pthread_cond_init(&v->idle, NULL);
}

void virtio_done(struct virtio_dev *v)
{
	pthread_cond_destroy(&v->idle);
}

void virtio_attach(struct virtio_dev *v, const struct gmem *mem, struct virtio_link *link)
{
	v->link = link;
	for (unsigned q = 0; q < v->n_queues; q++)
		virtq_init(&v->queues[q], mem, v->ops->queue_max);
}

void virtio_lock(struct virtio_dev *v)
{
	/* #syscalls loop vcpu: futex */
	pthread_mutex_lock(v->link->lock);
}

void virtio_unlock(struct virtio_dev *v)
{
	pthread_mutex_unlock(v->link->lock);
}

bool virtio_alive(const struct virtio_dev *v)
{
	uint32_t status = atomic_load_explicit(&v->status, memory_order_relaxed);

	return (status & (VIRTIO_CONFIG_S_DRIVER_OK | STATUS_STOPPED)) ==
		       VIRTIO_CONFIG_S_DRIVER_OK &&
	       !v->draining;
}

bool virtio_running(const struct virtio_dev *v)
{
	return !v->paused && virtio_alive(v);
}

static void interrupt(struct virtio_dev *v, uint32_t why)
{
	atomic_fetch_or(&v->isr, why);
	virtio_count(
		why == VIRTIO_ISR_USED ? &v->counters.interrupts : &v->counters.config_interrupts);
	v->link->interrupt(v->link);
}

void virtio_kernel_path(struct virtio_dev *v, bool on)
{
	/* In this order a driver that reads it meanwhile finds the bit at any moment. */
	if (!on)
		atomic_fetch_or(&v->isr, VIRTIO_ISR_USED);
	atomic_store(&v->isr_always, on ? VIRTIO_ISR_USED : 0);
}

uint32_t virtio_isr(const struct virtio_dev *v)
{
	uint32_t always = atomic_load(&v->isr_always);

	return always | atomic_load(&v->isr);
}

/* Lock held, requests no longer wanted: the loop thread cancels what may never end. */
static void ask_to_cancel(struct virtio_dev *v)
{
	if (v->inflight > 0)
		v->link->kick(v->link, 0);
}

void virtio_fail(struct virtio_dev *v, const char *reason)
{
	uint32_t before = atomic_fetch_or(&v->status, VIRTIO_CONFIG_S_NEEDS_RESET);

	if (before & VIRTIO_CONFIG_S_NEEDS_RESET)
		return;
	virtio_count(&v->counters.failures);
	/* #syscalls loop vcpu: write */
	log_guest(LOG_WARN, "%s: %s; the device waits for a reset", v->name, reason);
	for (unsigned q = 0; q < v->n_queues; q++)
		v->queues[q].live = false;
	if (before & VIRTIO_CONFIG_S_DRIVER_OK) /* 2.1.2 */
		interrupt(v, VIRTIO_ISR_CONFIG);
	ask_to_cancel(v);
}

void virtio_config_changed(struct virtio_dev *v)
{
	atomic_fetch_add(&v->generation, 1);
	if (virtio_alive(v))
		interrupt(v, VIRTIO_ISR_CONFIG);
}

void virtio_notify(struct virtio_dev *v, unsigned q)
{
	if (virtio_alive(v) && virtq_should_notify(&v->queues[q]))
		interrupt(v, VIRTIO_ISR_USED);
}

void virtio_push(struct virtio_dev *v, unsigned q, uint16_t head, uint32_t len)
{
	if (virtio_alive(v) && virtq_push(&v->queues[q], head, len) < 0)
		virtio_fail(v, "used ring outside memory");
}

void virtio_push_many(
	struct virtio_dev *v, unsigned q, const struct virtq_used *used, unsigned n)
{
	if (virtio_alive(v) && virtq_push_many(&v->queues[q], used, n) < 0)
		virtio_fail(v, "used ring outside memory");
}

void virtio_begin(struct virtio_dev *v)
{
	v->inflight++;
}

void virtio_end(struct virtio_dev *v)
{
	assert(v->inflight > 0);
	if (--v->inflight == 0 && v->draining)
		pthread_cond_broadcast(&v->idle);
}

bool virtio_pop(struct virtio_dev *v, unsigned q, struct virtq_chain *c)
{
	int r = virtq_pop(&v->queues[q], c);
	char reason[96];

	if (r >= 0)
		return r > 0;
	virtio_count(r == -EFAULT ? &v->counters.bad_addresses : &v->counters.bad_chains);
	snprintf(reason, sizeof(reason), "queue %u: %s", q, c->fault);
	virtio_fail(v, reason);
	return false;
}

void virtio_drain(struct virtio_dev *v, unsigned q, unsigned budget,
	void (*handle)(struct virtio_dev *v, unsigned q, const struct virtq_chain *c))
{
	struct virtq *vq = &v->queues[q];
	unsigned before = budget;
	struct virtq_chain c;

	do {
		virtq_kicks_off(vq);
		while (virtio_pop(v, q, &c)) {
			handle(v, q, &c);
			if (!virtio_running(v))
				return;
			if (v->put_back) {
				v->put_back = false;
				virtq_unpop(vq, 1);
				virtio_notify(v, q);
				return;
			}
			if (--budget == 0) {
				/* Kicks stay off: we come back by ourselves. */
				v->link->kick(v->link, q);
				virtio_notify(v, q);
				return;
			}
		}
		/* A device that has failed for a broken chain has no live queue. */
	} while (virtq_kicks_on(vq));
	if (budget == before)
		virtio_count(&v->counters.empty_kicks);
	virtio_notify(v, q);
}

void virtio_put_back(struct virtio_dev *v)
{
	v->put_back = true;
}

void virtio_kick(struct virtio_dev *v, unsigned q)
{
	if (v->inflight > 0 && !virtio_alive(v)) {
		v->ops->cancel(v);
		return;
	}
	if (v->paused)
		return; /* virtio_resume() kicks all */
	if (q >= v->n_queues || !virtio_running(v) || !v->queues[q].live) {
		virtio_count(&v->counters.stray_kicks);
		return;
	}
	virtio_count(&v->counters.kicks);
	v->ops->kick(v, q);
}

int virtio_pause(struct virtio_dev *v, uint64_t deadline_ns)
{
	virtio_lock(v);
	v->paused = true;
	virtio_unlock(v);
	return v->ops->pause ? v->ops->pause(v, deadline_ns) : 0;
}

void virtio_kick_all(struct virtio_dev *v)
{
	for (unsigned q = 0; q < v->n_queues; q++)
		if (v->queues[q].live)
			v->link->kick(v->link, q);
}

void virtio_resume(struct virtio_dev *v)
{
	virtio_lock(v);
	v->paused = false;
	if (v->loaded && virtio_alive(v))
		interrupt(v, VIRTIO_ISR_USED);
	v->loaded = false;
	virtio_kick_all(v); /* first: a doorbell that is lent again is rung */
	virtio_unlock(v);
	if (v->ops->resume)
		v->ops->resume(v);
}

void virtio_settle(struct virtio_dev *v)
{
	virtio_lock(v);
	if (v->inflight > 0 && !virtio_alive(v))
		v->ops->cancel(v);
	virtio_unlock(v);
}

static void activate(struct virtio_dev *v)
{
	char reason[64];
	int r;

	for (unsigned q = 0; q < v->n_queues; q++) {
		if (!v->queues[q].ready)
			continue; /* a driver need not use them all */
		r = virtq_configure(&v->queues[q], v->acked);
		if (r < 0) {
			virtio_count(&v->counters.activate_failures);
			snprintf(reason, sizeof(reason), "queue %u: %s", q,
				r == -EFAULT ? "ring outside memory" : "bad size or alignment");
			virtio_fail(v, reason);
			return;
		}
	}
	if (v->ops->activate(v) < 0) {
		virtio_count(&v->counters.activate_failures);
		virtio_fail(v, "activation failed");
		return;
	}
	/* A driver may have filled a queue, and even kicked, before DRIVER_OK. */
	virtio_kick_all(v);
}

static bool is_step(uint32_t status)
{
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
		if (steps[i] == status)
			return true;
	return false;
}

void virtio_set_status(struct virtio_dev *v, uint32_t status)
{
	uint32_t now = atomic_load(&v->status);
	/* Ours: the driver may write it back, or not. */
	uint32_t mine = now & VIRTIO_CONFIG_S_NEEDS_RESET;
	bool features_ok = (v->acked & ~v->features) == 0 && virtio_acked(v, VIRTIO_F_VERSION_1);

	status &= 0xffu & ~(uint32_t)VIRTIO_CONFIG_S_NEEDS_RESET;
	now &= ~mine;
	if (v->draining || (now & VIRTIO_CONFIG_S_FAILED)) {
		virtio_count(&v->counters.bad_status);
		return;
	}
	if (status & VIRTIO_CONFIG_S_FAILED) {
		atomic_store(&v->status, now | mine | VIRTIO_CONFIG_S_FAILED);
		ask_to_cancel(v);
		return;
	}
	if (!is_step(status) || (now & ~status)) {
		virtio_count(&v->counters.bad_status);
		return;
	}
	if ((status & ~now & VIRTIO_CONFIG_S_FEATURES_OK) && !features_ok) {
		virtio_count(&v->counters.bad_features);
		status = steps[1];
	}
	atomic_store(&v->status, status | mine);
	if (status & ~now & VIRTIO_CONFIG_S_DRIVER_OK)
		activate(v);
}

void virtio_reset(struct virtio_dev *v)
{
	v->draining++;
	ask_to_cancel(v);
	while (v->inflight > 0) /* #syscalls vcpu: futex */
		pthread_cond_wait(&v->idle, v->link->lock);
	v->draining--;
	v->ops->reset(v);
	for (unsigned q = 0; q < v->n_queues; q++)
		virtq_reset(&v->queues[q]);
	v->acked = 0;
	atomic_store(&v->isr, 0);
	atomic_store(&v->status, 0);
	virtio_count(&v->counters.resets);
}

/* The driver is as far as it was, if what it wrote can be. */
static void reactivate(struct virtio_dev *v, struct state *s)
{
	for (unsigned q = 0; q < v->n_queues; q++)
		if (v->queues[q].ready && virtq_configure(&v->queues[q], v->acked) < 0) {
			state_refuse(s, "queue",
				"%u is not in guest memory, or of no possible size", q);
			return;
		}
	if (v->ops->activate(v) < 0)
		state_refuse(s, "features", "the device cannot work with them");
}

static void check_loaded(struct virtio_dev *v, uint32_t status, struct state *s)
{
	uint32_t step = status & ~(uint32_t)STATUS_STOPPED;

	if (step && !is_step(step))
		state_refuse(s, "status", "0x%x is none that a device can have", status);
	if ((step & VIRTIO_CONFIG_S_FEATURES_OK) &&
		((v->acked & ~v->features) || !virtio_acked(v, VIRTIO_F_VERSION_1)))
		state_refuse(s, "acked", "0x%llx: this device does not have the features 0x%llx",
			(unsigned long long)v->acked,
			(unsigned long long)(v->acked & ~v->features));
}

void virtio_state(struct virtio_dev *v, struct state *s)
{
	uint32_t status = atomic_load(&v->status);

	state_fixed_text(s, "device", v->ops->name);
	state_fixed_text(s, "name", v->name);
	status = (uint32_t)state_value(s, "status", status, UINT8_MAX);
	state_u64(s, "acked", &v->acked);
	atomic_store(&v->isr,
		(uint32_t)state_value(s, "isr", atomic_load(&v->isr),
			VIRTIO_ISR_USED | VIRTIO_ISR_CONFIG));
	atomic_store(&v->generation,
		(uint32_t)state_value(s, "generation", atomic_load(&v->generation), UINT32_MAX));
	state_fixed(s, "queues", v->n_queues);
	for (unsigned q = 0; q < v->n_queues; q++)
		virtq_state(&v->queues[q], s);
	if (!state_loading(s) || state_error(s, NULL) < 0)
		return;
	check_loaded(v, status, s);
	if (state_error(s, NULL) < 0)
		return;
	atomic_store(&v->status, status);
	v->loaded = true;
	if (virtio_alive(v))
		reactivate(v, s);
}

const void *virtio_no_config(struct virtio_dev *v, size_t *ret_len)
{
	(void)v;
	*ret_len = 0;
	return NULL;
}

int virtio_no_config_write(struct virtio_dev *v, size_t off, const void *data, size_t len)
{
	(void)v;
	(void)off;
	(void)data;
	(void)len;
	return -EINVAL;
}

int virtio_no_activate(struct virtio_dev *v)
{
	(void)v;
	return 0;
}

void virtio_no_cancel(struct virtio_dev *v)
{
	(void)v;
}

void virtio_no_reset(struct virtio_dev *v)
{
	(void)v;
}
