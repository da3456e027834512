// SPDX-License-Identifier: Apache-2.0
/*
 * First half of the lab's init: loads modules, mounts the machine's root over 9p under a tmpfs
 * overlay, and leaves a system that looks like an ordinary host. Runs once, as process 1, single
 * threaded, before labd.c takes over. Instructions come from /lab.conf in the initramfs, a list of
 * NUL-terminated key=value records written by vlab/machine.py.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/kvm.h>
#include <net/if.h>
#include <net/route.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "labd.h"

#define RW_OPTS "trans=virtio,version=9p2000.L,msize=512000,cache=mmap"

struct conf {
	char text[65536];
	size_t len;
};

static struct conf conf;

static void log_line(int level, const char *fmt, va_list ap)
{
	char line[900];
	int fd, n;

	n = snprintf(line, sizeof(line), "<%d>volt-lab: ", level);
	vsnprintf(line + n, sizeof(line) - (size_t)n, fmt, ap);
	fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (write(fd, line, strlen(line)) < 0)
		sync(); /* nowhere left to complain */
	close(fd);
}

static void __attribute__((format(printf, 2, 3))) boot_log(int level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_line(level, fmt, ap);
	va_end(ap);
}

_Noreturn void boot_die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_line(0, fmt, ap);
	va_end(ap);
	sync();
	reboot(RB_AUTOBOOT); /* the host runs QEMU with -no-reboot */
	for (;;)
		pause();
}

int boot_write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int r = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		r = -errno;
	close(fd);
	return r;
}

static void must_mount(const char *src, const char *dst, const char *type, unsigned long flags,
	const char *opts)
{
	if (mount(src, dst, type, flags, opts) < 0)
		boot_die("cannot mount %s (%s) on %s: %m", src, type ? type : "bind or move", dst);
}

static void make_dirs(const char *path)
{
	char part[PATH_MAX];

	for (size_t i = 1; path[i - 1] && i < sizeof(part); i++) {
		if (path[i] && path[i] != '/')
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		mkdir(part, 0755);
	}
}

/* Walks the records; returns the next value of key after *pos, or NULL. */
static const char *conf_next(const char *key, size_t *pos)
{
	size_t klen = strlen(key);

	while (*pos < conf.len) {
		const char *rec = conf.text + *pos;

		*pos += strlen(rec) + 1;
		if (strncmp(rec, key, klen) == 0 && rec[klen] == '=')
			return rec + klen + 1;
	}
	return NULL;
}

static const char *conf_get(const char *key, const char *fallback)
{
	size_t pos = 0;
	const char *v = conf_next(key, &pos);

	return v ? v : fallback;
}

static void conf_read(void)
{
	int fd = open("/lab.conf", O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		boot_die("no /lab.conf in the initramfs");
	while ((n = read(fd, conf.text + conf.len, sizeof(conf.text) - 1 - conf.len)) > 0)
		conf.len += (size_t)n;
	close(fd);
}

static void load_modules(const char *key, int fatal)
{
	const char *name;
	size_t pos = 0;

	while ((name = conf_next(key, &pos))) {
		char path[PATH_MAX];
		int fd;

		snprintf(path, sizeof(path), "/modules/%s.ko", name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd >= 0 && syscall(SYS_finit_module, fd, "", 0) == 0) {
			close(fd);
			continue;
		}
		if (fatal && errno != EEXIST)
			boot_die("cannot load module %s: %m", name);
		if (fd >= 0)
			close(fd);
	}
}

/* Modules that mounting does not wait for are loaded by a child meanwhile. */
static pid_t load_late_modules(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		load_modules("late", 0);
		_exit(0);
	}
	return pid;
}

static void mount_root(void)
{
	mkdir("/lower", 0755);
	mkdir("/cow", 0755);
	mkdir("/new", 0755);
	must_mount("host", "/lower", "9p", MS_RDONLY, conf_get("rootopts", ""));
	must_mount("cow", "/cow", "tmpfs", 0, "size=75%,mode=0755");
	mkdir("/cow/up", 0755);
	mkdir("/cow/work", 0755);
	must_mount(
		"lab", "/new", "overlay", 0, "lowerdir=/lower,upperdir=/cow/up,workdir=/cow/work");
	umount2("/proc", MNT_DETACH);
	umount2("/sys", MNT_DETACH);
	umount2("/dev", MNT_DETACH);
	if (chdir("/new") < 0)
		boot_die("chdir to the new root: %m");
	must_mount(".", "/", NULL, MS_MOVE, NULL);
	if (chroot(".") < 0 || chdir("/") < 0)
		boot_die("chroot: %m");
}

static void mount_system(void)
{
	const char *path;
	size_t pos = 0;

	make_dirs("/proc");
	make_dirs("/sys");
	make_dirs("/dev");
	make_dirs("/run");
	make_dirs("/tmp");
	must_mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	must_mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	must_mount("dev", "/dev", "devtmpfs", MS_NOSUID, "mode=0755");
	make_dirs("/dev/pts");
	make_dirs("/dev/shm");
	must_mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC,
		"gid=5,mode=0620,ptmxmode=0666");
	must_mount("shm", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777");
	must_mount("run", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755");
	must_mount("cgroup2", "/sys/fs/cgroup", "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	mount("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL);
	mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, NULL);
	chmod("/tmp", 01777);
	make_dirs("/run/lock");
	for (int i = 0; (path = conf_next("rw", &pos)); i++) {
		char tag[16];

		snprintf(tag, sizeof(tag), "rw%d", i);
		make_dirs(path);
		must_mount(tag, path, "9p", 0, RW_OPTS);
	}
}

/* Device nodes that udev would make: the fd links, and names whose modules load when they are
 * opened. */
static void make_nodes(const char *moddir)
{
	char path[PATH_MAX + 32], line[256], name[128], kind;
	unsigned int maj, min;
	FILE *f;

	if (symlink("/proc/self/fd", "/dev/fd") < 0 ||
		symlink("/proc/self/fd/0", "/dev/stdin") < 0 ||
		symlink("/proc/self/fd/1", "/dev/stdout") < 0 ||
		symlink("/proc/self/fd/2", "/dev/stderr") < 0)
		boot_die("cannot make the /dev/fd links: %m");
	snprintf(path, sizeof(path), "%s/modules.devname", moddir);
	f = fopen(path, "re");
	if (!f)
		return;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%*s %127s %c%u:%u", name, &kind, &maj, &min) != 4)
			continue;
		snprintf(path, sizeof(path), "/dev/%s", name);
		*strrchr(path, '/') = '\0';
		make_dirs(path);
		snprintf(path, sizeof(path), "/dev/%s", name);
		mknod(path, (kind == 'b' ? S_IFBLK : S_IFCHR) | 0600, makedev(maj, min));
	}
	fclose(f);
}

static void set_in(struct sockaddr *sa, const char *addr)
{
	struct sockaddr_in in = { .sin_family = AF_INET };

	inet_pton(AF_INET, addr, &in.sin_addr);
	memcpy(sa, &in, sizeof(in));
}

static void net_up(const char *dev, const char *addr, const char *mask, const char *gateway)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = { .ifr_flags = 0 };
	struct rtentry route = { .rt_flags = RTF_UP | RTF_GATEWAY };
	int r;

	if (fd < 0)
		boot_die("socket: %m");
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", dev);
	set_in(&ifr.ifr_addr, addr);
	r = ioctl(fd, SIOCSIFADDR, &ifr);
	set_in(&ifr.ifr_netmask, mask);
	if (r == 0)
		r = ioctl(fd, SIOCSIFNETMASK, &ifr);
	ifr.ifr_flags = IFF_UP | IFF_RUNNING;
	if (r == 0)
		r = ioctl(fd, SIOCSIFFLAGS, &ifr);
	if (r == 0 && gateway) {
		set_in(&route.rt_dst, "0.0.0.0");
		set_in(&route.rt_genmask, "0.0.0.0");
		set_in(&route.rt_gateway, gateway);
		r = ioctl(fd, SIOCADDRT, &route);
	}
	if (r < 0)
		boot_die("cannot bring up network device %s: %m", dev);
	close(fd);
}

/* What systemd and Debian set on an ordinary machine. */
static void set_limits(void)
{
	struct rlimit files = { 1024, 1048576 };
	struct rlimit lock = { 8u << 20, 8u << 20 };
	struct rlimit core = { 0, RLIM_INFINITY };

	setrlimit(RLIMIT_NOFILE, &files);
	setrlimit(RLIMIT_MEMLOCK, &lock);
	setrlimit(RLIMIT_CORE, &core);
	boot_write_file("/proc/sys/kernel/pid_max", "4194304");
	boot_write_file("/proc/sys/kernel/panic_on_oops", "1");
	boot_write_file(
		"/proc/sys/kernel/panic_on_rcu_stall", "1"); /* a hung lab ends, and says why */
	boot_write_file("/proc/sys/fs/protected_hardlinks", "1");
	boot_write_file("/proc/sys/fs/protected_symlinks", "1");
}

/* One virtual CPU of a new VM, with a local APIC or without. Its descriptors stay open for good. */
static int hold_vm(int kvmfd, int apic)
{
	struct kvm_enable_cap split = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { 24 } };
	int vmfd = ioctl(kvmfd, KVM_CREATE_VM, 0);

	if (vmfd < 0 || fcntl(vmfd, F_SETFD, FD_CLOEXEC) < 0)
		return -1;
	if (apic && ioctl(vmfd, KVM_ENABLE_CAP, &split) < 0)
		return -1;
	return fcntl(ioctl(vmfd, KVM_CREATE_VCPU, 0), F_SETFD, FD_CLOEXEC);
}

/*
 * Keeps two idle VMs for the life of the lab. KVM patches the kernel's code (static keys, among
 * them one in the scheduler) when the first VM comes and the last one goes, and for virtual CPUs
 * that lack an APIC or have it off. QEMU (seen with 7.2) may translate code on one CPU while
 * another one patches it, and keep the stale translation: the lab then spins on a breakpoint that
 * is long gone. With these VMs the keys stay as they are. It also spares each VM the time of the
 * patching.
 */
static void hold_kvm_keys(void)
{
	int kvmfd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (kvmfd < 0)
		return;
	if (hold_vm(kvmfd, 1) < 0 || hold_vm(kvmfd, 0) < 0)
		boot_log(4, "cannot keep the idle VMs: %m");
	close(kvmfd);
}

void boot_system(void)
{
	struct utsname u;
	const char *moddir;
	char path[PATH_MAX];
	pid_t late;

	umask(022);
	mkdir("/proc", 0755);
	mkdir("/sys", 0755);
	mkdir("/dev", 0755);
	must_mount("proc", "/proc", "proc", 0, NULL);
	must_mount("sysfs", "/sys", "sysfs", 0, NULL);
	must_mount("dev", "/dev", "devtmpfs", 0, NULL);
	conf_read();
	load_modules("mod", 1);
	late = load_late_modules();
	mount_root();
	mount_system();

	uname(&u);
	moddir = conf_get("moddir", NULL);
	if (moddir) {
		snprintf(path, sizeof(path), "/lib/modules/%s", u.release);
		make_dirs(path);
		must_mount(moddir, path, NULL, MS_BIND, NULL);
		make_nodes(path);
	}
	sethostname("volt-lab", strlen("volt-lab"));
	set_limits();
	net_up("lo", "127.0.0.1", "255.0.0.0", NULL);
	if (late > 0)
		waitpid(late, NULL, 0);
	if (conf_get("net", NULL))
		net_up("eth0", "10.0.2.15", "255.255.255.0", "10.0.2.2");
	chmod("/dev/kvm", 0666);
	hold_kvm_keys();
}
