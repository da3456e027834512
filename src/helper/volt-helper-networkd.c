/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Usage: volt-helper-networkd LINK OWNER [BRIDGE]
 * Declares the tap LINK of the VM OWNER to systemd-networkd, as a port of BRIDGE if there is one:
 * writes a runtime unit file, asks for a reload over D-Bus, and answers when networkd has
 * configured the link. When volt-vmm has gone, it takes the declaration back. docs/adr/0009 has
 * the reasons.
 *
 * It keeps a lock on its file. So files of one that was killed are known by the missing lock; the
 * next start removes them.
 * Started by volt-vmm, see helper.h. Needs root. One thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <poll.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <systemd/sd-bus.h>
#include <time.h>

#include "cleanup.h"
#include "helper.h"
#include "limit.h"
#include "sandbox.h"

#define FOLDER	    "/run/systemd/network"
#define SERVICE	    "org.freedesktop.network1"
#define MANAGER	    "/org/freedesktop/network1"
#define LIMIT_MS    7500 /* for everything up to the answer; volt-vmm waits 10 s */
#define GRACE_MS    1500 /* for a state that looks final but is not the wanted one */
#define CALL_MS	    1500 /* of LIMIT_MS: left for the last call, so that it can still answer */
#define UNDO_MS	    1500
#define LOOK_MS	    50
#define STATE_BYTES 32

#define _cleanup_bus_	  _cleanup_(sd_bus_flush_close_unrefp)
#define _cleanup_message_ _cleanup_(sd_bus_message_unrefp)
#define _cleanup_error_	  _cleanup_(sd_bus_error_free)

struct declaration {
	const char *link, *owner, *bridge; /* bridge: NULL: none */
	unsigned ifindex;
	bool was_port; /* it had a master before us, which is not ours to undo */
	char path[128];
	int fd; /* owned; the locked file */
};

/* What networkd says of a link. */
struct state {
	char admin[STATE_BYTES];
	char file[256];
	char kind[STATE_BYTES];
	unsigned master; /* interface index, 0: none */
};

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* ---- D-Bus ---- */

static int open_bus(sd_bus **ret, struct volt_err *err)
{
	int r = sd_bus_open_system(ret);

	if (r < 0)
		return volt_err_set(err, -r, "the D-Bus system bus cannot be reached: %m; "
			"systemd-networkd is asked over it (is dbus running?)");
	return 0;
}

/* Puts a failed call into words. */
static int tell(int r, const sd_bus_error *e, const char *what, struct volt_err *err)
{
	if (sd_bus_error_has_names(e, SD_BUS_ERROR_SERVICE_UNKNOWN, SD_BUS_ERROR_NAME_HAS_NO_OWNER))
		return volt_err_set(err, ESRCH, "systemd-networkd is not running: start it "
			"(systemctl enable --now systemd-networkd) or use a tap without it");
	if (sd_bus_error_has_names(e, SD_BUS_ERROR_ACCESS_DENIED,
			SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED))
		return volt_err_set(err, EACCES, "systemd-networkd refused to %s (%s): run "
			"volt-vmm as root, or permit it (polkit action "
			"org.freedesktop.network1.reload)", what, e->message);
	if (r == -ETIMEDOUT || sd_bus_error_has_names(e, SD_BUS_ERROR_NO_REPLY,
			SD_BUS_ERROR_TIMEOUT))
		return volt_err_set(err, ETIMEDOUT, "systemd-networkd did not answer when it was "
			"asked to %s", what);
	return volt_err_set(err, -r, "systemd-networkd was asked to %s: %s", what,
		e->message ? e->message : strerror(-r));
}

/* A call with at most one argument, a string. Does not start networkd. */
static int call(sd_bus *bus, const char *path, const char *interface, const char *member,
	const char *arg, uint64_t until_ms, sd_bus_error *e, sd_bus_message **ret)
{
	_cleanup_message_ sd_bus_message *m = NULL;
	uint64_t now = now_ms();
	int r;

	r = sd_bus_message_new_method_call(bus, &m, SERVICE, path, interface, member);
	if (r >= 0 && arg)
		r = sd_bus_message_append(m, "s", arg);
	if (r >= 0)
		r = sd_bus_message_set_auto_start(m, 0);
	if (r < 0)
		return r;
	return sd_bus_call(bus, m, 1000 * (until_ms > now ? until_ms - now : 1), e, ret);
}

static int reload(sd_bus *bus, uint64_t until_ms, struct volt_err *err)
{
	_cleanup_error_ sd_bus_error e = SD_BUS_ERROR_NULL;
	int r = call(bus, MANAGER, SERVICE ".Manager", "Reload", NULL, until_ms, &e, NULL);

	return r < 0 ? tell(r, &e, "reload its files", err) : 0;
}

/* ---- what networkd says of a link: one JSON object ---- */

/* The value of a member: behind the colon and blanks. Inside strings quotes are escaped, so that
 * nothing in them looks like a member. */
static const char *member(const char *json, const char *name)
{
	char key[40];
	const char *at;

	snprintf(key, sizeof(key), "\"%s\"", name);
	for (at = strstr(json, key); at; at = strstr(at + 1, key)) {
		const char *v = at + strlen(key);

		v += strspn(v, " \t\n");
		if (*v == ':' && (at == json || at[-1] != '\\'))
			return v + 1 + strspn(v + 1, " \t\n");
	}
	return NULL;
}

static void get_string(const char *json, const char *name, char *ret, size_t size)
{
	const char *v = member(json, name);

	*ret = 0;
	if (v && *v == '"')
		snprintf(ret, size, "%.*s", (int)MIN(strcspn(v + 1, "\""), size), v + 1);
}

static int parse_state(sd_bus_message *m, struct state *ret)
{
	const char *json, *master;
	int r = sd_bus_message_read(m, "s", &json);

	if (r < 0)
		return r;
	get_string(json, "AdministrativeState", ret->admin, sizeof(ret->admin));
	get_string(json, "NetworkFile", ret->file, sizeof(ret->file));
	get_string(json, "Kind", ret->kind, sizeof(ret->kind));
	master = member(json, "MasterInterfaceIndex");
	ret->master = master ? (unsigned)strtoul(master, NULL, 10) : 0;
	return 0;
}

/* "org.freedesktop.resolve1.NoSuchLink" it is, of all names. */
static bool is_no_link(const sd_bus_error *e)
{
	const char *last = e->name ? strrchr(e->name, '.') : NULL;

	return last && strcmp(last, ".NoSuchLink") == 0;
}

/* 0; 1: networkd does not know the link; or -errno. */
static int describe(sd_bus *bus, const char *link, uint64_t until_ms, struct state *ret,
	struct volt_err *err)
{
	_cleanup_message_ sd_bus_message *where = NULL, *what = NULL;
	_cleanup_error_ sd_bus_error e = SD_BUS_ERROR_NULL;
	const char *path;
	int32_t ifindex;
	int r;

	*ret = (struct state){ 0 };
	r = call(bus, MANAGER, SERVICE ".Manager", "GetLinkByName", link, until_ms, &e, &where);
	if (r < 0 && is_no_link(&e))
		return 1;
	if (r >= 0)
		r = sd_bus_message_read(where, "io", &ifindex, &path);
	if (r >= 0)
		r = call(bus, path, SERVICE ".Link", "Describe", NULL, until_ms, &e, &what);
	if (r < 0 && sd_bus_error_has_name(&e, SD_BUS_ERROR_UNKNOWN_OBJECT))
		return 1; /* gone between the calls */
	if (r >= 0)
		r = parse_state(what, ret);
	return r < 0 ? tell(r, &e, "describe a link", err) : 0;
}

/* ---- the unit file ---- */

/* Removes files of helpers that are no more: nobody holds their lock. */
static void remove_stale(void)
{
	glob_t g;

	if (glob(FOLDER "/[19]0-volt-*.network", GLOB_NOSORT, NULL, &g) != 0)
		return;
	for (size_t i = 0; i < g.gl_pathc; i++) {
		_cleanup_close_ int fd = open(g.gl_pathv[i], O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		struct stat ours, there;

		if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &ours) == 0 &&
			stat(g.gl_pathv[i], &there) == 0 && ours.st_ino == there.st_ino)
			unlink(g.gl_pathv[i]);
	}
	globfree(&g);
}

static int make_folder(struct volt_err *err)
{
	if (mkdir(FOLDER, 0755) < 0)
		return errno == EEXIST ? 0 : volt_err_set(err, errno, "make %s: %m%s", FOLDER,
			errno == ENOENT ? " (is systemd-networkd running?)" :
			errno == EACCES ? ": declaring links to systemd-networkd needs root" : "");
	if (chmod(FOLDER, 0755) < 0) /* the umask is ours, the folder networkd's to read */
		return volt_err_set(err, errno, "chmod %s: %m", FOLDER);
	return 0;
}

static int write_text(const struct declaration *d)
{
	return dprintf(d->fd,
		"# Of volt-helper-networkd, process %d, for the VM \"%s\"; removed when it ends.\n"
		"[Match]\n"
		"Name=%s\n"
		"\n"
		"[Link]\n"
		"RequiredForOnline=no\n"
		"\n"
		"[Network]\n"
		"%s%s%s"
		"ConfigureWithoutCarrier=yes\n"
		"LinkLocalAddressing=no\n"
		"IPv6AcceptRA=no\n"
		"LLDP=no\n",
		(int)getpid(), d->owner, d->link, d->bridge ? "Bridge=" : "",
		d->bridge ? d->bridge : "", d->bridge ? "\n" : "");
}

/* Appears under its name as a whole, locked, and not over another file. */
static int write_file(struct declaration *d, struct volt_err *err)
{
	char self[40];
	int r;

	/*
	 * A membership was asked for, and comes before files for all links; with none, a file of
	 * the administrator for this tap says more than ours.
	 */
	snprintf(d->path, sizeof(d->path), FOLDER "/%s-volt-%s.network", d->bridge ? "10" : "90",
		d->link);
	r = make_folder(err);
	if (r < 0)
		return r;
	remove_stale();
	d->fd = open(FOLDER, O_TMPFILE | O_RDWR | O_CLOEXEC, 0644);
	if (d->fd < 0)
		return volt_err_set(err, errno, "make a file in %s: %m%s", FOLDER,
			errno == EACCES ? ": declaring links to systemd-networkd needs root" : "");
	if (flock(d->fd, LOCK_EX | LOCK_NB) < 0 || fchmod(d->fd, 0644) < 0 || write_text(d) < 0)
		return volt_err_set(err, errno, "write a file in %s: %m", FOLDER);
	snprintf(self, sizeof(self), "/proc/self/fd/%d", d->fd);
	if (linkat(AT_FDCWD, self, AT_FDCWD, d->path, AT_SYMLINK_FOLLOW) < 0) {
		r = volt_err_set(err, errno, "make %s: %m%s", d->path, errno == EEXIST ?
			": another VM has declared this link" : "");
		d->path[0] = 0;
		return r;
	}
	return 0;
}

/* ---- declaring and taking back ---- */

static void leave_bridge(const struct declaration *d)
{
	_cleanup_close_ int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = { .ifr_ifindex = (int)d->ifindex };

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", d->bridge);
	ioctl(s, SIOCBRDELIF, &ifr); /* if the tap is still there: it was not made by volt-vmm */
}

static int take_back(struct declaration *d, struct volt_err *err)
{
	_cleanup_bus_ sd_bus *bus = NULL;
	int r;

	if (d->fd < 0 || !d->path[0])
		return 0;
	if (unlink(d->path) < 0)
		return volt_err_set(err, errno, "remove %s: %m", d->path);
	d->fd = fd_close(d->fd);
	r = open_bus(&bus, err);
	if (r == 0)
		r = reload(bus, now_ms() + UNDO_MS, err);
	if (d->bridge && !d->was_port)
		leave_bridge(d);
	return r;
}

/* The bridge must be there and be one; whether it is networkd's is seen by what comes of it. */
static int check_bridge(sd_bus *bus, const struct declaration *d, uint64_t until_ms,
	unsigned *ret_ifindex, struct volt_err *err)
{
	struct state s;
	int r;

	*ret_ifindex = if_nametoindex(d->bridge);
	if (*ret_ifindex == 0)
		return volt_err_set(err, ENODEV, "there is no bridge '%s': declare it to "
			"systemd-networkd (a .netdev file with Kind=bridge, and a .network file "
			"that sets it up)", d->bridge);
	r = describe(bus, d->bridge, until_ms, &s, err);
	if (r == 1)
		return volt_err_set(err, ENODEV, "systemd-networkd does not see the bridge '%s': "
			"it is in another network namespace", d->bridge);
	if (r == 0 && strcmp(s.kind, "bridge") != 0)
		return volt_err_set(err, EINVAL, "'%s' is no bridge but a link of kind '%s'",
			d->bridge, s.kind[0] ? s.kind : "physical");
	return r;
}

/* The state at the end of all patience, in words. */
static int tell_state(const struct declaration *d, const struct state *s, unsigned bridge,
	struct volt_err *err)
{
	if (!s->admin[0])
		return volt_err_set(err, ENODEV, "systemd-networkd does not see the link '%s': is "
			"it in another network namespace?", d->link);
	if (strcmp(s->admin, "failed") == 0)
		return volt_err_set(err, EIO, "systemd-networkd failed to configure '%s': "
			"networkctl status %s, and its journal, say why", d->link, d->link);
	if (strcmp(s->admin, "pending") == 0 || strcmp(s->admin, "initialized") == 0)
		return volt_err_set(err, ETIMEDOUT, "systemd-networkd waits for udev to "
			"initialize '%s': is systemd-udevd running?", d->link);
	if (d->bridge && s->file[0] && strcmp(s->file, d->path) != 0)
		return volt_err_set(err, EEXIST, "systemd-networkd configures '%s' by %s, which "
			"comes before %s: let it not match this link", d->link, s->file, d->path);
	if (strcmp(s->admin, "configured") == 0 && d->bridge && s->master != bridge)
		return volt_err_set(err, EINVAL, "systemd-networkd did not make '%s' a port of "
			"'%s': the bridge is not its own; declare it in a .netdev file", d->link,
			d->bridge);
	return volt_err_set(err, ETIMEDOUT, "systemd-networkd has not configured '%s' within %d "
		"s, it is '%s'", d->link, (LIMIT_MS - CALL_MS) / 1000, s->admin);
}

/* By another's file, without a bridge, it may wait for a lease, or for the guest itself. */
static bool is_done(const struct declaration *d, const struct state *s, unsigned bridge)
{
	bool by_ours = strcmp(s->file, d->path) == 0;

	if (strcmp(s->admin, "configuring") == 0)
		return !d->bridge && s->file[0] && !by_ours;
	return strcmp(s->admin, "configured") == 0 &&
		(!d->bridge || (by_ours && s->master == bridge));
}

/* 0 when networkd has configured the link as declared. */
static int await(sd_bus *bus, const struct declaration *d, unsigned bridge, uint64_t until_ms,
	struct volt_err *err)
{
	uint64_t enough_ms = until_ms - CALL_MS;
	struct state s;
	int r;

	for (bool final = false;; poll(NULL, 0, LOOK_MS)) {
		r = describe(bus, d->link, until_ms, &s, err);
		if (r < 0)
			return r;
		if (r == 0 && is_done(d, &s, bridge))
			return 0;
		if (now_ms() >= enough_ms)
			return tell_state(d, &s, bridge, err);
		if (!final && (strcmp(s.admin, "configured") == 0 ||
			strcmp(s.admin, "failed") == 0)) {
			/* Perhaps of the time before the reload. */
			final = true;
			enough_ms = MIN(enough_ms, now_ms() + GRACE_MS);
		}
	}
}

static int declare(struct declaration *d, struct volt_err *err)
{
	_cleanup_bus_ sd_bus *bus = NULL;
	uint64_t until_ms = now_ms() + LIMIT_MS;
	unsigned bridge = 0;
	struct state before;
	int r;

	d->ifindex = if_nametoindex(d->link);
	if (d->ifindex == 0)
		return volt_err_set(err, ENODEV, "there is no link '%s'", d->link);
	r = open_bus(&bus, err);
	if (r < 0)
		return r;
	r = describe(bus, d->link, until_ms, &before, err);
	if (r < 0)
		return r;
	d->was_port = before.master != 0;
	if (d->bridge)
		r = check_bridge(bus, d, until_ms, &bridge, err);
	else
		r = 0;
	if (r == 0)
		r = write_file(d, err);
	if (r == 0)
		r = reload(bus, until_ms, err);
	if (r == 0)
		r = await(bus, d, bridge, until_ms, err);
	return r;
}

/* ---- arguments ---- */

/* In a unit file a name is a pattern, and blanks, quotes and more have a meaning. */
static bool is_plain(const char *s, size_t max)
{
	size_t len = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-");

	return len > 0 && len <= max && s[len] == 0;
}

static int parse(int argc, char **argv, struct declaration *d, struct volt_err *err)
{
	if (argc != 3 && argc != 4)
		return volt_err_set(err, EINVAL, "usage: volt-helper-networkd LINK OWNER [BRIDGE], "
			"by volt-vmm");
	d->link = argv[1];
	d->owner = argv[2];
	d->bridge = argv[3];
	for (int i = 1; i < argc; i++)
		if (!is_plain(argv[i], i == 2 ? LIMIT_ID : LIMIT_IFNAME - 1))
			return volt_err_set(err, EINVAL, "'%s' cannot be declared to "
				"systemd-networkd: names have letters, digits, '_', '.' and '-' "
				"only", argv[i]);
	return 0;
}

int main(int argc, char **argv)
{
	const struct sandbox_path folder = { .path = FOLDER, .writable = true };
	struct declaration d = { .fd = -1 };
	struct volt_err err = { 0 }, late = { 0 };
	int r;

	r = sandbox_early(&err);
	if (r == 0)
		r = parse(argc, argv, &d, &err);
	if (r == 0)
		r = declare(&d, &err);
	if (r == 0 && sandbox_landlock(&folder, 1, &late) < 0)
		r = volt_err_set(&err, late.code, "%s", late.msg);
	if (r < 0) {
		take_back(&d, &late);
		volt_err_wrap(&err, "networkd");
	}
	if (helper_reply(&err, NULL, 0) < 0 && r < 0)
		fprintf(stderr, "volt-helper-networkd: it is started by volt-vmm: %s\n", err.msg);
	if (r < 0)
		return 1;
	helper_wait();
	late = (struct volt_err){ 0 };
	if (take_back(&d, &late) < 0)
		fprintf(stderr, "volt-helper-networkd: %s\n", late.msg);
	return 0;
}
