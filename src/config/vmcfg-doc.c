/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration document as tables, see vmcfg-doc.h. Only data and its look-up. */
#include "vmcfg-doc.h"

#include <limits.h>
#include <string.h>

#include "vmcfg-judge.h"
#include "vmcfg-mac.h"

#define VM(member)	offsetof(struct vm_config, member)
#define DISK(member)	offsetof(struct disk_config, member)
#define PMEM(member)	offsetof(struct pmem_config, member)
#define NET(member)	offsetof(struct net_config, member)
#define LIMITER(member) offsetof(struct limiter_params, member)
#define BUCKET(member)	offsetof(struct bucket_params, member)

#define PATH_LENGTH .min = 1, .max = LIMIT_PATH - 1
#define ROWS(a)	    (a), ARRAY_SIZE(a)

const char vmcfg_doc_cmdline_firecracker[] = "reboot=k panic=1 nomodule 8250.nr_uarts=0 "
					     "i8042.noaux i8042.nomux i8042.dumbkbd "
					     "swiotlb=noforce";
/* Distribution kernels need modules, people want to see the console. */
const char vmcfg_doc_cmdline_flags[] = "console=ttyS0 reboot=k panic=1 i8042.noaux i8042.nomux "
				       "i8042.dumbkbd";

static const char *const cache_names[] = {
	[DISK_CACHE_WRITEBACK] = "Writeback",
	[DISK_CACHE_UNSAFE] = "Unsafe",
	NULL,
};
static const char *const io_names[] = {
	[DISK_IO_SYNC] = "Sync",
	[DISK_IO_URING] = "Async",
	NULL,
};
static const char *const backend_names[] = {
	[NET_BACKEND_TAP] = "Tap",
	[NET_BACKEND_MACVTAP] = "Macvtap",
	[NET_BACKEND_NETWORKD] = "Networkd",
	[NET_BACKEND_PASST] = "Passt",
	NULL,
};
static const char *const macvtap_names[] = {
	[MACVTAP_BRIDGE] = "Bridge",
	[MACVTAP_VEPA] = "Vepa",
	[MACVTAP_PRIVATE] = "Private",
	[MACVTAP_PASSTHRU] = "Passthru",
	NULL,
};
static const char *const mmds_versions[] = {
	[MMDS_V1] = "V1",
	[MMDS_V2] = "V2",
	NULL,
};
static const char *const console_names[] = {
	[CONSOLE_AUTO] = "Auto",
	[CONSOLE_OFF] = "Off",
	[CONSOLE_FILE] = "File",
	NULL,
};
static const char *const console_device_names[] = {
	[CONSOLE_SERIAL] = "Serial",
	[CONSOLE_VIRTIO] = "Virtio",
	NULL,
};
static const char *const boot_protocol_names[] = {
	[BOOT_PROTOCOL_AUTO] = "Auto",
	[BOOT_PROTOCOL_PVH] = "PVH",
	[BOOT_PROTOCOL_LINUX] = "Linux",
	NULL,
};
static const char *const huge_pages_names[] = {
	[HUGE_PAGES_NONE] = "None",
	[HUGE_PAGES_TRANSPARENT] = "Transparent",
	[HUGE_PAGES_2M] = "2M",
	NULL,
};
const char *const vmcfg_cpu_template_names[] = {
	[CPU_TEMPLATE_NONE] = "None", [CPU_TEMPLATE_C3] = "C3",	    [CPU_TEMPLATE_T2] = "T2",
	[CPU_TEMPLATE_T2S] = "T2S",   [CPU_TEMPLATE_T2CL] = "T2CL", [CPU_TEMPLATE_T2A] = "T2A",
	NULL,
};
static const char *const level_names[] = {
	[LOG_OFF] = "Off",   [LOG_ERROR] = "Error", [LOG_WARN] = "Warn",   [LOG_INFO] = "Info",
	[LOG_DEBUG] = "Debug", [LOG_TRACE] = "Trace", NULL,
};

/* Enums are read and written as unsigned. */
static_assert(sizeof(enum disk_cache) == sizeof(unsigned), "");
static_assert(sizeof(enum disk_io) == sizeof(unsigned), "");
static_assert(sizeof(enum net_backend) == sizeof(unsigned), "");
static_assert(sizeof(enum macvtap_mode) == sizeof(unsigned), "");
static_assert(sizeof(enum boot_protocol) == sizeof(unsigned), "");
static_assert(sizeof(enum mmds_version) == sizeof(unsigned), "");
static_assert(sizeof(enum huge_pages) == sizeof(unsigned), "");
static_assert(sizeof(enum cpu_template_name) == sizeof(unsigned), "");
static_assert(sizeof(enum console_mode) == sizeof(unsigned), "");
static_assert(sizeof(enum console_device) == sizeof(unsigned), "");
static_assert(sizeof(enum log_level) == sizeof(unsigned), "");

static const struct vmcfg_row boot_source[] = {
	{ "kernel_image_path", VMCFG_STRING, .offset = VM(kernel_path), PATH_LENGTH,
		.doc = "The kernel: an uncompressed ELF vmlinux or a bzImage." },
	{ "initrd_path", VMCFG_STRING, .offset = VM(initrd_path), PATH_LENGTH,
		.doc = "An initial RAM disk." },
	{ "boot_args", VMCFG_STRING, .offset = VM(cmdline), .min = 0, .max = LIMIT_CMDLINE - 1,
		.doc = "The kernel command line, printable ASCII. The default is Firecracker's." },
};

static const struct vmcfg_row drives[] = {
	{ "drive_id", VMCFG_STRING, .offset = DISK(id), .min = 1, .max = LIMIT_DISK_ID,
		.doc = "The name of the drive, unique among all; the default is disk0, disk1, "
		       "and so on. Letters, digits, underscores and hyphens." },
	{ "path_on_host", VMCFG_STRING, .required = true, .offset = DISK(path), PATH_LENGTH,
		.doc = "A raw image, whose size is a multiple of 512, or a block device." },
	{ "is_root_device", VMCFG_BOOL, .offset = DISK(root),
		.doc = "Makes it the first drive and puts root= on the command line. At most one "
		       "drive has it." },
	{ "partuuid", VMCFG_STRING, .offset = DISK(partuuid), .min = 1, .max = 64,
		.doc = "The root drive is named by this partition UUID." },
	{ "is_read_only", VMCFG_BOOL, .offset = DISK(read_only),
		.doc = "The guest cannot write, and the file is opened for reading only." },
	{ "cache_type", VMCFG_ENUM, .offset = DISK(cache), .def = DISK_CACHE_UNSAFE,
		.names = cache_names,
		.doc = "With Unsafe the guest cannot ask for its writes to be on stable storage." },
	{ "io_engine", VMCFG_ENUM, .offset = DISK(io), .def = DISK_IO_SYNC, .names = io_names,
		.doc = "Async uses io_uring." },
	{ "overlay_path", VMCFG_STRING, .offset = DISK(overlay), PATH_LENGTH,
		.doc = "What the guest writes goes to this file, and path_on_host, which must "
		       "stay as it is, is only read. It is made if it is not there. Neither "
		       "is_read_only nor Async goes with it. Volt's own." },
	{ "n_queues", VMCFG_UINT, .offset = DISK(n_queues), .min = 0, .max = LIMIT_DISK_QUEUES,
		.doc = "Request queues; 0 is one for each vCPU, up to the limit. Volt's own." },
	{ "rate_limiter", VMCFG_NESTED, .offset = DISK(limit), .object = &vmcfg_doc_limiter,
		.doc = "Limits requests, and the bytes they read and write." },
	{ "socket", VMCFG_NO_OBJECT },
};

/* An absent bucket is one of zeros: it does not limit. */
static const struct vmcfg_row bucket[] = {
	{ "size", VMCFG_U64, .required = true, .offset = BUCKET(size), .max = INT64_MAX,
		.doc = "Tokens that the bucket holds. 0 is no limit." },
	{ "one_time_burst", VMCFG_U64, .optional = true, .offset = BUCKET(one_time_burst),
		.max = INT64_MAX,
		.doc = "Tokens besides, which are spent first and do not come back. The default "
		       "is none." },
	{ "refill_time", VMCFG_U64, .required = true, .offset = BUCKET(refill_ms),
		.max = UINT64_MAX / 1000000, /* in nanoseconds it must be a number too */
		.doc = "Milliseconds in which an empty bucket fills. 0 is no limit." },
};
const struct vmcfg_section vmcfg_doc_bucket = { "token bucket", VMCFG_OBJECT, ROWS(bucket) };

static const struct vmcfg_row limiter[] = {
	{ "bandwidth", VMCFG_NESTED, .offset = LIMITER(bandwidth), .object = &vmcfg_doc_bucket,
		.doc = "A token is a byte." },
	{ "ops", VMCFG_NESTED, .offset = LIMITER(ops), .object = &vmcfg_doc_bucket,
		.doc = "A token is an operation: a frame, a request, a flush." },
};
const struct vmcfg_section vmcfg_doc_limiter = { "rate limiter", VMCFG_OBJECT, ROWS(limiter) };

static const struct vmcfg_row nets[] = {
	{ "iface_id", VMCFG_STRING, .offset = NET(id), .min = 1, .max = LIMIT_NET_ID,
		.doc = "The name of the interface, unique among all; the default is net0, net1, "
		       "and so on. Letters, digits, underscores and hyphens." },
	{ "backend", VMCFG_ENUM, .offset = NET(backend), .def = NET_BACKEND_TAP,
		.names = backend_names,
		.doc = "Where frames go. Tap: a tap, which is made if there is none. Macvtap: a "
		       "macvtap, made over a link of the host. Networkd: a tap that "
		       "systemd-networkd manages. Passt: a user-space network stack, which needs "
		       "no rights. Volt's own." },
	{ "host_dev_name", VMCFG_STRING, .offset = NET(host_dev), .min = 1,
		.max = LIMIT_IFNAME - 1, .judge = vmcfg_judge_link,
		.doc = "The name of the tap, or of the link below the macvtap. Required, but not "
		       "with fd or Passt." },
	{ "fd", VMCFG_INT, .optional = true, .offset = NET(fd), .min = 3, .max = INT_MAX,
		.def = UINT64_MAX,
		.doc = "A tap by its number as an open descriptor, in place of host_dev_name. "
		       "Volt's own." },
	{ "guest_mac", VMCFG_STRING, .offset = NET(mac), .min = 1, .max = VMCFG_MAC_TEXT,
		.judge = vmcfg_judge_mac,
		.doc = "The MAC address of the guest, such as 02:fc:00:00:00:01, unique among "
		       "all. The default is made from the ids of VM and interface, and is another "
		       "one at each start if the VM has no id of its own." },
	{ "mtu", VMCFG_U16, .optional = true, .offset = NET(mtu), .min = 68, .max = 65535,
		.doc = "The MTU that the guest is told. The default is to tell none." },
	{ "n_queue_pairs", VMCFG_UINT, .offset = NET(n_queue_pairs), .min = 1,
		.max = LIMIT_NET_PAIRS, .def = 1,
		.doc = "Pairs of queues; more than one only with a tap by name. Volt's own." },
	{ "vhost", VMCFG_BOOL, .offset = NET(vhost),
		.doc = "The host's kernel moves the frames, where it can. Not with Passt, not with "
		       "a rate limiter. Volt's own." },
	{ "bridge", VMCFG_STRING, .offset = NET(bridge), .min = 1, .max = LIMIT_IFNAME - 1,
		.judge = vmcfg_judge_link,
		.doc = "Networkd: the bridge that the tap joins. Volt's own." },
	{ "macvtap_mode", VMCFG_ENUM, .optional = true, .offset = NET(macvtap_mode),
		.def = MACVTAP_BRIDGE, .names = macvtap_names,
		.doc = "Macvtap: how frames go between macvtaps of one link. Volt's own." },
	{ "ports", VMCFG_WORDS, .offset = NET(ports), .min = 1, .max = LIMIT_PATH - 1,
		.judge = vmcfg_judge_port,
		.doc = "Passt: ports of the host that lead to ports of the guest, such as "
		       "tcp:8080:80 or udp:53:53. Volt's own." },
	{ "rx_rate_limiter", VMCFG_NESTED, .offset = NET(rx), .object = &vmcfg_doc_limiter,
		.doc = "For frames to the guest." },
	{ "tx_rate_limiter", VMCFG_NESTED, .offset = NET(tx), .object = &vmcfg_doc_limiter,
		.doc = "For frames from the guest." },
};

static const struct vmcfg_row pmems[] = {
	{ "id", VMCFG_STRING, .offset = PMEM(id), .min = 1, .max = LIMIT_PMEM_ID,
		.doc = "The name of the device, unique among all; the default is pmem0, pmem1, "
		       "and so on. Letters, digits, underscores and hyphens." },
	{ "path_on_host", VMCFG_STRING, .required = true, .offset = PMEM(path), PATH_LENGTH,
		.doc = "The file, or block device, that the guest sees as memory. It is not "
		       "empty." },
	{ "root_device", VMCFG_BOOL, .offset = PMEM(root),
		.doc = "Puts root=/dev/pmemN on the command line. At most one pmem device has it, "
		       "and no drive then." },
	{ "read_only", VMCFG_BOOL, .offset = PMEM(read_only),
		.doc = "The guest cannot write, and the file is opened for reading only." },
	{ "io_engine", VMCFG_ENUM, .offset = PMEM(io), .def = DISK_IO_SYNC, .names = io_names,
		.doc = "How the file is flushed; Async uses io_uring, so that no other device "
		       "waits for it. Volt's own." },
	{ "rate_limiter", VMCFG_NESTED, .offset = PMEM(limiter), .object = &vmcfg_doc_limiter,
		.doc = "Limits flushes. Each is one operation, and as many bytes as the file "
		       "has." },
};

static const struct vmcfg_row vsock[] = {
	{ "guest_cid", VMCFG_U64, .offset = VM(vsock_cid), .min = 3, .max = 0xfffffffe, .def = 3,
		.doc = "The address of the guest." },
	{ "uds_path", VMCFG_STRING, .required = true, .offset = VM(vsock_path), .min = 1,
		.max = LIMIT_SOCKET_PATH - 1,
		.doc = "The Unix socket on which the host connects to the guest. What the guest "
		       "connects to is this path with an underscore and the port behind it." },
	{ "vsock_id", VMCFG_IGNORED, .doc = "Firecracker has deprecated it." },
};

static const struct vmcfg_row mmds_config[] = {
	{ "network_interfaces", VMCFG_WORDS, .required = true, .offset = VM(mmds.interfaces),
		.min = 1, .max = LIMIT_NETS * (LIMIT_NET_ID + 1),
		.doc = "The ids of the interfaces on which the guest reaches the service, at least "
		       "one. Not with vhost: there the monitor sees no frames." },
	{ "version", VMCFG_ENUM, .offset = VM(mmds.version), .def = MMDS_V1,
		.names = mmds_versions,
		.doc = "With V2 the guest has to ask for a token and to show it. V1 is "
		       "deprecated." },
	{ "ipv4_address", VMCFG_STRING, .offset = VM(mmds.ipv4), .min = 1, .max = 15,
		.def_text = "169.254.169.254", .judge = vmcfg_judge_link_local,
		.doc = "The address of the service for the guest, from 169.254.1.0 to "
		       "169.254.254.255. The guest needs a route to it." },
	{ "imds_compat", VMCFG_BOOL, .offset = VM(mmds.imds_compat),
		.doc = "Answers are in the form of EC2's metadata service, whatever the guest "
		       "accepts." },
};

static const struct vmcfg_row machine_config[] = {
	{ "vcpu_count", VMCFG_UINT, .offset = VM(vcpus), .min = 1, .max = LIMIT_VCPUS, .def = 1,
		.doc = "The number of vCPUs." },
	{ "mem_size_mib", VMCFG_MIB, .offset = VM(mem_bytes), .min = 1, .max = LIMIT_MEM_MIB,
		.scale = MIB, .def = 128, .doc = "Guest memory in MiB." },
	{ "smt", VMCFG_BOOL, .offset = VM(smt),
		.doc = "Shows the guest two threads for each core; vcpu_count is 1 or even." },
	{ "cpu_template", VMCFG_ENUM, .offset = VM(cpu_template), .def = CPU_TEMPLATE_NONE,
		.names = vmcfg_cpu_template_names,
		.doc = "Makes the CPU look like another one, on the processors that the template "
		       "is for. Firecracker has deprecated it; cpu-config wins if both are "
		       "given." },
	{ "track_dirty_pages", VMCFG_BOOL, .offset = VM(track_dirty_pages),
		.doc = "Has KVM log the pages that the guest writes to." },
	{ "huge_pages", VMCFG_ENUM, .offset = VM(huge_pages), .def = HUGE_PAGES_NONE,
		.names = huge_pages_names,
		.doc = "Pages of guest memory. Transparent: huge pages as far as the host has "
		       "some. 2M: the huge pages that the host has reserved. With either, "
		       "mem_size_mib is even." },
};

static const struct vmcfg_row cpu_config[] = {
	{ "", VMCFG_JSON_OR_PATH, .offset = VM(cpu_config), .min = 1, .max = LIMIT_CONFIG_BYTES },
};

static const struct vmcfg_row entropy[] = {
	{ "rate_limiter", VMCFG_NESTED, .offset = VM(entropy_limit), .object = &vmcfg_doc_limiter,
		.doc = "Limits requests, and the bytes they get." },
};

static const struct vmcfg_row balloon[] = {
	{ "amount_mib", VMCFG_UINT, .required = true, .offset = VM(balloon.amount_mib), .min = 0,
		.max = LIMIT_MEM_MIB,
		.doc = "Memory in MiB that the guest is asked to give up, at most all it has." },
	{ "deflate_on_oom", VMCFG_BOOL, .required = true, .offset = VM(balloon.deflate_on_oom),
		.doc = "The guest may take memory back before it kills processes for want of it." },
	{ "stats_polling_interval_s", VMCFG_U16, .offset = VM(balloon.stats_interval_s), .min = 0,
		.max = UINT16_MAX,
		.doc = "Seconds between two questions for the guest's statistics; 0 is never." },
	{ "free_page_hinting", VMCFG_BOOL, .offset = VM(balloon.hinting),
		.doc = "The guest can be asked to give all free pages back at once." },
	{ "free_page_reporting", VMCFG_BOOL, .offset = VM(balloon.reporting),
		.doc = "The guest gives free pages back by itself, some seconds after they became "
		       "free." },
};

static const struct vmcfg_row hotplug[] = {
	{ "total_size_mib", VMCFG_MIB, .required = true, .offset = VM(hotplug_bytes), .min = 1,
		.max = LIMIT_MEM_MIB, .scale = MIB, .def = 128,
		.doc = "Memory in MiB that can be plugged, a multiple of slot_size_mib." },
	{ "block_size_mib", VMCFG_MIB, .offset = VM(hotplug_block_bytes), .min = 2,
		.max = LIMIT_MEM_MIB, .scale = MIB, .def = 2,
		.doc = "MiB that are plugged and unplugged at once, a power of two." },
	{ "slot_size_mib", VMCFG_MIB, .offset = VM(hotplug_slot_bytes), .min = 128,
		.max = LIMIT_MEM_MIB, .scale = MIB, .def = 128,
		.doc = "MiB that are kept from the guest as long as no block of them is plugged, "
		       "a multiple of block_size_mib. A smaller slot confines a hostile guest "
		       "better." },
	{ "requested_size_mib", VMCFG_MIB, .offset = VM(hotplug_wanted_bytes), .min = 0,
		.max = LIMIT_MEM_MIB, .scale = MIB, .def = 0,
		.doc = "MiB that the guest is asked to plug as soon as its driver runs, a multiple "
		       "of block_size_mib. Volt's own." },
};

static const struct vmcfg_row logger[] = {
	{ "log_path", VMCFG_STRING, .offset = VM(log.path), PATH_LENGTH,
		.doc = "A file or FIFO for the log; the default is standard error." },
	{ "level", VMCFG_LEVEL, .offset = VM(log.level), .def = LOG_INFO, .names = level_names,
		.doc = "The least important lines that are shown. Letter case does not matter, and "
		       "Warning is Warn." },
	{ "show_level", VMCFG_BOOL, .offset = VM(log.show_level),
		.doc = "Puts the level on each line." },
	{ "show_log_origin", VMCFG_BOOL, .offset = VM(log.show_origin),
		.doc = "Puts source file and line on each line." },
	{ "module", VMCFG_STRING, .offset = VM(log.module), .min = 1, .max = 64,
		.doc = "Shows only lines from source files whose name starts so." },
};

static const struct vmcfg_row metrics[] = {
	{ "metrics_path", VMCFG_STRING, .offset = VM(metrics_path), PATH_LENGTH,
		.doc = "A file or FIFO for the metrics, one JSON object per line." },
	{ "emit_id", VMCFG_BOOL, .offset = VM(metrics_emit_id),
		.doc = "Puts the instance's id into each line." },
	{ "properties", VMCFG_JSON, .offset = VM(metrics_properties), .min = 1,
		.max = LIMIT_CONFIG_BYTES, .judge = vmcfg_judge_texts,
		.doc = "With a text for each key; put into each line." },
};

static const struct vmcfg_row console[] = {
	{ "mode", VMCFG_ENUM, .offset = VM(console), .def = CONSOLE_AUTO, .names = console_names,
		.doc = "Auto: standard input and output. Off: none. File: output to path." },
	{ "path", VMCFG_STRING, .offset = VM(console_path), PATH_LENGTH,
		.doc = "Where the output goes with mode File." },
	{ "device", VMCFG_ENUM, .offset = VM(console_device), .def = CONSOLE_SERIAL,
		.names = console_device_names,
		.doc = "Serial: the serial port, ttyS0 to Linux. Virtio: also a virtio console, "
		       "hvc0, which gets the input; the output of both goes to the same place." },
	{ "rate_limiter", VMCFG_NESTED, .offset = VM(console_limit), .object = &vmcfg_doc_bucket,
		.doc = "Limits the output of the console; a token is a byte. What is too much is "
		       "dropped." },
};

static const struct vmcfg_row instance[] = {
	{ "id", VMCFG_STRING, .offset = VM(id), .min = 1, .max = LIMIT_ID,
		.def_text = "anonymous-instance",
		.doc = "The name of the VM in the log. Letters, digits and hyphens." },
	{ "acpi", VMCFG_NOT, .offset = VM(no_acpi), .def = true,
		.doc = "Describes the machine by ACPI; without, only by the MP table and the "
		       "kernel command line." },
	{ "boot_protocol", VMCFG_ENUM, .offset = VM(boot_protocol), .def = BOOT_PROTOCOL_AUTO,
		.names = boot_protocol_names,
		.doc = "How the kernel is entered. Auto: by its PVH entry if it has one, else by "
		       "its 64-bit entry." },
	{ "timeline", VMCFG_BOOL, .offset = VM(timeline),
		.doc = "Prints at the end where the time of the boot went." },
	{ "boot_timer", VMCFG_BOOL, .offset = VM(boot_timer),
		.doc = "Adds Firecracker's boot timer device." },
	{ "shutdown_timeout_s", VMCFG_U64, .offset = VM(shutdown_timeout_ms), .min = 1,
		.max = 86400, .scale = 1000, .def = 30,
		.doc = "Seconds that the guest has to power off after SIGTERM before it is "
		       "killed." },
};

static const struct vmcfg_row sandbox[] = {
	{ "seccomp", VMCFG_NOT, .offset = VM(no_seccomp), .def = true,
		.doc = "Confines every thread to the system calls it needs." },
	{ "landlock", VMCFG_NOT, .offset = VM(no_landlock), .def = true,
		.doc = "Takes away access to all files that are not open, where the host's kernel "
		       "can." },
};

static const struct vmcfg_row launch[] = {
	{ "metadata", VMCFG_STRING, .offset = VM(metadata_path), PATH_LENGTH },
	{ "mmds_size_limit", VMCFG_U64, .optional = true, .offset = VM(mmds_size_limit), .min = 1,
		.max = UINT32_MAX },
	{ "api_sock", VMCFG_STRING, .offset = VM(api_path), .min = 1,
		.max = LIMIT_SOCKET_PATH - 1 },
	{ "config_file", VMCFG_STRING, .offset = VM(replay_path), PATH_LENGTH },
	{ "http_api_max_payload_size", VMCFG_U64, .offset = VM(api_max_body), .min = 1,
		.max = LIMIT_API_BODY, .def = 51200 },
	{ "start_time_us", VMCFG_U64, .offset = VM(start_time_us), .max = INT64_MAX },
	{ "start_time_cpu_us", VMCFG_U64, .offset = VM(start_time_cpu_us), .max = INT64_MAX },
	{ "parent_cpu_time_us", VMCFG_U64, .offset = VM(parent_cpu_time_us), .max = INT64_MAX },
};


static const struct vmcfg_list disk_list = { VM(disks), VM(n_disks), sizeof(struct disk_config),
	LIMIT_DISKS, "disk", "disk" };
static const struct vmcfg_list pmem_list = { VM(pmems), VM(n_pmems), sizeof(struct pmem_config),
	LIMIT_PMEMS, "pmem", "pmem" };
static const struct vmcfg_list net_list = { VM(nets), VM(n_nets), sizeof(struct net_config),
	LIMIT_NETS, "interface", "net" };

/* The order is that of the dump. */
const struct vmcfg_section vmcfg_doc_sections[] = {
	{ "boot-source", VMCFG_OBJECT, ROWS(boot_source) },
	{ "drives", VMCFG_LIST, ROWS(drives), &disk_list },
	{ "network-interfaces", VMCFG_LIST, ROWS(nets), &net_list },
	{ "pmem", VMCFG_LIST, ROWS(pmems), &pmem_list },
	{ "vsock", VMCFG_OPTIONAL, ROWS(vsock) },
	{ "mmds-config", VMCFG_PRESENCE, ROWS(mmds_config), .present = VM(mmds.present) },
	{ "machine-config", VMCFG_OBJECT, ROWS(machine_config) },
	{ "cpu-config", VMCFG_VALUE, ROWS(cpu_config) },
	{ "balloon", VMCFG_PRESENCE, ROWS(balloon), .present = VM(balloon.present) },
	{ "entropy", VMCFG_PRESENCE, ROWS(entropy), .present = VM(entropy) },
	{ "memory-hotplug", VMCFG_PRESENCE, ROWS(hotplug), .present = VM(hotplug) },
	{ "logger", VMCFG_OBJECT, ROWS(logger) },
	{ "metrics", VMCFG_OBJECT, ROWS(metrics) },
	{ "console", VMCFG_OBJECT, ROWS(console) },
	{ "instance", VMCFG_OBJECT, ROWS(instance) },
	{ "sandbox", VMCFG_OBJECT, ROWS(sandbox) },
	{ "launch", VMCFG_LAUNCH, ROWS(launch) },
};
const size_t vmcfg_doc_n_sections = ARRAY_SIZE(vmcfg_doc_sections);

const struct vmcfg_section *vmcfg_doc_section(const char *name)
{
	for (size_t i = 0; i < vmcfg_doc_n_sections; i++)
		if (strcmp(vmcfg_doc_sections[i].name, name) == 0)
			return &vmcfg_doc_sections[i];
	return NULL;
}

const struct vmcfg_row *vmcfg_doc_row(const struct vmcfg_section *s, const char *key)
{
	for (size_t i = 0; i < s->n_rows; i++)
		if (strcmp(s->rows[i].key, key) == 0)
			return &s->rows[i];
	return NULL;
}
