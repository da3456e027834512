// SPDX-License-Identifier: Apache-2.0
/*
 * PID 1 of the test images, in the initramfs and in the root file system alike. It is C and not a
 * shell script because guests often run under emulation, where each fork and exec costs tens of
 * milliseconds. In the initramfs it loads modules, and with root= mounts that and moves over. Then
 * it runs one job (a script disk, /etc/volt/run or an interactive shell) and ends the VM cleanly.
 *
 * Kernel command line: volt.script=/dev/vdX, volt.end=poweroff|reboot|none, volt.boot_timer,
 * volt.mark.
 * Signals are those of busybox init: USR2 and USR1 power off, TERM reboots; INT is Ctrl-Alt-Del.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "guest.h"

#define ROOT_WAIT_S 10
#define TERM_GRACE_MS 500
#define KILL_GRACE_MS 1000
#define MOUNTS_MAX 32

enum end { END_POWEROFF, END_REBOOT, END_NONE };

static char *words[256];     /* the kernel command line, split at blanks */
static size_t words_count;

static void say(const char *what, const char *name, int err)
{
	dprintf(STDERR_FILENO, "volt-init: %s '%s': %s\n", what, name, strerror(err));
}

static void sleep_ms(long ms)
{
	nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 }, NULL);
}

/*
 * Waits until a block device can be opened, as its driver may still be probing: the node is there a
 * moment before the disk is, and a mount would fail in between.
 */
static void wait_for(const char *path)
{
	struct timespec t;
	long start;
	int fd;

	clock_gettime(CLOCK_MONOTONIC, &t);
	start = t.tv_sec;
	while ((fd = open(path, O_RDONLY | O_CLOEXEC)) < 0 && t.tv_sec - start < ROOT_WAIT_S) {
		sleep_ms(2);
		clock_gettime(CLOCK_MONOTONIC, &t);
	}
	if (fd >= 0)
		close(fd);
}

static void read_cmdline(void)
{
	static char line[4096];
	int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, line, sizeof(line) - 1);

	if (fd >= 0)
		close(fd);
	line[n > 0 ? n : 0] = '\0';
	for (char *p = strtok(line, " \n"); p && words_count < 256; p = strtok(NULL, " \n"))
		words[words_count++] = p;
}

/* The value of the last name=value, "" for a bare name, NULL if absent. */
static const char *arg(const char *name)
{
	size_t len = strlen(name);

	for (size_t i = words_count; i-- > 0;) {
		if (strncmp(words[i], name, len) != 0)
			continue;
		if (words[i][len] == '=')
			return words[i] + len + 1;
		if (words[i][len] == '\0')
			return "";
	}
	return NULL;
}

/* True if the last of ro and rw is rw; the kernel's own default is ro. */
static bool want_rw(void)
{
	for (size_t i = words_count; i-- > 0;) {
		if (strcmp(words[i], "rw") == 0)
			return true;
		if (strcmp(words[i], "ro") == 0)
			return false;
	}
	return false;
}

static enum end end_from_cmdline(void)
{
	const char *v = arg("volt.end");

	if (v && strcmp(v, "reboot") == 0)
		return END_REBOOT;
	if (v && strcmp(v, "none") == 0)
		return END_NONE;
	return END_POWEROFF;
}

static void must_mount(const char *type, const char *dir, unsigned long flags, const char *data)
{
	if (mount(type, dir, type, flags, data) < 0 && errno != EBUSY)
		say("mount", dir, errno);
}

static bool virtio_present(const char *id)
{
	char path[300];
	char got[16];
	bool found = false;
	struct dirent *e;
	DIR *d = opendir("/sys/bus/virtio/devices");

	while (d && !found && (e = readdir(d))) {
		int fd;
		ssize_t n;

		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/sys/bus/virtio/devices/%s/device", e->d_name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		n = fd < 0 ? -1 : read(fd, got, sizeof(got) - 1);
		if (fd >= 0)
			close(fd);
		got[n > 0 ? n : 0] = '\0';
		found = strtoul(got, NULL, 16) == strtoul(id, NULL, 10);
	}
	if (d)
		closedir(d);
	return found;
}

static bool button_present(void)
{
	bool found = false;
	struct dirent *e;
	DIR *d = opendir("/sys/bus/acpi/devices");

	while (d && !found && (e = readdir(d)))
		found = strncmp(e->d_name, "PNP0C0C", 7) == 0 ||
			strncmp(e->d_name, "LNXPWRBN", 8) == 0;
	if (d)
		closedir(d);
	return found;
}

static void load_module(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST))
		say("load module", path, errno);
	if (fd >= 0)
		close(fd);
}

/*
 * /etc/volt/modules has a condition and a path a line, in load order: `always`, `button`, or the
 * number of a virtio device that must be there. Loading nothing in vain matters under emulation:
 * a Debian module's signature alone takes longer to check than the module takes to start.
 */
static void load_modules(void)
{
	char line[256];
	FILE *f = fopen("/etc/volt/modules", "re");

	while (f && fgets(line, sizeof(line), f)) {
		char *when = strtok(line, " \n");
		char *path = strtok(NULL, " \n");

		if (!when || !path)
			continue;
		if (strcmp(when, "always") == 0 ||
			(strcmp(when, "button") == 0 ? button_present() : virtio_present(when)))
			load_module(path);
	}
	if (f)
		fclose(f);
}

/* Frees the initramfs's pages: everything below the directory that is on the same file system. */
static void remove_tree(int dirfd, dev_t dev)
{
	struct dirent *e;
	DIR *d = fdopendir(dirfd);

	while (d && (e = readdir(d))) {
		struct stat st;

		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (fstatat(dirfd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_dev != dev)
			continue;
		if (S_ISDIR(st.st_mode)) {
			int fd = openat(dirfd, e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

			if (fd >= 0)
				remove_tree(fd, dev);
		}
		unlinkat(dirfd, e->d_name, S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0);
	}
	if (d)
		closedir(d);
}

static int mount_root(const char *root)
{
	static const char *const types[] = { "ext4", "squashfs", "erofs", "xfs", "btrfs", NULL };
	const char *type = arg("rootfstype");
	const char *flags = arg("rootflags");
	int err = ENOENT;

	wait_for(root);
	for (int i = 0; type ? i == 0 : types[i] != NULL; i++) {
		if (mount(root, "/newroot", type ? type : types[i], want_rw() ? 0 : MS_RDONLY,
			    flags) == 0)
			return 0;
		err = errno;
	}
	return -err;
}

/* Leaves the initramfs for root=. Returns only on failure. */
static void switch_root(const char *root)
{
	static const char *const moved[] = { "/dev", "/proc", "/sys" };
	const char *init = arg("init");
	struct stat st;
	int old;
	int r;

	mkdir("/newroot", 0755);
	r = mount_root(root);
	if (r < 0) {
		say("mount root", root, -r);
		return;
	}
	for (size_t i = 0; i < sizeof(moved) / sizeof(moved[0]); i++) {
		char to[32];

		snprintf(to, sizeof(to), "/newroot%s", moved[i]);
		if (mount(moved[i], to, NULL, MS_MOVE, NULL) < 0)
			umount2(moved[i], MNT_DETACH);
	}
	old = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (chdir("/newroot") < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0) {
		say("switch to", root, errno);
		return;
	}
	if (old >= 0 && fstat(old, &st) == 0)
		remove_tree(old, st.st_dev);
	if (!init)
		init = "/sbin/init";
	execl(init, init, (char *)NULL);
	say("run", init, errno);
}

/* /dev/console, or nothing at all, as the three standard streams. */
static void open_console(void)
{
	int fd = open("/dev/console", O_RDWR | O_NOCTTY);

	if (fd < 0)
		fd = open("/dev/null", O_RDWR);
	for (int i = 0; i < 3; i++)
		if (fd != i)
			dup2(fd, i);
	if (fd > 2)
		close(fd);
}

static void set_up(void)
{
	mkdir("/dev/pts", 0755);
	mkdir("/dev/shm", 01777);
	must_mount("devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "gid=5,mode=620");
	must_mount("tmpfs", "/dev/shm", MS_NOSUID | MS_NODEV, NULL);
	must_mount("tmpfs", "/tmp", MS_NOSUID | MS_NODEV, NULL);
	must_mount("tmpfs", "/run", MS_NOSUID | MS_NODEV, "mode=755");
	if (sethostname("volt", 4) < 0)
		say("set host name", "volt", errno);
	setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
	setenv("HOME", "/root", 1);
	setenv("ENV", "/etc/shrc", 1);
}

/* Says on the console that init runs, for who measures from outside when it does. */
static void mark(void)
{
	int fd = open("/dev/console", O_WRONLY | O_NOCTTY | O_CLOEXEC);

	if (fd < 0 || write(fd, "volt-init\n", 10) < 0)
		say("mark", "/dev/console", errno);
	if (fd >= 0)
		close(fd);
}

/* Makes the console's real terminal the controlling one: /dev/console itself cannot be. */
static void take_terminal(void)
{
	char path[80] = "/dev/";
	char *name = path + 5;
	int fd = open("/sys/class/tty/console/active", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, name, sizeof(path) - 6);

	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return;
	name[strcspn(name, "\n")] = '\0';
	if (strrchr(name, ' ')) /* the last of several is /dev/console */
		memmove(name, strrchr(name, ' ') + 1, strlen(strrchr(name, ' ') + 1) + 1);
	fd = open(path, O_RDWR);
	if (fd < 0)
		return;
	ioctl(fd, TIOCSCTTY, 1);
	for (int i = 0; i < 3; i++)
		dup2(fd, i);
	if (fd > 2)
		close(fd);
}

static pid_t spawn(void (*body)(void))
{
	pid_t pid = fork();

	if (pid == 0) {
		sigset_t none;

		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		setsid();
		body();
		_exit(127);
	}
	return pid;
}

static void watch_power_button(void)
{
	prctl(PR_SET_NAME, "powerbtn");
	powerbtn_run();
	_exit(0);
}

static void be_script(void)
{
	const char *dev = arg("volt.script");

	if (!dev) {
		execl("/etc/volt/run", "/etc/volt/run", (char *)NULL);
		say("run", "/etc/volt/run", errno);
		return;
	}
	wait_for(dev);
	execl("/bin/busybox", "sh", dev, (char *)NULL);
	say("run", "/bin/busybox", errno);
}

static void be_shell(void)
{
	take_terminal();
	setenv("TERM", "linux", 0);
	if (chdir(getenv("HOME")) < 0)
		setenv("HOME", "/", 1);
	execl("/bin/busybox", "-sh", (char *)NULL);
	say("run", "/bin/busybox", errno);
}

/* Reaps until no process is left but this one, or the time is over. */
static void reap_all(long ms)
{
	for (; ms > 0; ms -= 2) {
		pid_t pid;

		while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
			;
		if (pid < 0 && errno == ECHILD)
			return;
		sleep_ms(2);
	}
}

/* Unmounts what is on a block device, last mounted first, so that its journal is empty. */
static void unmount_disks(void)
{
	static char text[8192];
	char *dirs[MOUNTS_MAX];
	size_t count = 0;
	char *save;
	int fd = open("/proc/mounts", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = '\0';
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *dir = strchr(line, ' ');

		if (strncmp(line, "/dev/", 5) != 0 || !dir || count == MOUNTS_MAX)
			continue;
		dirs[count++] = dir + 1;
		dir[1 + strcspn(dir + 1, " ")] = '\0';
	}
	while (count-- > 0)
		if (strcmp(dirs[count], "/") != 0 && umount(dirs[count]) < 0)
			mount(NULL, dirs[count], NULL, MS_REMOUNT | MS_RDONLY, NULL);
	/* Fails with EINVAL in an initramfs, which has nothing to keep. */
	mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY, NULL);
}

/* Ends the VM: processes, file systems, console, machine. Returns only if the machine goes on. */
static void end(enum end how)
{
	kill(-1, SIGTERM);
	kill(-1, SIGCONT);
	reap_all(TERM_GRACE_MS);
	kill(-1, SIGKILL);
	reap_all(KILL_GRACE_MS);
	sync();
	unmount_disks();
	tcdrain(STDOUT_FILENO); /* the last lines would be lost in the UART's buffer */
	/* Without ACPI a kernel cannot switch off and would only halt: a reset ends the VM too. */
	if (how == END_POWEROFF && access("/sys/firmware/acpi", F_OK) == 0)
		reboot(RB_POWER_OFF);
	reboot(RB_AUTOBOOT);
}

static void job_ended(bool interactive, int status)
{
	enum end how = end_from_cmdline();

	if (!interactive)
		dprintf(STDOUT_FILENO, "volt-script: exit %d\n",
			WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	if (how != END_NONE)
		end(how);
}

static void serve(pid_t job, bool interactive, const sigset_t *set)
{
	for (;;) {
		int status;
		pid_t pid;

		switch (sigwaitinfo(set, NULL)) {
		case SIGCHLD:
			while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
				if (pid == job)
					job_ended(interactive, status);
			break;
		case SIGTERM:
			end(END_REBOOT);
			break;
		case SIGINT: /* Ctrl-Alt-Del: somebody outside wants the VM to end */
			end(end_from_cmdline() == END_REBOOT ? END_REBOOT : END_POWEROFF);
			break;
		case SIGUSR1:
		case SIGUSR2:
		case SIGPWR:
			end(END_POWEROFF);
			break;
		default:
			break;
		}
	}
}

static int run_as_init(void)
{
	static const int signals[] = { SIGCHLD, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGPWR };
	struct statfs fs;
	bool initramfs;
	bool interactive;
	const char *root;
	sigset_t set;

	initramfs = statfs("/", &fs) == 0 && (fs.f_type == RAMFS_MAGIC || fs.f_type == TMPFS_MAGIC);
	must_mount("proc", "/proc", 0, NULL);
	read_cmdline();
	if (access("/dev/mem", F_OK) < 0)
		must_mount("devtmpfs", "/dev", 0, "mode=755");
	root = arg("root");
	if (arg("volt.mark") && !(initramfs && root))
		mark();
	if (arg("volt.boot_timer") && !(initramfs && root)) {
		int r = boot_timer_fire();

		if (r < 0)
			say("boot timer", "/dev/mem", -r);
	}
	/* The kernel had no /dev/console to give us unless it mounted devtmpfs itself. */
	if (fcntl(STDOUT_FILENO, F_GETFD) < 0 || initramfs)
		open_console();
	must_mount("sysfs", "/sys", 0, NULL);
	if (initramfs) {
		load_modules();
		if (root) {
			switch_root(root);
			return 1;
		}
	} else if (want_rw()) {
		if (statfs("/", &fs) == 0 && (fs.f_flags & 1 /* ST_RDONLY */))
			mount(NULL, "/", NULL, MS_REMOUNT, NULL);
	}
	set_up();

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaddset(&set, signals[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	reboot(RB_DISABLE_CAD); /* Ctrl-Alt-Del becomes our SIGINT */

	if (button_present() || access("/dev/tty0", F_OK) < 0)
		spawn(watch_power_button);
	interactive = !arg("volt.script") && access("/etc/volt/run", X_OK) < 0;
	serve(spawn(interactive ? be_shell : be_script), interactive, &set);
	return 1;
}

int main(int argc, char **argv)
{
	const char *name = argc > 0 && strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];

	if (name && strcmp(name, "volt-boot-timer") == 0)
		return boot_timer_fire() < 0;
	if (name && strcmp(name, "powerbtn") == 0)
		return powerbtn_run();
	if (getpid() != 1) {
		dprintf(STDERR_FILENO, "volt-init: this is PID 1 of a guest, not a command\n");
		return 2;
	}
	return run_as_init();
}
