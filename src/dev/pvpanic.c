/* SPDX-License-Identifier: Apache-2.0 */
/* Panic notification, see pvpanic.h. */
#include "pvpanic.h"

static void reg_read(struct dev *d, uint64_t off, void *data, unsigned len)
{
	(void)d, (void)off, (void)len;
	*(uint8_t *)data = PVPANIC_PANICKED | PVPANIC_CRASH_LOADED;
}

static void reg_write(struct dev *d, uint64_t off, const void *data, unsigned len)
{
	struct pvpanic *p = container_of(d, struct pvpanic, dev);
	uint8_t v = *(const uint8_t *)data;

	(void)off, (void)len;
	if (v & PVPANIC_PANICKED) {
		atomic_fetch_add_explicit(&p->panics, 1, memory_order_relaxed);
		p->events.on_panic(p->events.owner);
	} else if (v & PVPANIC_CRASH_LOADED) {
		/* The guest goes on with its crash kernel: nothing to do but to have seen it. */
		atomic_fetch_add_explicit(&p->crash_loads, 1, memory_order_relaxed);
	} else {
		atomic_fetch_add_explicit(&p->ignored, 1, memory_order_relaxed);
	}
}

static const struct dev_ops pvpanic_ops = {
	.name = "pvpanic",
	.read = reg_read,
	.write = reg_write,
};

void pvpanic_init(struct pvpanic *p, const struct pvpanic_events *events)
{
	*p = (struct pvpanic){ .events = *events };
	dev_init(&p->dev, &pvpanic_ops);
}

void pvpanic_done(struct pvpanic *p)
{
	dev_done(&p->dev);
}
