/* SPDX-License-Identifier: Apache-2.0 */
/* The flags as one table, see vmcfg-option.h; and the text of --help. */
#include "vmcfg-option.h"

#include <string.h>

#include "vmcfg-row.h"

#define HELP_COLUMN 30 /* where the help text starts */

#define ROW(section_, key_) .does = VMCFG_SET, .section = (section_), .key = (key_)
#define ACTION(action_)	    .does = VMCFG_ACTION, .action = (action_)
#define REFUSED(name_, arg_, why_)                                                                 \
	{                                                                                          \
		(name_), (arg_), (why_), .group = VMCFG_GROUP_LAUNCH, .does = VMCFG_REFUSE         \
	}

const struct vmcfg_option vmcfg_option_table[VMCFG_N_OPTIONS] = {
	{ "kernel", "PATH", "kernel: ELF vmlinux or bzImage", VMCFG_GROUP_MACHINE,
		ROW("boot-source", "kernel_image_path") },
	{ "initrd", "PATH", "initial RAM disk", VMCFG_GROUP_MACHINE,
		ROW("boot-source", "initrd_path") },
	{ "cmdline", "STRING", "kernel command line, instead of the default", VMCFG_GROUP_MACHINE,
		ROW("boot-source", "boot_args") },
	{ "cpus", "N", "number of vCPUs, 1 to 32 (default 1)", VMCFG_GROUP_MACHINE,
		ROW("machine-config", "vcpu_count") },
	{ "smt", NULL, "show the guest two threads for each core", VMCFG_GROUP_MACHINE,
		ROW("machine-config", "smt") },
	{ "mem", "SIZE", "memory in MiB, or with K, M, G or T (default 128)", VMCFG_GROUP_MACHINE,
		ROW("machine-config", "mem_size_mib") },
	{ "cpu-config", "PATH", "CPU template: a file with Firecracker's JSON object",
		VMCFG_GROUP_MACHINE, ROW("cpu-config", "") },
	{ "no-acpi", NULL, "describe the machine only by the MP table and the command line",
		VMCFG_GROUP_MACHINE, ROW("instance", "acpi") },

	{ "boot-protocol", "NAME", "how the kernel is entered: auto, pvh or linux (default auto)",
		VMCFG_GROUP_MACHINE, ROW("instance", "boot_protocol") },

	{ "disk", "PATH[,OPTION...]",
		"add a disk (repeatable); the first is the root disk\n"
		"unless another says root or the command line has root=\n"
		"  ro                      the guest cannot write\n"
		"  root                    this is the root disk\n"
		"  id=ID                   name (default disk0, disk1, ...)\n"
		"  overlay=FILE            writes go to FILE, PATH is only read\n"
		"  io=sync|uring           how it is read and written (default sync)\n"
		"  cache=writeback|unsafe  unsafe: the guest cannot flush\n"
		"  queues=N                1 to 8; 0: one for each vCPU (default)",
		VMCFG_GROUP_DEVICES, VMCFG_DISK },
	{ "net", "BACKEND[,OPTION...]",
		"add a network interface (repeatable); BACKEND is one of\n"
		"  tap=NAME        a tap; it is made if there is none\n"
		"  fd=N            a tap that is open as descriptor N\n"
		"  macvtap=LINK    a macvtap, made over a link of the host\n"
		"  networkd=NAME   a tap that systemd-networkd manages\n"
		"  passt           a user-space network; needs no rights\n"
		"and the options are\n"
		"  id=ID           name (default net0, net1, ...)\n"
		"  mac=MAC         default: made from both ids; random without --id\n"
		"  mtu=N           68 to 65535, which the guest is told\n"
		"  queues=N        pairs of queues, 1 (default) to 8; of tap=\n"
		"  vhost[=on|off]  the host's kernel moves the frames (default off)\n"
		"  mode=MODE       of macvtap=: bridge (default), vepa, private or\n"
		"                  passthru\n"
		"  bridge=NAME     of networkd=: the bridge to join\n"
		"  tcp=HOST:GUEST, udp=HOST:GUEST\n"
		"                  of passt: forward a port (repeatable)\n"
		"  rx-bandwidth=SIZE/MS[/BURST], rx-ops=N/MS[/BURST]\n"
		"                  bytes and frames to the guest in MS milliseconds,\n"
		"                  and once more as a burst; tx-...: from the guest",
		VMCFG_GROUP_DEVICES, VMCFG_NET },
	{ "vsock", "PATH[,cid=N]",
		"virtio-vsock; the host connects to the Unix socket PATH, the\n"
		"guest's address is N (default 3)",
		VMCFG_GROUP_DEVICES, VMCFG_VSOCK },
	{ "console", "auto|off|file:PATH",
		"console: standard input and output, none, or a file", VMCFG_GROUP_DEVICES,
		VMCFG_CONSOLE },
	{ "console-device", "NAME",
		"serial: the serial port (default); virtio: hvc0 besides, which gets\n"
		"the input",
		VMCFG_GROUP_DEVICES, ROW("console", "device") },
	{ "no-entropy", NULL, "no virtio entropy device", VMCFG_GROUP_DEVICES, VMCFG_NO_ENTROPY },
	{ "metadata", "PATH",
		"JSON that the guest can read from the metadata service, see\n"
		"mmds-config in volt-vm(5)",
		VMCFG_GROUP_DEVICES, ROW("launch", "metadata") },
	{ "mmds-size-limit", "BYTES", "of the metadata as compact JSON (default 51200)",
		VMCFG_GROUP_DEVICES, ROW("launch", "mmds_size_limit") },
	{ "boot-timer", NULL, "add Firecracker's boot timer device", VMCFG_GROUP_DEVICES,
		ROW("instance", "boot_timer") },

	{ "config-file", "PATH",
		"read Firecracker's configuration document first, see\n"
		"volt-vm(5); flags override it, --disk and --net add to it",
		VMCFG_GROUP_PROCESS, VMCFG_FILE },
	{ "api-sock", "PATH", "serve the REST API on a Unix socket that is made there",
		VMCFG_GROUP_PROCESS, ROW("launch", "api_sock") },
	{ "http-api-max-payload-size", "BYTES", "largest body of a request (default 51200)",
		VMCFG_GROUP_PROCESS, ROW("launch", "http_api_max_payload_size") },
	{ "no-api", NULL, "no API socket; needs --config-file", VMCFG_GROUP_PROCESS,
		VMCFG_NO_API },
	{ "id", "ID", "name of the VM in the log (default anonymous-instance)", VMCFG_GROUP_PROCESS,
		ROW("instance", "id") },
	{ "shutdown-timeout", "SECONDS", "from SIGTERM to the kill, 1 to 86400 (default 30)",
		VMCFG_GROUP_PROCESS, ROW("instance", "shutdown_timeout_s") },
	{ "no-seccomp", NULL, "do not confine the system calls", VMCFG_GROUP_PROCESS,
		ROW("sandbox", "seccomp") },
	{ "no-landlock", NULL, "do not confine the access to files", VMCFG_GROUP_PROCESS,
		ROW("sandbox", "landlock") },
	{ "check", NULL, "check the configuration and the files it names, and stop",
		VMCFG_GROUP_PROCESS, ACTION(VMCFG_CHECK) },
	{ "dump-config", NULL, "check, write the whole configuration as JSON, and stop",
		VMCFG_GROUP_PROCESS, ACTION(VMCFG_DUMP) },
	{ "cpu-fingerprint", NULL,
		"write as JSON what CPU a guest would see on this host, and\n"
		"stop; needs no kernel",
		VMCFG_GROUP_PROCESS, ACTION(VMCFG_FINGERPRINT) },
	{ "version", NULL, "write the version, and stop", VMCFG_GROUP_PROCESS,
		ACTION(VMCFG_VERSION) },
	{ "help", NULL, "write this text, and stop; also -h", VMCFG_GROUP_PROCESS,
		ACTION(VMCFG_HELP) },

	{ "log-path", "PATH", "file or FIFO for the log (default standard error)", VMCFG_GROUP_LOG,
		ROW("logger", "log_path") },
	{ "level", "LEVEL", "off, error, warn, info, debug or trace (default info)",
		VMCFG_GROUP_LOG, ROW("logger", "level") },
	{ "module", "PREFIX", "only lines from source files whose name starts so", VMCFG_GROUP_LOG,
		ROW("logger", "module") },
	{ "show-level", NULL, "put the level on each line", VMCFG_GROUP_LOG,
		ROW("logger", "show_level") },
	{ "show-log-origin", NULL, "put source file and line on each line", VMCFG_GROUP_LOG,
		ROW("logger", "show_log_origin") },
	{ "metrics-path", "PATH", "file or FIFO for the metrics", VMCFG_GROUP_LOG,
		ROW("metrics", "metrics_path") },

	{ "timeline", NULL, "print at the end where the time of the boot went", VMCFG_GROUP_LOG,
		ROW("instance", "timeline") },

	{ "start-time-us", "N", "monotonic clock just before we were started", VMCFG_GROUP_LAUNCH,
		ROW("launch", "start_time_us") },
	{ "start-time-cpu-us", "N", "CPU time of this process at that moment", VMCFG_GROUP_LAUNCH,
		ROW("launch", "start_time_cpu_us") },
	{ "parent-cpu-time-us", "N", "CPU time of its parent", VMCFG_GROUP_LAUNCH,
		ROW("launch", "parent_cpu_time_us") },

	REFUSED("enable-pci", NULL, "this version has no PCI; devices are on virtio-mmio"),
	REFUSED("seccomp-filter", "PATH", "filters are built in; --no-seccomp switches them off"),
	REFUSED("snapshot-version", NULL, "this version has no snapshots"),
	REFUSED("describe-snapshot", "PATH", "this version has no snapshots"),
};

static const char *const group_titles[VMCFG_N_GROUPS] = {
	[VMCFG_GROUP_MACHINE] = "Machine",
	[VMCFG_GROUP_DEVICES] = "Devices",
	[VMCFG_GROUP_PROCESS] = "Process",
	[VMCFG_GROUP_LOG] = "Log and metrics",
	[VMCFG_GROUP_LAUNCH] = "From the launcher (microseconds)",
};

const char *vmcfg_option_guess(const char *name)
{
	const char *found = NULL;
	unsigned best = 3;

	for (size_t i = 0; i < VMCFG_N_OPTIONS; i++) {
		const struct vmcfg_option *o = &vmcfg_option_table[i];
		unsigned d = vmcfg_row_distance(name, o->name);

		if (o->does != VMCFG_REFUSE && d < best && d < strlen(o->name)) {
			best = d;
			found = o->name;
		}
	}
	return found;
}

static void print(const struct vmcfg_option *o, FILE *out)
{
	const char *line = o->help;
	int used = fprintf(out, "  --%s%s%s", o->name, o->arg ? " " : "", o->arg ? o->arg : "");

	if (used >= HELP_COLUMN) {
		fputc('\n', out);
		used = 0;
	}
	while (line) {
		const char *end = strchrnul(line, '\n');

		fprintf(out, "%*s%.*s\n", HELP_COLUMN - used, "", (int)(end - line), line);
		line = *end ? end + 1 : NULL;
		used = 0;
	}
}

void vmcfg_usage(FILE *out)
{
	fputs("Usage: volt-vmm --kernel PATH [--disk PATH]... [OPTION]...\n"
	      "       volt-vmm --config-file PATH [OPTION]...\n"
	      "Runs one virtual machine on KVM until it powers off. See volt-vmm(8).\n",
		out);
	for (int g = 0; g < VMCFG_N_GROUPS; g++) {
		fprintf(out, "\n%s:\n", group_titles[g]);
		for (size_t i = 0; i < VMCFG_N_OPTIONS; i++) {
			const struct vmcfg_option *o = &vmcfg_option_table[i];

			if ((int)o->group == g && o->does != VMCFG_REFUSE)
				print(o, out);
		}
	}
	fputs("\n--name VALUE and --name=VALUE are the same.\n", out);
}
