/* SPDX-License-Identifier: Apache-2.0 */
/* The virtio-mmio transport, see vmmio.h. Registers: virtio 1.2, section 4.2.2. */
#include "vmmio.h"

#include <errno.h>
#include <linux/virtio_mmio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "cleanup.h"
#include "ioapic.h"
#include "kvm.h"
#include "loop.h"
#include "num.h"
#include "state.h"
#include "virtio.h"

#define MAGIC	0x74726976 /* "virt" */
#define VERSION 2

struct doorbell {
	struct loop_src src;
	struct vmmio *m; /* borrowed: the one that embeds this */
	unsigned index;
	int fd;				/* owned */
	_Atomic bool lent;		/* the kernel waits for it, the loop does not */
	char name[VIRTIO_NAME_MAX + 16]; /* "disk0.q1" */
};

struct vmmio {
	struct dev dev;
	struct virtio_link link;
	struct virtio_dev *v; /* owned */
	struct loop *loop;    /* borrowed */
	struct irq_line irq;
	uint32_t features_sel, acked_sel, queue_sel;
	struct doorbell doorbells[VIRTIO_QUEUES_MAX];
	struct loop_src wake_src; /* wakefd: stands in for doorbells that are lent */
	int wakefd;		  /* owned; -1 without env.irqfd */
};

static const uint32_t configurable = VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK |
	VIRTIO_CONFIG_S_FAILED | VIRTIO_CONFIG_S_NEEDS_RESET;

static void interrupt(struct virtio_link *link)
{
	struct vmmio *m = container_of(link, struct vmmio, link);

	irq_raise(&m->irq);
}

static void signal_fd(int fd)
{
	uint64_t one = 1;
	/* #syscalls loop vcpu: write */
	ssize_t n = write(fd, &one, sizeof(one));

	(void)n; /* only a counter at its maximum refuses, and then the doorbell has rung already */
}

/* Any thread: for the loop thread. */
static void ring(struct virtio_link *link, unsigned q)
{
	struct vmmio *m = container_of(link, struct vmmio, link);

	signal_fd(atomic_load(&m->doorbells[q].lent) ? m->wakefd : m->doorbells[q].fd);
}

/* Loop thread. */
static void on_doorbell(struct loop_src *src, uint32_t events)
{
	struct doorbell *b = container_of(src, struct doorbell, src);

	(void)events;
	if (atomic_load(&b->lent))
		return; /* the event was fetched before it was lent */
	loop_drain(b->fd);
	virtio_lock(b->m->v);
	virtio_kick(b->m->v, b->index);
	virtio_unlock(b->m->v);
}

/* Loop thread. Which queue was meant does not matter: this is rare, and a kick may find nothing. */
static void on_wake(struct loop_src *src, uint32_t events)
{
	struct vmmio *m = container_of(src, struct vmmio, wake_src);

	(void)events;
	loop_drain(m->wakefd);
	virtio_lock(m->v);
	for (unsigned q = 0; q < m->v->n_queues; q++)
		if (q == 0 || atomic_load(&m->doorbells[q].lent))
			virtio_kick(m->v, q);
	virtio_unlock(m->v);
}

/* Loop thread, lock held. A source without events stays in epoll, so that neither way can fail. */
static int lend(struct virtio_link *link, unsigned q)
{
	struct vmmio *m = container_of(link, struct vmmio, link);
	struct doorbell *b = &m->doorbells[q];

	atomic_store(&b->lent, true);
	loop_mod(m->loop, &b->src, 0);
	return b->fd;
}

static void reclaim(struct virtio_link *link, unsigned q)
{
	struct vmmio *m = container_of(link, struct vmmio, link);
	struct doorbell *b = &m->doorbells[q];

	loop_drain(b->fd); /* the kernel does not read it */
	loop_mod(m->loop, &b->src, EPOLLIN);
	atomic_store(&b->lent, false);
	if (virtio_running(m->v))
		signal_fd(b->fd);
}

/* -- reading --------------------------------------------------------------------------------- */

/* Registers that need no lock; false if `off` is none of them. */
static bool read_unlocked(const struct vmmio *m, uint64_t off, uint32_t *ret)
{
	switch (off) {
	case VIRTIO_MMIO_MAGIC_VALUE:
		*ret = MAGIC;
		return true;
	case VIRTIO_MMIO_VERSION:
		*ret = VERSION;
		return true;
	case VIRTIO_MMIO_DEVICE_ID:
		*ret = m->v->ops->id;
		return true;
	case VIRTIO_MMIO_VENDOR_ID:
		*ret = VMMIO_VENDOR;
		return true;
	case VIRTIO_MMIO_INTERRUPT_STATUS:
		*ret = virtio_isr(m->v);
		return true;
	case VIRTIO_MMIO_STATUS:
		*ret = atomic_load(&m->v->status);
		return true;
	case VIRTIO_MMIO_CONFIG_GENERATION:
		*ret = atomic_load(&m->v->generation);
		return true;
	case VIRTIO_MMIO_SHM_LEN_LOW: /* no shared memory: length and base are -1 (4.2.2) */
	case VIRTIO_MMIO_SHM_LEN_HIGH:
	case VIRTIO_MMIO_SHM_BASE_LOW:
	case VIRTIO_MMIO_SHM_BASE_HIGH:
		*ret = UINT32_MAX;
		return true;
	default:
		return false;
	}
}

/* The queue that QueueSel names, or NULL. Lock held. */
static struct virtq *selected(struct vmmio *m)
{
	return m->queue_sel < m->v->n_queues ? &m->v->queues[m->queue_sel] : NULL;
}

/* Lock held. */
static uint32_t read_locked(struct vmmio *m, uint64_t off)
{
	const struct virtq *q = selected(m);

	switch (off) {
	case VIRTIO_MMIO_DEVICE_FEATURES:
		return m->features_sel < 2 ? (uint32_t)(m->v->features >> (32 * m->features_sel))
					   : 0;
	case VIRTIO_MMIO_QUEUE_NUM_MAX:
		return q ? q->size_max : 0;
	case VIRTIO_MMIO_QUEUE_READY:
		return q ? q->ready : 0;
	default:
		virtio_count(&m->v->counters.bad_access);
		return 0;
	}
}

/* Lock held. Bytes behind the end of the configuration read as 0. */
static void read_config(struct vmmio *m, uint64_t off, void *data, unsigned len)
{
	size_t size;
	const uint8_t *config = m->v->ops->config(m->v, &size);

	if (off < size)
		memcpy(data, config + off, MIN(len, size - off));
}

static void reg_read(struct dev *d, uint64_t off, void *data, unsigned len)
{
	struct vmmio *m = container_of(d, struct vmmio, dev);
	uint32_t v;

	if (off < VIRTIO_MMIO_CONFIG && (len != 4 || off % 4 != 0)) {
		virtio_count(&m->v->counters.bad_access);
		return;
	}
	if (off < VIRTIO_MMIO_CONFIG && read_unlocked(m, off, &v)) {
		num_put_le32(data, v);
		return;
	}
	pthread_mutex_lock(&d->lock);
	if (off < VIRTIO_MMIO_CONFIG)
		num_put_le32(data, read_locked(m, off));
	else
		read_config(m, off - VIRTIO_MMIO_CONFIG, data, len);
	pthread_mutex_unlock(&d->lock);
}

/* -- writing --------------------------------------------------------------------------------- */

static void set_low(uint64_t *v, uint32_t low)
{
	*v = (*v & ~(uint64_t)UINT32_MAX) | low;
}

static void set_high(uint64_t *v, uint32_t high)
{
	*v = (*v & UINT32_MAX) | (uint64_t)high << 32;
}

/* Lock held. Registers of the selected queue; false: not one of them, or not now. */
static bool write_queue(struct vmmio *m, uint64_t off, uint32_t v)
{
	uint32_t status = atomic_load(&m->v->status);
	struct virtq *q = selected(m);

	if (!q)
		return false;
	/* A driver that has reset the device may still disable its queues one by one, as Linux
	 * does. */
	if (off == VIRTIO_MMIO_QUEUE_READY && v == 0 && !(status & VIRTIO_CONFIG_S_DRIVER_OK)) {
		q->ready = false;
		return true;
	}
	if ((status & configurable) != VIRTIO_CONFIG_S_FEATURES_OK || m->v->draining || q->ready)
		return false;
	switch (off) {
	case VIRTIO_MMIO_QUEUE_NUM:
		return v <= q->size_max && num_u16(v, &q->size) == 0;
	case VIRTIO_MMIO_QUEUE_READY:
		q->ready = v == 1;
		return q->ready;
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
		set_low(&q->desc_gpa, v);
		return true;
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
		set_high(&q->desc_gpa, v);
		return true;
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
		set_low(&q->avail_gpa, v);
		return true;
	case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
		set_high(&q->avail_gpa, v);
		return true;
	case VIRTIO_MMIO_QUEUE_USED_LOW:
		set_low(&q->used_gpa, v);
		return true;
	case VIRTIO_MMIO_QUEUE_USED_HIGH:
		set_high(&q->used_gpa, v);
		return true;
	default:
		return false;
	}
}

/* Lock held. */
static bool write_features(struct vmmio *m, uint32_t v)
{
	uint32_t status = atomic_load(&m->v->status);

	if ((status & configurable) || m->v->draining || m->acked_sel > 1)
		return false;
	if (m->acked_sel)
		set_high(&m->v->acked, v);
	else
		set_low(&m->v->acked, v);
	return true;
}

/* Lock held. */
static void write_status(struct vmmio *m, uint32_t v)
{
	if (v != 0) {
		virtio_set_status(m->v, v);
		return;
	}
	virtio_reset(m->v);
	m->features_sel = m->acked_sel = m->queue_sel = 0;
}

/* Lock held. */
static void write_locked(struct vmmio *m, uint64_t off, uint32_t v)
{
	bool ok = true;

	switch (off) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		m->features_sel = v;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		m->acked_sel = v;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		ok = write_features(m, v);
		break;
	case VIRTIO_MMIO_QUEUE_SEL:
		m->queue_sel = v;
		break;
	case VIRTIO_MMIO_STATUS:
		write_status(m, v);
		break;
	case VIRTIO_MMIO_SHM_SEL: /* no region exists, whichever is selected */
		break;
	default:
		ok = write_queue(m, off, v);
	}
	if (!ok)
		virtio_count(&m->v->counters.bad_access);
}

/* Lock held. */
static void write_config(struct vmmio *m, uint64_t off, const void *data, unsigned len)
{
	uint32_t status = atomic_load(&m->v->status);
	uint32_t stopped = VIRTIO_CONFIG_S_FAILED | VIRTIO_CONFIG_S_NEEDS_RESET;
	size_t size;

	m->v->ops->config(m->v, &size);
	if ((status & (VIRTIO_CONFIG_S_DRIVER | stopped)) != VIRTIO_CONFIG_S_DRIVER ||
		m->v->draining || off >= size || len > size - off ||
		m->v->ops->config_write(m->v, off, data, len) < 0)
		virtio_count(&m->v->counters.bad_config);
}

static void reg_write(struct dev *d, uint64_t off, const void *data, unsigned len)
{
	struct vmmio *m = container_of(d, struct vmmio, dev);
	uint32_t v = 0;

	if (off < VIRTIO_MMIO_CONFIG) {
		if (len != 4 || off % 4 != 0) {
			virtio_count(&m->v->counters.bad_access);
			return;
		}
		v = num_get_le32(data);
	}
	if (off == VIRTIO_MMIO_INTERRUPT_ACK) {
		atomic_fetch_and(&m->v->isr, ~v);
		return;
	}
	if (off == VIRTIO_MMIO_QUEUE_NOTIFY) {
		if (v < m->v->n_queues)
			signal_fd(m->doorbells[v].fd);
		else
			virtio_count(&m->v->counters.stray_kicks);
		return;
	}
	/* #syscalls loop vcpu: futex */
	pthread_mutex_lock(&d->lock);
	if (off < VIRTIO_MMIO_CONFIG)
		write_locked(m, off, v);
	else
		write_config(m, off - VIRTIO_MMIO_CONFIG, data, len);
	pthread_mutex_unlock(&d->lock);
}

static const struct dev_ops vmmio_ops = {
	.name = "virtio-mmio",
	.locks_itself = true,
	.read = reg_read,
	.write = reg_write,
};

/* -- life ------------------------------------------------------------------------------------ */

static int open_doorbell(struct vmmio *m, unsigned q, const struct vmmio_env *env,
	struct volt_err *err)
{
	struct doorbell *b = &m->doorbells[q];
	struct kvm_ioeventfd ioev = {
		.datamatch = q,
		.addr = env->base + VIRTIO_MMIO_QUEUE_NOTIFY,
		.len = 4,
		.flags = KVM_IOEVENTFD_FLAG_DATAMATCH,
	};
	int r;

	snprintf(b->name, sizeof(b->name), "%s.q%u", m->v->name, q);
	b->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (b->fd < 0)
		return volt_err_set(err, errno, "%s: eventfd: %m", b->name);
	r = loop_add(m->loop, &b->src, b->fd, EPOLLIN);
	if (r < 0)
		return volt_err_set(err, -r, "%s: watch the doorbell: %m", b->name);
	ioev.fd = b->fd;
	r = env->vmfd < 0 ? 0 : kvm_ioeventfd(env->vmfd, &ioev);
	if (r < 0)
		return volt_err_set(err, -r, "%s: KVM_IOEVENTFD: %m", b->name);
	return 0;
}

/* What a data path in the kernel needs. */
static int open_irqfd(struct vmmio *m, const struct vmmio_env *env, struct volt_err *err)
{
	int r;

	m->link.callfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	m->wakefd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (m->link.callfd < 0 || m->wakefd < 0)
		return volt_err_set(err, errno, "%s: eventfd: %m", m->v->name);
	r = loop_add(m->loop, &m->wake_src, m->wakefd, EPOLLIN);
	if (r < 0)
		return volt_err_set(err, -r, "%s: watch an eventfd: %m", m->v->name);
	if (!env->ioapic)
		return 0;
	r = ioapic_add_irqfd(env->ioapic, env->gsi, m->link.callfd, err);
	return r < 0 ? volt_err_wrap(err, "%s", m->v->name) : 0;
}

/* Takes down everything but the device. */
static void take_down(struct vmmio *m)
{
	loop_del(m->loop, &m->wake_src);
	fd_close(m->wakefd);
	fd_close(m->link.callfd);
	for (unsigned q = 0; q < VIRTIO_QUEUES_MAX; q++) {
		loop_del(m->loop, &m->doorbells[q].src);
		fd_close(m->doorbells[q].fd);
	}
	dev_done(&m->dev);
	free(m);
}

int vmmio_create(struct virtio_dev *v, const struct vmmio_env *env, struct vmmio **ret,
	struct volt_err *err)
{
	struct vmmio *m = calloc(1, sizeof(*m));
	int r = 0;

	if (!m)
		return volt_err_set(err, ENOMEM, "%s: %m", v->name);
	dev_init(&m->dev, &vmmio_ops);
	m->link = (struct virtio_link){ &m->dev.lock, interrupt, ring, lend, reclaim, -1 };
	m->wake_src = (struct loop_src){ on_wake, "wake", -1 };
	m->wakefd = -1;
	m->v = v;
	m->loop = env->loop;
	m->irq.ioapic = env->ioapic;
	m->irq.gsi = env->gsi;
	for (unsigned q = 0; q < VIRTIO_QUEUES_MAX; q++)
		m->doorbells[q] = (struct doorbell){
			.src = { .fn = on_doorbell, .name = m->doorbells[q].name, .fd = -1 },
			.m = m,
			.index = q,
			.fd = -1,
		};
	virtio_attach(v, env->mem, &m->link);
	for (unsigned q = 0; q < v->n_queues && r == 0; q++)
		r = open_doorbell(m, q, env, err);
	if (r == 0 && env->irqfd)
		r = open_irqfd(m, env, err);
	if (r < 0) {
		take_down(m);
		return r;
	}
	*ret = m;
	return 0;
}

void vmmio_destroy(struct vmmio *m)
{
	if (!m)
		return;
	m->v->ops->destroy(m->v);
	take_down(m);
}

struct dev *vmmio_dev(struct vmmio *m)
{
	return &m->dev;
}

struct virtio_dev *vmmio_virtio(struct vmmio *m)
{
	return m->v;
}

uint64_t vmmio_raised(const struct vmmio *m)
{
	return atomic_load_explicit(&m->irq.raised, memory_order_relaxed);
}

void vmmio_state(struct vmmio *m, struct state *s, unsigned instance)
{
	const struct virtio_ops *ops = m->v->ops;
	char type[STATE_NAME_MAX + 1];

	snprintf(type, sizeof(type), "virtio-%s", ops->name);
	virtio_lock(m->v);
	state_begin(s, "virtio-mmio", instance, 1);
	state_u32(s, "features-sel", &m->features_sel);
	state_u32(s, "acked-sel", &m->acked_sel);
	state_u32(s, "queue-sel", &m->queue_sel);
	virtio_state(m->v, s);
	state_end(s);
	if (ops->state) {
		state_begin(s, type, instance, 1);
		ops->state(m->v, s);
		state_end(s);
	}
	virtio_unlock(m->v);
}
