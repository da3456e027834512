/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration of one VM. It is put together from the command line and Firecracker's JSON
 * file, checked as a whole, and constant from then on: nothing is opened and no KVM call is made
 * before it is complete. All mistakes are reported together, each with the path of its field.
 *
 *	vmcfg_defaults() -> vmcfg_json() and vmcfg_cli() -> vmcfg_check() -> const struct vm_config
 **
 *
 * Main thread. Strings are owned by the configuration.
 */
#ifndef VOLT_VMCFG_H
#define VOLT_VMCFG_H

#include <stdbool.h>
#include <stdio.h>

#include "bucket.h"
#include "err.h"
#include "limit.h"
#include "log.h"

struct json_t;

enum disk_io { DISK_IO_SYNC, DISK_IO_URING };
enum disk_cache { DISK_CACHE_WRITEBACK, DISK_CACHE_UNSAFE };
enum boot_protocol {
	BOOT_PROTOCOL_AUTO, /* PVH if the kernel has it, else Linux's 64-bit entry */
	BOOT_PROTOCOL_PVH,
	BOOT_PROTOCOL_LINUX,
};
enum mmds_version { MMDS_V1, MMDS_V2 }; /* V2: the guest needs a token */
/* Pages of guest memory; not None: mem_bytes is whole 2 MiB. */
enum huge_pages { HUGE_PAGES_NONE, HUGE_PAGES_TRANSPARENT, HUGE_PAGES_2M };
/* Firecracker's static CPU templates, by vmcfg_cpu_template_names[]. */
enum cpu_template_name {
	CPU_TEMPLATE_NONE,
	CPU_TEMPLATE_C3,
	CPU_TEMPLATE_T2,
	CPU_TEMPLATE_T2S,
	CPU_TEMPLATE_T2CL,
	CPU_TEMPLATE_T2A,
};
enum console_mode {
	CONSOLE_AUTO, /* stdio; raw when stdin is a terminal */
	CONSOLE_OFF,  /* no output, no input */
	CONSOLE_FILE, /* output to console_path, no input */
};

enum console_device {
	CONSOLE_SERIAL,
	CONSOLE_VIRTIO, /* beside the serial port, and with the input */
};

struct disk_config {
	char *id;   /* drive_id; default "disk0", "disk1" ... */
	char *path; /* regular file or block device */
	char *overlay; /* what the guest writes; then path is only read; NULL: it goes to path */
	char *partuuid;
	bool root; /* root=/dev/vdX is put on the command line */
	bool read_only;
	enum disk_io io;
	enum disk_cache cache; /* unsafe: FLUSH is not offered */
	unsigned n_queues;     /* 1..LIMIT_DISK_QUEUES; 0: one per vCPU up to the limit */
	struct limiter_params limit;
};

enum net_backend {
	NET_BACKEND_TAP,      /* host_dev, or fd; made and removed by us if there is none */
	NET_BACKEND_MACVTAP,  /* over the link host_dev */
	NET_BACKEND_NETWORKD, /* the tap host_dev, declared to systemd-networkd */
	NET_BACKEND_PASST,    /* no rights needed: a user-space network stack */
};
enum macvtap_mode { MACVTAP_BRIDGE, MACVTAP_VEPA, MACVTAP_PRIVATE, MACVTAP_PASSTHRU };

struct net_config {
	char *id; /* iface_id; default "net0", "net1" ... */
	enum net_backend backend;
	char *host_dev; /* name of a link of the host, < LIMIT_IFNAME; NULL: passt, or fd */
	int fd;		/* TAP: an inherited descriptor, > 2; -1: none */
	char *mac;	/* as given; NULL: from the VM's id, random if that is the default */
	uint8_t mac_bytes[6];	/* the one in use */
	uint16_t mtu;		/* 68..65535; 0: the guest is not told */
	unsigned n_queue_pairs; /* 1..LIMIT_NET_PAIRS */
	bool vhost;	/* the kernel's data path; not with a rate limit, not with passt */
	char *bridge;	/* NETWORKD: the bridge to join; NULL: none */
	enum macvtap_mode macvtap_mode;
	char *ports;	/* PASST: "tcp:8080:80 udp:53:53", host:guest; NULL: none */
	struct limiter_params rx, tx; /* to the guest, from the guest */
};

struct balloon_config {
	bool present;
	unsigned amount_mib;	   /* that the guest is asked to give up; at most its memory */
	bool deflate_on_oom;	   /* the guest may take it back when it has no other */
	uint16_t stats_interval_s; /* 0: no statistics */
	bool hinting, reporting;   /* of free pages: all when asked, as they become free */
};

struct pmem_config {
	char *id;   /* default "pmem0", "pmem1" ... */
	char *path; /* regular file or block device, not empty */
	bool root;  /* root=/dev/pmemN is put on the command line */
	bool read_only;
	enum disk_io io; /* how a flush is made */
	struct limiter_params limiter; /* of flushes: one operation, the file's length in bytes */
};

struct vm_config {
	char *id; /* 1..64 of [A-Za-z0-9-]; default "anonymous-instance" */

	char *kernel_path, *initrd_path; /* initrd_path may be NULL */
	char *cmdline; /* as given, or a default; before devices are added; printable ASCII */

	unsigned vcpus; /* 1..LIMIT_VCPUS */
	bool smt;	/* two threads a core; vcpus is 1 or even */
	uint64_t mem_bytes; /* whole MiB, 1..LIMIT_MEM_MIB */

	enum huge_pages huge_pages;
	bool track_dirty_pages; /* KVM logs what the guest writes to */

	enum cpu_template_name cpu_template; /* not used if there is cpu_config */
	/* A custom CPU template: JSON text, an object, or a string: the path of a file with one. */
	char *cpu_config; /* NULL: none */

	struct disk_config disks[LIMIT_DISKS]; /* the root disk first */
	size_t n_disks;
	struct net_config nets[LIMIT_NETS];
	size_t n_nets;
	struct pmem_config pmems[LIMIT_PMEMS];
	size_t n_pmems;
	char *vsock_path;   /* Unix socket; NULL: no vsock device */
	uint64_t vsock_cid; /* of the guest, 3..0xfffffffe */
	struct {
		bool present;
		enum mmds_version version;
		char *interfaces; /* ids of those that reach the service, joined by blanks */
		char *ipv4;	  /* its address for the guest, link-local */
		bool imds_compat; /* answers in the form of EC2's service only */
	} mmds;
	struct balloon_config balloon;
	bool entropy; /* virtio-rng; on for flags, in a document only with "entropy" */
	/* virtio-mem; bytes. Blocks come and go, slots are what KVM knows of them. */
	bool hotplug;
	uint64_t hotplug_bytes, hotplug_block_bytes, hotplug_slot_bytes, hotplug_wanted_bytes;

	struct limiter_params entropy_limit;

	enum console_mode console;
	enum console_device console_device;
	char *console_path;
	struct bucket_params console_limit; /* output, bytes: what is too much is dropped */

	bool boot_timer;
	uint64_t shutdown_timeout_ms; /* from SIGTERM to the kill, > 0 */

	/* Facts of this launch, not of the VM: they are not dumped. 0: unknown. */
	bool firecracker; /* called by that name: its defaults, its words */
	char *api_path;	  /* Unix socket of the API; NULL: none */
	uint64_t api_max_body; /* bytes of a request's body */
	char *metadata_path;	  /* JSON, what the guest may read at first; NULL: nothing */
	uint64_t mmds_size_limit; /* bytes of the metadata as compact JSON; 0: api_max_body */
	char *replay_path; /* a document that is put to the API's resources; NULL: none */
	uint64_t start_time_us;	     /* CLOCK_MONOTONIC when we were started */
	uint64_t start_time_cpu_us;  /* CPU time of this process at that moment */
	uint64_t parent_cpu_time_us; /* CPU time of its parent (a jailer) */

	struct {
		char *path; /* NULL: stderr */
		enum log_level level;
		bool show_level, show_origin;
		char *module;
	} log;
	char *metrics_path; /* NULL: none */
	bool metrics_emit_id;	  /* each line has the id */
	char *metrics_properties; /* JSON text, an object of texts, for each line; NULL: none */

	bool no_seccomp, no_landlock;
	bool no_acpi; /* MP table only */
	enum boot_protocol boot_protocol;
	bool timeline; /* the boot's time stamps are printed at the end */

	/* No guest is started, so it needs no kernel. */
	bool no_guest;

	/* Something could not be read, and was reported: an absent value proves nothing. */
	bool partial;
};

/* What the command line asks for besides the configuration. */
enum vmcfg_action {
	VMCFG_RUN,
	VMCFG_CHECK,
	VMCFG_DUMP,
	VMCFG_FINGERPRINT, /* of the CPU that a guest would see */
	VMCFG_VERSION,
	VMCFG_HELP,
};

/* Of enum cpu_template_name: "None", "C3" ...; NULL ends it. */
extern const char *const vmcfg_cpu_template_names[];

/* Mistakes, collected so that one run shows all of them. */
#define VMCFG_ERRORS_MAX 64

struct vmcfg_errors {
	size_t n; /* may exceed VMCFG_ERRORS_MAX; the rest is only counted */
	char *text[VMCFG_ERRORS_MAX];
};

/*
 * "path: message"; control characters are replaced, so that an error is always one line. Never
 * fails (what cannot be allocated is only counted).
 */
void vmcfg_error(struct vmcfg_errors *e, const char *path, const char *fmt, ...) PRINTF_LIKE(3, 4);
void vmcfg_errors_print(const struct vmcfg_errors *e, FILE *out);
void vmcfg_errors_done(struct vmcfg_errors *e);

/*
 * The defaults of the flags. The command line and the disks' ids are filled in by vmcfg_cli() and
 * vmcfg_json(), because their defaults depend on what else is there.
 */
void vmcfg_defaults(struct vm_config *cfg);
void vmcfg_done(struct vm_config *cfg);

/*
 * Reads argv (getopt_long; a --config-file in it is read first, so that flags override the file).
 * Every mistake goes to errors; the configuration is usable only if there is none. With --help or
 * --version nothing else is looked at, and there is no error.
 */
void vmcfg_cli(struct vm_config *cfg, int argc, char **argv, enum vmcfg_action *ret_action,
	struct vmcfg_errors *errors);

/*
 * Firecracker's configuration document, volt-vm(5), over what cfg has already; drives are added.
 * `name` stands for the file in messages. Absent keys get Firecracker's defaults: no entropy
 * device, drives without FLUSH.
 */
void vmcfg_json(struct vm_config *cfg, const char *text, size_t len, const char *name,
	struct vmcfg_errors *errors);

/* For the API, which puts the configuration together piece by piece. */

/* A drive or interface as it is before its keys are read; and the end of one. */
void vmcfg_item_default(const char *section, void *item);
void vmcfg_item_done(const char *section, void *item);
/* True if a guest may have this MAC address. */
bool vmcfg_mac_ok(const char *text);
/* Decides on the MAC addresses of interfaces, as the end of a document does. */
void vmcfg_settle_macs(struct vm_config *cfg);
/* boot_args of a document that has none. */
const char *vmcfg_default_cmdline(void);

/*
 * The keys of one parsed object over what is at base: `section` is the name of a top-level key, and
 * base its struct vm_config, or for a list the item. Absent keys and nulls leave the fields as they
 * are; nothing is required. The object of cpu-config is one value, which is kept as it is.
 */
void vmcfg_apply(const char *section, void *base, struct json_t *object,
	struct vmcfg_errors *errors);

/*
 * The meaning: first ranges, conflicts and duplicates; then, without keeping anything open or
 * creating anything, that the named files exist, are readable (writable) and of a possible kind
 * and size. May follow a vmcfg_cli() that had errors: what that could not read is not reported
 * again.
 */
void vmcfg_check(const struct vm_config *cfg, struct vmcfg_errors *errors);
void vmcfg_check_values(const struct vm_config *cfg, struct vmcfg_errors *errors);
void vmcfg_check_files(const struct vm_config *cfg, struct vmcfg_errors *errors);

/* An IPv4 address in dotted form as a number in the host's order; false if text is none. */
bool vmcfg_judge_ipv4(const char *text, uint32_t *ret);
/* 0, or -EINVAL and why it is no link-local address that is not reserved (RFC 3927, 2.1). */
int vmcfg_judge_link_local(const char *text, struct volt_err *err);

/*
 * The whole configuration as a document that vmcfg_json() reads back to the same configuration.
 * 0, -ENOMEM or -EIO.
 */
int vmcfg_dump(const struct vm_config *cfg, FILE *out);

/* The text of --help. */
void vmcfg_usage(FILE *out);

#endif
