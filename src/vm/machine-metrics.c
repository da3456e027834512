/* SPDX-License-Identifier: Apache-2.0 */
/* Which counters the metrics file shows: a table of members per kind of device. */
#include "balloon.h"
#include "blk.h"
#include "machine.h"
#include "mmds.h"
#include "net.h"
#include "pmem.h"
#include "rng.h"
#include "vcon.h"
#include "virtio.h"
#include "vm.h"
#include "vmem.h"
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

/* Three of them, for struct latency. */
#define LATENCY(type, field)                                                                       \
	{ #field "_min_us", offsetof(type, field.min_us) },                                        \
		{ #field "_max_us", offsetof(type, field.max_us) },                                \
		{ #field "_sum_us", offsetof(type, field.sum_us) }

static const struct member virtio_members[] = {
	MEMBER(struct virtio_counters, kicks),
	MEMBER(struct virtio_counters, stray_kicks),
	MEMBER(struct virtio_counters, empty_kicks),
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
	MEMBER(struct virtio_counters, activate_failures),
};

static const struct member balloon_members[] = {
	MEMBER(struct balloon_counters, inflates),
	MEMBER(struct balloon_counters, deflates),
	MEMBER(struct balloon_counters, inflated_pages),
	MEMBER(struct balloon_counters, deflated_pages),
	MEMBER(struct balloon_counters, skipped_pages),
	MEMBER(struct balloon_counters, discards),
	MEMBER(struct balloon_counters, discard_errors),
	MEMBER(struct balloon_counters, malformed),
	MEMBER(struct balloon_counters, stats_updates),
	MEMBER(struct balloon_counters, stats_failed),
	MEMBER(struct balloon_counters, stats_unknown),
	MEMBER(struct balloon_counters, report_ranges),
	MEMBER(struct balloon_counters, report_bytes),
	MEMBER(struct balloon_counters, report_errors),
	MEMBER(struct balloon_counters, hint_ranges),
	MEMBER(struct balloon_counters, hint_bytes),
	MEMBER(struct balloon_counters, hint_errors),
	MEMBER(struct balloon_counters, hint_stale),
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
	MEMBER(struct blk_counters, throttled),
	MEMBER(struct blk_counters, limiter_events),
	MEMBER(struct blk_counters, updates),
	MEMBER(struct blk_counters, update_failures),
	MEMBER(struct blk_counters, left_waiting),
	LATENCY(struct blk_counters, read),
	LATENCY(struct blk_counters, write),
};

static const struct member rng_members[] = {
	MEMBER(struct rng_counters, requests),
	MEMBER(struct rng_counters, bytes),
	MEMBER(struct rng_counters, failed),
	MEMBER(struct rng_counters, throttled),
	MEMBER(struct rng_counters, limiter_events),
};

static const struct member net_members[] = {
	MEMBER(struct net_counters, rx_packets),
	MEMBER(struct net_counters, rx_bytes),
	MEMBER(struct net_counters, tx_packets),
	MEMBER(struct net_counters, tx_bytes),
	MEMBER(struct net_counters, rx_events),
	MEMBER(struct net_counters, tx_events),
	MEMBER(struct net_counters, rx_kicks),
	MEMBER(struct net_counters, tx_kicks),
	MEMBER(struct net_counters, tx_empty_kicks),
	MEMBER(struct net_counters, tx_left_waiting),
	LATENCY(struct net_counters, tx_send),
	MEMBER(struct net_counters, rx_no_buffers),
	MEMBER(struct net_counters, rx_throttled),
	MEMBER(struct net_counters, tx_throttled),
	MEMBER(struct net_counters, rx_limiter_events),
	MEMBER(struct net_counters, tx_limiter_events),
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
	MEMBER(struct net_counters, rx_detoured),
	MEMBER(struct net_counters, tx_detoured),
};

static const struct member mmds_members[] = {
	MEMBER(struct mmds_counters, rx_accepted),
	MEMBER(struct mmds_counters, rx_accepted_err),
	MEMBER(struct mmds_counters, rx_accepted_unusual),
	MEMBER(struct mmds_counters, rx_bad_eth),
	MEMBER(struct mmds_counters, rx_count),
	MEMBER(struct mmds_counters, rx_invalid_token),
	MEMBER(struct mmds_counters, rx_no_token),
	MEMBER(struct mmds_counters, tx_count),
	MEMBER(struct mmds_counters, tx_frames),
	MEMBER(struct mmds_counters, tx_bytes),
	MEMBER(struct mmds_counters, tx_errors),
	MEMBER(struct mmds_counters, connections_created),
	MEMBER(struct mmds_counters, connections_destroyed),
};

static const struct member vsock_members[] = {
	MEMBER(struct vsock_counters, rx_packets),
	MEMBER(struct vsock_counters, rx_bytes),
	MEMBER(struct vsock_counters, tx_packets),
	MEMBER(struct vsock_counters, tx_bytes),
	MEMBER(struct vsock_counters, rx_kicks),
	MEMBER(struct vsock_counters, tx_kicks),
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

static const struct member pmem_members[] = {
	MEMBER(struct pmem_counters, flushes),
	MEMBER(struct pmem_counters, syncs),
	MEMBER(struct pmem_counters, failed),
	MEMBER(struct pmem_counters, unsupported),
	MEMBER(struct pmem_counters, malformed),
	MEMBER(struct pmem_counters, throttled),
	MEMBER(struct pmem_counters, limiter_events),
};

#define VMEM_REQUESTS(kind)                                                                        \
	{ #kind "_count", offsetof(struct vmem_counters, kind.count) },                            \
		{ #kind "_fails", offsetof(struct vmem_counters, kind.fails) },                    \
		{ #kind "_bytes", offsetof(struct vmem_counters, kind.bytes) },                    \
		{ #kind "_min_us", offsetof(struct vmem_counters, kind.latency.min_us) },          \
		{ #kind "_max_us", offsetof(struct vmem_counters, kind.latency.max_us) },          \
		{ #kind "_sum_us", offsetof(struct vmem_counters, kind.latency.sum_us) }

static const struct member vmem_members[] = {
	VMEM_REQUESTS(plug),
	VMEM_REQUESTS(unplug),
	VMEM_REQUESTS(unplug_all),
	VMEM_REQUESTS(state),
	MEMBER(struct vmem_counters, unknown),
	MEMBER(struct vmem_counters, malformed),
	MEMBER(struct vmem_counters, slots_attached),
	MEMBER(struct vmem_counters, slots_detached),
	MEMBER(struct vmem_counters, slot_fails),
	MEMBER(struct vmem_counters, discard_fails),
	MEMBER(struct vmem_counters, activate_fails),
};

static const struct member serial_members[] = {
	MEMBER(struct serial, rx_bytes),
	MEMBER(struct serial, rx_overruns),
	MEMBER(struct serial, rx_taken),
	MEMBER(struct serial, tx_pieces),
};

static const struct member ring_members[] = {
	{ "tx_bytes", offsetof(struct console_ring, bytes) },
	{ "tx_dropped", offsetof(struct console_ring, dropped) },
};

static const struct member vcon_members[] = {
	MEMBER(struct vcon_counters, rx_bytes),
	MEMBER(struct vcon_counters, rx_no_buffers),
};

static const struct member console_members[] = {
	MEMBER(struct console_stats, out_bytes),
	MEMBER(struct console_stats, in_bytes),
	MEMBER(struct console_stats, out_dropped),
	MEMBER(struct console_stats, out_limited),
	MEMBER(struct console_stats, out_failures),
	MEMBER(struct console_stats, in_dropped),
};

static const struct member i8042_members[] = {
	MEMBER(struct i8042, resets),
	MEMBER(struct i8042, dropped),
	MEMBER(struct i8042, reads),
	MEMBER(struct i8042, writes),
	MEMBER(struct i8042, missed_reads),
	MEMBER(struct i8042, missed_writes),
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

static const struct member missed_members[] = { { "missed", 0 } };
static const struct member rate_limited_members[] = { { "rate_limited", 0 } };

static const struct member metrics_members[] = {
	MEMBER(struct metrics, missed),
	MEMBER(struct metrics, failed),
};

static const struct member vcpu_members[] = {
	MEMBER(struct vcpu, exits_io_in),
	MEMBER(struct vcpu, exits_io_out),
	MEMBER(struct vcpu, exits_mmio_read),
	MEMBER(struct vcpu, exits_mmio_write),
	LATENCY(struct vcpu, io_in),
	LATENCY(struct vcpu, io_out),
	LATENCY(struct vcpu, mmio_read),
	LATENCY(struct vcpu, mmio_write),
	MEMBER(struct vcpu, failures),
	MEMBER(struct vcpu, exits_other),
	MEMBER(struct vcpu, kvmclock_ctrl_fails),
};

static void add(struct metrics *m, const char *group, const void *base,
	const struct member *members, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct counters_field f = { members[i].name, COUNTERS_COUNT,
			{ { 1, members[i].offset } } };

		counters_add(m->own, group, &f, 1, &base, true);
	}
}

#define ADD(m, group, base, members) add(m, group, base, members, ARRAY_SIZE(members))

void machine_metrics(struct vm *vm)
{
	struct metrics *m = &vm->metrics;

	ADD(m, "ports", &vm->ports, bus_members);
	ADD(m, "mmio", &vm->mmio, bus_members);
	ADD(m, "ioapic", &vm->ioapic, ioapic_members);
	ADD(m, "serial", &vm->serial->out, ring_members);
	ADD(m, "serial", vm->serial, serial_members);
	if (vm->console)
		ADD(m, "console", console_stats(vm->console), console_members);
	ADD(m, "i8042", &vm->i8042, i8042_members);
	ADD(m, "log", log_missed(), missed_members);
	ADD(m, "log", log_rate_limited(), rate_limited_members);
	ADD(m, "metrics", m, metrics_members);
	if (vm->mmds)
		ADD(m, "mmds", &vm->mmds->counters, mmds_members);
	for (size_t i = 0; i < vm->n_vcpus; i++)
		ADD(m, vm->vcpus[i].name, &vm->vcpus[i], vcpu_members);
	for (size_t i = 0; i < vm->n_virtio; i++) {
		const struct virtio_dev *v = vmmio_virtio(vm->virtio[i]);

		ADD(m, v->name, &v->counters, virtio_members);
		if (v->ops->id == VIRTIO_ID_CONSOLE) {
			ADD(m, v->name, vcon_output(v), ring_members);
			ADD(m, v->name, vcon_counters(v), vcon_members);
		} else if (v->ops->id == VIRTIO_ID_BLOCK)
			ADD(m, v->name, blk_counters(v), blk_members);
		else if (v->ops->id == VIRTIO_ID_BALLOON)
			ADD(m, v->name, balloon_counters(v), balloon_members);
		else if (v->ops->id == VIRTIO_ID_RNG)
			ADD(m, v->name, rng_counters(v), rng_members);
		else if (v->ops->id == VIRTIO_ID_NET)
			ADD(m, v->name, net_counters(v), net_members);
		else if (v->ops->id == VIRTIO_ID_VSOCK)
			ADD(m, v->name, vsock_counters(v), vsock_members);
		else if (v->ops->id == VIRTIO_ID_PMEM)
			ADD(m, v->name, pmem_counters(v), pmem_members);
		else if (v->ops->id == VIRTIO_ID_MEM)
			ADD(m, v->name, vmem_counters(v), vmem_members);
	}
}
