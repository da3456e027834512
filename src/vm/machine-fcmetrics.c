/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The counters under the names that Firecracker gives them: a table per group, exactly what its
 * clients know. What this monitor cannot do, or what cannot fail in it, counts nothing.
 */
#include <linux/virtio_ids.h>
#include <stdio.h>

#include "balloon.h"
#include "blk.h"
#include "fatal.h"
#include "machine.h"
#include "mmds.h"
#include "net.h"
#include "pmem.h"
#include "rng.h"
#include "virtio.h"
#include "vm.h"
#include "vmem.h"
#include "vmmio.h"
#include "vsock.h"

#define COUNT(name, ...)                                                                           \
	{                                                                                          \
		name, COUNTERS_COUNT, { __VA_ARGS__ }                                              \
	}
#define STORED(name, ...)                                                                          \
	{                                                                                          \
		name, COUNTERS_STORED, { __VA_ARGS__ }                                             \
	}
#define LATENCY(name, ...)                                                                         \
	{                                                                                          \
		name, COUNTERS_LATENCY, { __VA_ARGS__ }                                            \
	}

#define FIRST(type, field)  { 1, offsetof(type, field) }
#define SECOND(type, field) { 2, offsetof(type, field) }

/* -- virtio devices: the first object is what every device counts ---------------------------- */

#define VIRTIO(field) FIRST(struct virtio_counters, field)
#define BROKEN	      VIRTIO(bad_chains), VIRTIO(bad_addresses)

#define BALLOON(field) SECOND(struct balloon_counters, field)
static const struct counters_field balloon[] = {
	COUNT("activate_fails", VIRTIO(activate_failures)),
	COUNT("inflate_count", BALLOON(inflates)),
	COUNT("stats_updates_count", BALLOON(stats_updates)),
	COUNT("stats_update_fails", BALLOON(stats_failed)),
	COUNT("deflate_count", BALLOON(deflates)),
	COUNT("event_fails", BROKEN, BALLOON(malformed), BALLOON(discard_errors)),
	COUNT("free_page_report_count", BALLOON(report_ranges)),
	COUNT("free_page_report_freed", BALLOON(report_bytes)),
	COUNT("free_page_report_fails", BALLOON(report_errors)),
	COUNT("free_page_hint_count", BALLOON(hint_ranges)),
	COUNT("free_page_hint_freed", BALLOON(hint_bytes)),
	COUNT("free_page_hint_fails", BALLOON(hint_errors)),
};

#define BLK(field) SECOND(struct blk_counters, field)
static const struct counters_field block[] = {
	COUNT("activate_fails", VIRTIO(activate_failures)),
	COUNT("cfg_fails", VIRTIO(bad_config)),
	COUNT("no_avail_buffer", VIRTIO(empty_kicks)),
	COUNT("event_fails", BROKEN, BLK(malformed)),
	COUNT("execute_fails", BLK(io_errors)),
	COUNT("invalid_reqs_count", BLK(unsupported), BLK(out_of_range), BLK(bad_length),
		BLK(read_only), BLK(malformed)),
	COUNT("flush_count", BLK(flushes)),
	COUNT("queue_event_count", VIRTIO(kicks)),
	COUNT("rate_limiter_event_count", BLK(limiter_events)),
	COUNT("update_count", BLK(updates)),
	COUNT("update_fails", BLK(update_failures)),
	COUNT("read_bytes", BLK(read_bytes)),
	COUNT("write_bytes", BLK(written_bytes)),
	COUNT("read_count", BLK(reads)),
	COUNT("write_count", BLK(writes)),
	COUNT("rate_limiter_throttled_events", BLK(throttled)),
	COUNT("io_engine_throttled_events"), /* there is room for all that a queue can hold */
	COUNT("remaining_reqs_count", BLK(left_waiting)),
	LATENCY("read_agg", BLK(read)),
	LATENCY("write_agg", BLK(write)),
};

#define NET(field) SECOND(struct net_counters, field)
static const struct counters_field net[] = {
	COUNT("activate_fails", VIRTIO(activate_failures)),
	COUNT("cfg_fails", VIRTIO(bad_config)),
	COUNT("no_rx_avail_buffer", NET(rx_no_buffers)),
	COUNT("no_tx_avail_buffer", NET(tx_empty_kicks)),
	COUNT("event_fails", BROKEN),
	COUNT("rx_queue_event_count", NET(rx_kicks)),
	COUNT("rx_event_rate_limiter_count", NET(rx_limiter_events)),
	COUNT("rx_rate_limiter_throttled", NET(rx_throttled)),
	COUNT("rx_tap_event_count", NET(rx_events)),
	COUNT("rx_bytes_count", NET(rx_bytes)),
	COUNT("rx_packets_count", NET(rx_packets)),
	COUNT("rx_fails", NET(rx_dropped_too_long), NET(rx_dropped_malformed),
		NET(rx_dropped_link_down), NET(rx_dropped_reset)),
	COUNT("rx_count", NET(rx_packets)),
	COUNT("tap_read_fails", NET(rx_errors)),
	COUNT("tap_write_fails", NET(tx_dropped_backend)),
	COUNT("tx_bytes_count", NET(tx_bytes)),
	COUNT("tx_malformed_frames", NET(tx_dropped_malformed), NET(tx_dropped_offload)),
	COUNT("tx_fails", NET(tx_dropped_backend)),
	COUNT("tx_count", NET(tx_packets)),
	COUNT("tx_packets_count", NET(tx_packets)),
	COUNT("tx_queue_event_count", NET(tx_kicks)),
	COUNT("tx_rate_limiter_event_count", NET(tx_limiter_events)),
	COUNT("tx_rate_limiter_throttled", NET(tx_throttled)),
	COUNT("tx_spoofed_mac_count", NET(tx_spoofed_mac)),
	COUNT("tx_remaining_reqs_count", NET(tx_left_waiting)),
	LATENCY("tap_write_agg", NET(tx_send)),
};

#define VSOCK(field) SECOND(struct vsock_counters, field)
static const struct counters_field vsock[] = {
	COUNT("activate_fails", VIRTIO(activate_failures)),
	COUNT("cfg_fails", VIRTIO(bad_config)),
	COUNT("rx_queue_event_fails"), /* the kind of queue is not known: */
	COUNT("tx_queue_event_fails", BROKEN, VSOCK(tx_malformed)),
	COUNT("ev_queue_event_fails"),
	COUNT("muxer_event_fails", VSOCK(accept_errors), VSOCK(bad_requests)),
	COUNT("conn_event_fails", VSOCK(tx_over_credit)),
	COUNT("rx_queue_event_count", VSOCK(rx_kicks)),
	COUNT("tx_queue_event_count", VSOCK(tx_kicks)),
	COUNT("rx_bytes_count", VSOCK(rx_bytes)),
	COUNT("tx_bytes_count", VSOCK(tx_bytes)),
	COUNT("rx_packets_count", VSOCK(rx_packets)),
	COUNT("tx_packets_count", VSOCK(tx_packets)),
	COUNT("conns_added", VSOCK(connections_added)),
	COUNT("conns_killed", VSOCK(connections_reset)),
	COUNT("conns_removed", VSOCK(connections_ended)),
	COUNT("killq_resync"), /* there is no queue of connections to kill */
	COUNT("tx_flush_fails"),
	COUNT("tx_write_fails", VSOCK(host_write_errors)),
	COUNT("rx_read_fails", VSOCK(host_read_errors)),
};

#define RNG(field) SECOND(struct rng_counters, field)
static const struct counters_field entropy[] = {
	COUNT("activate_fails", VIRTIO(activate_failures)),
	COUNT("entropy_event_fails", BROKEN),
	COUNT("entropy_event_count", VIRTIO(kicks)),
	COUNT("entropy_bytes", RNG(bytes)),
	COUNT("host_rng_fails", RNG(failed)),
	COUNT("entropy_rate_limiter_throttled", RNG(throttled)),
	COUNT("rate_limiter_event_count", RNG(limiter_events)),
};

#define PMEM(field) SECOND(struct pmem_counters, field)
static const struct counters_field pmem[] = {
	COUNT("activate_fails", VIRTIO(activate_failures)),
	COUNT("cfg_fails", VIRTIO(bad_config)),
	COUNT("event_fails", BROKEN, PMEM(malformed), PMEM(unsupported), PMEM(failed)),
	COUNT("queue_event_count", VIRTIO(kicks)),
	COUNT("rate_limiter_throttled_events", PMEM(throttled)),
	COUNT("rate_limiter_event_count", PMEM(limiter_events)),
};

#define VMEM(field) SECOND(struct vmem_counters, field)
static const struct counters_field memory_hotplug[] = {
	COUNT("activate_fails", VIRTIO(activate_failures)),
	COUNT("queue_event_fails", BROKEN, VMEM(malformed), VMEM(unknown)),
	COUNT("queue_event_count", VIRTIO(kicks)),
	COUNT("plug_count", VMEM(plug.count)),
	COUNT("plug_bytes", VMEM(plug.bytes)),
	COUNT("plug_fails", VMEM(plug.fails)),
	LATENCY("plug_agg", VMEM(plug.latency)),
	COUNT("unplug_count", VMEM(unplug.count)),
	COUNT("unplug_bytes", VMEM(unplug.bytes)),
	COUNT("unplug_fails", VMEM(unplug.fails)),
	LATENCY("unplug_agg", VMEM(unplug.latency)),
	COUNT("unplug_discard_fails", VMEM(discard_fails)),
	COUNT("state_count", VMEM(state.count)),
	COUNT("state_fails", VMEM(state.fails)),
	LATENCY("state_agg", VMEM(state.latency)),
	COUNT("unplug_all_count", VMEM(unplug_all.count)),
	COUNT("unplug_all_fails", VMEM(unplug_all.fails)),
	LATENCY("unplug_all_agg", VMEM(unplug_all.latency)),
};

#define MMDS(field) FIRST(struct mmds_counters, field)
static const struct counters_field mmds[] = {
	COUNT("rx_accepted", MMDS(rx_accepted)),
	COUNT("rx_accepted_err", MMDS(rx_accepted_err)),
	COUNT("rx_accepted_unusual", MMDS(rx_accepted_unusual)),
	COUNT("rx_bad_eth", MMDS(rx_bad_eth)),
	COUNT("rx_invalid_token", MMDS(rx_invalid_token)),
	COUNT("rx_no_token", MMDS(rx_no_token)),
	COUNT("rx_count", MMDS(rx_count)),
	COUNT("tx_bytes", MMDS(tx_bytes)),
	COUNT("tx_count", MMDS(tx_count)),
	COUNT("tx_errors", MMDS(tx_errors)),
	COUNT("tx_frames", MMDS(tx_frames)),
	COUNT("connections_created", MMDS(connections_created)),
	COUNT("connections_destroyed", MMDS(connections_destroyed)),
};

/* -- the platform ---------------------------------------------------------------------------- */

#define VCPU(field) FIRST(struct vcpu, field)
static const struct counters_field vcpu[] = {
	COUNT("exit_io_in", VCPU(exits_io_in)),
	COUNT("exit_io_out", VCPU(exits_io_out)),
	COUNT("exit_mmio_read", VCPU(exits_mmio_read)),
	COUNT("exit_mmio_write", VCPU(exits_mmio_write)),
	COUNT("failures", VCPU(failures)),
	COUNT("kvmclock_ctrl_fails", VCPU(kvmclock_ctrl_fails)),
	LATENCY("exit_io_in_agg", VCPU(io_in)),
	LATENCY("exit_io_out_agg", VCPU(io_out)),
	LATENCY("exit_mmio_read_agg", VCPU(mmio_read)),
	LATENCY("exit_mmio_write_agg", VCPU(mmio_write)),
};

#define I8042(field) FIRST(struct i8042, field)
static const struct counters_field i8042[] = {
	COUNT("error_count", I8042(dropped)),
	COUNT("missed_read_count", I8042(missed_reads)),
	COUNT("missed_write_count", I8042(missed_writes)),
	COUNT("read_count", I8042(reads)),
	COUNT("reset_count", I8042(resets)),
	COUNT("write_count", I8042(writes)),
};

#define SERIAL(field)  FIRST(struct serial, field)
#define CONSOLE(field) SECOND(struct console_stats, field)
static const struct counters_field uart[] = {
	COUNT("error_count", CONSOLE(out_failures)),
	COUNT("flush_count", SERIAL(tx_pieces)),
	COUNT("missed_read_count", SERIAL(rx_overruns)),
	COUNT("missed_write_count", SERIAL(out.dropped)),
	COUNT("read_count", SERIAL(rx_taken)),
	COUNT("write_count", SERIAL(out.bytes)),
	COUNT("rate_limiter_dropped_bytes", CONSOLE(out_limited)),
};

static const struct counters_field interrupts[] = {
	COUNT("triggers", VIRTIO(interrupts), VIRTIO(config_interrupts)),
	COUNT("config_updates"), /* of a table of interrupts that PCI devices have */
};

/* -- the process ----------------------------------------------------------------------------- */

#define METRICS(field) FIRST(struct metrics, field)
static const struct counters_field logger[] = {
	COUNT("missed_metrics_count", METRICS(missed)),
	COUNT("metrics_fails", METRICS(failed)),
	COUNT("missed_log_count", { 2, 0 }),
	COUNT("rate_limited_log_count", { 3, 0 }),
};

#define FATAL(field) FIRST(struct fatal_counters, field)
static const struct counters_field signals[] = {
	STORED("sigbus", FATAL(sigbus)),
	STORED("sigsegv", FATAL(sigsegv)),
	STORED("sigxfsz", FATAL(sigxfsz)),
	STORED("sigxcpu", FATAL(sigxcpu)),
	COUNT("sigpipe", FATAL(sigpipe)),
	STORED("sighup", FATAL(sighup)),
	STORED("sigill", FATAL(sigill)),
};

static const struct counters_field seccomp[] = {
	STORED("num_faults", FATAL(bad_syscalls)),
};

static const struct counters_field vmm[] = {
	STORED("panic_count"), /* there is nothing like it */
};

/* name NULL: a part that is not shown. */
static void add(struct counters *c, const char *name, const struct counters_field *fields, size_t n,
	const void *first, const void *second)
{
	const void *const objects[] = { first, second };

	counters_add(c, name ? name : "", fields, n, objects, name);
}

/* v NULL: there is no such device. */
static void add_device(struct counters *c, const char *name, const struct counters_field *fields,
	size_t n, const struct virtio_dev *v, const void *counters)
{
	add(c, name, fields, n, v ? &v->counters : NULL, counters);
}

#define ADD(c, table, first, second)                                                               \
	add(c, #table, table, ARRAY_SIZE(table), first, second)
#define ADD_DEVICE(c, name, table, v, counters)                                                    \
	add_device(c, name, table, ARRAY_SIZE(table), v, (v) ? counters(v) : NULL)
#define ADD_HIDDEN(c, table, object) add(c, NULL, table, ARRAY_SIZE(table), object, NULL)
#define ADD_SUM(c, name, table)	     counters_add_sum(c, name, table, ARRAY_SIZE(table))

/* Device i of this kind, in the order of the configuration; NULL: there is none. */
static const struct virtio_dev *find(const struct vm *vm, uint16_t id, size_t i)
{
	for (size_t n = 0; n < vm->n_virtio; n++)
		if (vmmio_virtio(vm->virtio[n])->ops->id == id && i-- == 0)
			return vmmio_virtio(vm->virtio[n]);
	return NULL;
}

static void add_lists(const struct vm *vm, struct counters *c)
{
	const struct vm_config *cfg = vm->cfg;
	char name[sizeof("block_") + MAX(LIMIT_DISK_ID, MAX(LIMIT_NET_ID, LIMIT_PMEM_ID))];
	const struct virtio_dev *v;

	for (size_t i = 0; i < cfg->n_disks; i++) {
		snprintf(name, sizeof(name), "block_%s", cfg->disks[i].id);
		ADD_DEVICE(c, name, block, vm->disks[i], blk_counters);
	}
	ADD_SUM(c, "block", block);
	for (size_t i = 0; i < cfg->n_nets; i++) {
		snprintf(name, sizeof(name), "net_%s", cfg->nets[i].id);
		ADD_DEVICE(c, name, net, vm->nets[i], net_counters);
	}
	ADD_SUM(c, "net", net);
	for (size_t i = 0; i < cfg->n_pmems; i++) {
		snprintf(name, sizeof(name), "pmem_%s", cfg->pmems[i].id);
		v = find(vm, VIRTIO_ID_PMEM, i);
		ADD_DEVICE(c, name, pmem, v, pmem_counters);
	}
	ADD_SUM(c, "pmem", pmem);
	for (size_t i = 0; i < vm->n_virtio; i++)
		ADD_HIDDEN(c, interrupts, &vmmio_virtio(vm->virtio[i])->counters);
	ADD_SUM(c, "interrupts", interrupts);
}

static void add_single_devices(const struct vm *vm, struct counters *c)
{
	const struct virtio_dev *v = find(vm, VIRTIO_ID_BALLOON, 0);

	ADD_DEVICE(c, "balloon", balloon, v, balloon_counters);
	v = find(vm, VIRTIO_ID_VSOCK, 0);
	ADD_DEVICE(c, "vsock", vsock, v, vsock_counters);
	v = find(vm, VIRTIO_ID_RNG, 0);
	ADD_DEVICE(c, "entropy", entropy, v, rng_counters);
	v = find(vm, VIRTIO_ID_MEM, 0);
	ADD_DEVICE(c, "memory_hotplug", memory_hotplug, v, vmem_counters);
	ADD(c, mmds, vm->mmds ? &vm->mmds->counters : NULL, NULL);
}

void machine_fcmetrics(struct vm *vm)
{
	const void *const lines[] = { &vm->metrics, log_missed(), log_rate_limited() };
	struct counters *c = vm->metrics.firecracker;

	if (!c)
		return;
	add_single_devices(vm, c);
	add_lists(vm, c);
	for (size_t i = 0; i < vm->n_vcpus; i++)
		ADD_HIDDEN(c, vcpu, &vm->vcpus[i]);
	ADD_SUM(c, "vcpu", vcpu);
	ADD(c, i8042, &vm->i8042, NULL);
	ADD(c, uart, vm->serial, vm->console ? console_stats(vm->console) : NULL);
	counters_add(c, "logger", logger, ARRAY_SIZE(logger), lines, true);
	ADD(c, signals, fatal_counters(), NULL);
	ADD(c, seccomp, fatal_counters(), NULL);
	ADD(c, vmm, NULL, NULL);
}
