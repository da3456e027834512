/* SPDX-License-Identifier: Apache-2.0 */
/* Which counters the metrics file shows: a table of members per kind of device. */
#include "blk.h"
#include "machine.h"
#include "net.h"
#include "rng.h"
#include "virtio.h"
#include "vm.h"
#include "vmmio.h"
#include "vsock.h"

#include <linux/virtio_ids.h>

struct member {
	const char *name;
	size_t offset;
};

#define MEMBER(type, field)                                                                        \
	{                                                                                          \
		#field, offsetof(type, field)                                                      \
	}

static const struct member virtio_members[] = {
	MEMBER(struct virtio_counters, kicks),
	MEMBER(struct virtio_counters, stray_kicks),
	MEMBER(struct virtio_counters, interrupts),
	MEMBER(struct virtio_counters, config_interrupts),
	MEMBER(struct virtio_counters, resets),
	MEMBER(struct virtio_counters, bad_access),
	MEMBER(struct virtio_counters, bad_status),
	MEMBER(struct virtio_counters, bad_features),
	MEMBER(struct virtio_counters, bad_config),
	MEMBER(struct virtio_counters, failures),
	MEMBER(struct virtio_counters, bad_chains),
	MEMBER(struct virtio_counters, bad_addresses),
};

static const struct member blk_members[] = {
	MEMBER(struct blk_counters, reads),
	MEMBER(struct blk_counters, writes),
	MEMBER(struct blk_counters, flushes),
	MEMBER(struct blk_counters, discards),
	MEMBER(struct blk_counters, write_zeroes),
	MEMBER(struct blk_counters, get_ids),
	MEMBER(struct blk_counters, read_bytes),
	MEMBER(struct blk_counters, written_bytes),
	MEMBER(struct blk_counters, unsupported),
	MEMBER(struct blk_counters, out_of_range),
	MEMBER(struct blk_counters, bad_length),
	MEMBER(struct blk_counters, read_only),
	MEMBER(struct blk_counters, io_errors),
	MEMBER(struct blk_counters, malformed),
};

static const struct member rng_members[] = {
	MEMBER(struct rng_counters, requests),
	MEMBER(struct rng_counters, bytes),
	MEMBER(struct rng_counters, failed),
};

static const struct member net_members[] = {
	MEMBER(struct net_counters, rx_packets),
	MEMBER(struct net_counters, rx_bytes),
	MEMBER(struct net_counters, tx_packets),
	MEMBER(struct net_counters, tx_bytes),
	MEMBER(struct net_counters, rx_events),
	MEMBER(struct net_counters, tx_events),
	MEMBER(struct net_counters, rx_no_buffers),
	MEMBER(struct net_counters, rx_throttled),
	MEMBER(struct net_counters, tx_throttled),
	MEMBER(struct net_counters, tx_blocked),
	MEMBER(struct net_counters, tx_spoofed_mac),
	MEMBER(struct net_counters, rx_dropped_too_long),
	MEMBER(struct net_counters, rx_dropped_malformed),
	MEMBER(struct net_counters, rx_dropped_link_down),
	MEMBER(struct net_counters, rx_dropped_reset),
	MEMBER(struct net_counters, tx_dropped_malformed),
	MEMBER(struct net_counters, tx_dropped_offload),
	MEMBER(struct net_counters, tx_dropped_backend),
	MEMBER(struct net_counters, rx_errors),
	MEMBER(struct net_counters, ctrl_commands),
	MEMBER(struct net_counters, ctrl_refused),
	MEMBER(struct net_counters, link_changes),
	MEMBER(struct net_counters, vhost_starts),
	MEMBER(struct net_counters, vhost_stops),
	MEMBER(struct net_counters, vhost_errors),
};

static const struct member vsock_members[] = {
	MEMBER(struct vsock_counters, rx_packets),
	MEMBER(struct vsock_counters, rx_bytes),
	MEMBER(struct vsock_counters, tx_packets),
	MEMBER(struct vsock_counters, tx_bytes),
	MEMBER(struct vsock_counters, connections_added),
	MEMBER(struct vsock_counters, connections_ended),
	MEMBER(struct vsock_counters, connections_reset),
	MEMBER(struct vsock_counters, connections_refused),
	MEMBER(struct vsock_counters, bad_requests),
	MEMBER(struct vsock_counters, tx_malformed),
	MEMBER(struct vsock_counters, tx_forged),
	MEMBER(struct vsock_counters, tx_over_credit),
	MEMBER(struct vsock_counters, host_read_errors),
	MEMBER(struct vsock_counters, host_write_errors),
	MEMBER(struct vsock_counters, accept_errors),
	MEMBER(struct vsock_counters, rx_resets_lost),
};

static const struct member serial_members[] = {
	MEMBER(struct serial, tx_bytes),
	MEMBER(struct serial, rx_bytes),
	MEMBER(struct serial, tx_dropped),
	MEMBER(struct serial, rx_overruns),
};

static const struct member console_members[] = {
	MEMBER(struct console_stats, out_bytes),
	MEMBER(struct console_stats, in_bytes),
	MEMBER(struct console_stats, out_dropped),
	MEMBER(struct console_stats, out_failures),
	MEMBER(struct console_stats, in_dropped),
};

static const struct member i8042_members[] = {
	MEMBER(struct i8042, resets),
	MEMBER(struct i8042, dropped),
};

static const struct member ioapic_members[] = {
	MEMBER(struct ioapic, delivered),
	MEMBER(struct ioapic, failed),
	MEMBER(struct ioapic, routings),
	MEMBER(struct ioapic, routings_failed),
};

static const struct member bus_members[] = {
	MEMBER(struct bus, unclaimed_reads),
	MEMBER(struct bus, unclaimed_writes),
};

static const struct member vcpu_members[] = {
	MEMBER(struct vcpu, exits_io),
	MEMBER(struct vcpu, exits_mmio),
	MEMBER(struct vcpu, exits_other),
};

static void add(struct metrics *m, const char *group, const void *base,
	const struct member *members, size_t n)
{
	for (size_t i = 0; i < n; i++)
		metrics_add(m, group, members[i].name,
			(const void *)((const char *)base + members[i].offset));
}

#define ADD(m, group, base, members) add(m, group, base, members, ARRAY_SIZE(members))

void machine_metrics(struct vm *vm)
{
	struct metrics *m = &vm->metrics;

	ADD(m, "ports", &vm->ports, bus_members);
	ADD(m, "mmio", &vm->mmio, bus_members);
	ADD(m, "ioapic", &vm->ioapic, ioapic_members);
	ADD(m, "serial", vm->serial, serial_members);
	if (vm->console)
		ADD(m, "console", console_stats(vm->console), console_members);
	ADD(m, "i8042", &vm->i8042, i8042_members);
	metrics_add(m, "log", "missed", log_missed());
	for (size_t i = 0; i < vm->n_vcpus; i++)
		ADD(m, vm->vcpus[i].name, &vm->vcpus[i], vcpu_members);
	for (size_t i = 0; i < vm->n_virtio; i++) {
		const struct virtio_dev *v = vmmio_virtio(vm->virtio[i]);

		ADD(m, v->name, &v->counters, virtio_members);
		if (v->ops->id == VIRTIO_ID_BLOCK)
			ADD(m, v->name, blk_counters(v), blk_members);
		else if (v->ops->id == VIRTIO_ID_RNG)
			ADD(m, v->name, rng_counters(v), rng_members);
		else if (v->ops->id == VIRTIO_ID_NET)
			ADD(m, v->name, net_counters(v), net_members);
		else if (v->ops->id == VIRTIO_ID_VSOCK)
			ADD(m, v->name, vsock_counters(v), vsock_members);
	}
}
