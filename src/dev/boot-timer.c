/* SPDX-License-Identifier: Apache-2.0 */
/* Boot timer, see boot-timer.h. */
#include "boot-timer.h"

#include <time.h>

#include "loop.h"

static uint64_t cpu_now_ns(void)
{
	struct timespec ts;

	/* Not answered by the vDSO, unlike CLOCK_MONOTONIC. */
	/* #syscalls vcpu: clock_gettime */
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* Reads as zero, which is what data holds. */
static void reg_read(struct dev *d, uint64_t off, void *data, unsigned len)
{
	(void)d, (void)off, (void)data, (void)len;
}

static void reg_write(struct dev *d, uint64_t off, const void *data, unsigned len)
{
	struct boot_timer *t = container_of(d, struct boot_timer, dev);

	if (off != 0 || len != 1 || *(const uint8_t *)data != BOOT_TIMER_MAGIC) {
		atomic_fetch_add_explicit(&t->ignored, 1, memory_order_relaxed);
		return;
	}
	atomic_fetch_add_explicit(&t->boots, 1, memory_order_relaxed);
	t->events.on_boot(t->events.owner, loop_now_ns(), cpu_now_ns());
}

static const struct dev_ops boot_timer_ops = {
	.name = "boot-timer",
	.read = reg_read,
	.write = reg_write,
};

void boot_timer_init(struct boot_timer *t, const struct boot_timer_events *events)
{
	*t = (struct boot_timer){ .events = *events };
	dev_init(&t->dev, &boot_timer_ops);
}

void boot_timer_done(struct boot_timer *t)
{
	dev_done(&t->dev);
}
