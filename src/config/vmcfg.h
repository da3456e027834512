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

enum disk_io { DISK_IO_SYNC, DISK_IO_URING };
enum disk_cache { DISK_CACHE_WRITEBACK, DISK_CACHE_UNSAFE };
enum boot_protocol {
	BOOT_PROTOCOL_AUTO, /* PVH if the kernel has it, else Linux's 64-bit entry */
	BOOT_PROTOCOL_PVH,
	BOOT_PROTOCOL_LINUX,
};
enum console_mode {
	CONSOLE_AUTO, /* stdio; raw when stdin is a terminal */
	CONSOLE_OFF,  /* no output, no input */
	CONSOLE_FILE, /* output to console_path, no input */
};

struct disk_config {
	char *id;   /* drive_id; default "disk0", "disk1" ... */
	char *path; /* regular file or block device */
	char *partuuid;
	bool root; /* root=/dev/vdX is put on the command line */
	bool read_only;
	enum disk_io io;
	enum disk_cache cache; /* unsafe: FLUSH is not offered */
	unsigned n_queues;     /* 1..LIMIT_DISK_QUEUES; 0: one per vCPU up to the limit */
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

struct vm_config {
	char *id; /* 1..64 of [A-Za-z0-9-]; default "anonymous-instance" */

	char *kernel_path, *initrd_path; /* initrd_path may be NULL */
	char *cmdline; /* as given, or a default; before devices are added; printable ASCII */

	unsigned vcpus; /* 1..LIMIT_VCPUS */
	bool smt;	/* two threads a core; vcpus is 1 or even */
	uint64_t mem_bytes; /* whole MiB, 1..LIMIT_MEM_MIB */

	struct disk_config disks[LIMIT_DISKS]; /* the root disk first */
	size_t n_disks;
	struct net_config nets[LIMIT_NETS];
	size_t n_nets;
	char *vsock_path;   /* Unix socket; NULL: no vsock device */
	uint64_t vsock_cid; /* of the guest, 3..0xfffffffe */
	bool entropy; /* virtio-rng; on for flags, in a document only with "entropy" */

	enum console_mode console;
	char *console_path;

	bool boot_timer;
	uint64_t shutdown_timeout_ms; /* from SIGTERM to the kill, > 0 */

	/* Facts of this launch, not of the VM: they are not dumped. 0: unknown. */
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

	bool no_seccomp, no_landlock;
	bool no_acpi; /* MP table only */
	enum boot_protocol boot_protocol;
	bool timeline; /* the boot's time stamps are printed at the end */

	/* Something could not be read, and was reported: an absent value proves nothing. */
	bool partial;
};

/* What the command line asks for besides the configuration. */
enum vmcfg_action { VMCFG_RUN, VMCFG_CHECK, VMCFG_DUMP, VMCFG_VERSION, VMCFG_HELP };

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

/*
 * The meaning: first ranges, conflicts and duplicates; then, without keeping anything open or
 * creating anything, that the named files exist, are readable (writable) and of a possible kind
 * and size. May follow a vmcfg_cli() that had errors: what that could not read is not reported
 * again.
 */
void vmcfg_check(const struct vm_config *cfg, struct vmcfg_errors *errors);
void vmcfg_check_values(const struct vm_config *cfg, struct vmcfg_errors *errors);
void vmcfg_check_files(const struct vm_config *cfg, struct vmcfg_errors *errors);

/*
 * The whole configuration as a document that vmcfg_json() reads back to the same configuration.
 * 0, -ENOMEM or -EIO.
 */
int vmcfg_dump(const struct vm_config *cfg, FILE *out);

/* The text of --help. */
void vmcfg_usage(FILE *out);

#endif
