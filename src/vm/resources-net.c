/* SPDX-License-Identifier: Apache-2.0 */
/* Opening the network interfaces and the vsock socket of the configuration, see resources.h. */
#include <errno.h>
#include <sys/resource.h>

#include "cleanup.h"
#include "log.h"
#include "passt.h"
#include "resources.h"
#include "tap.h"
#include "vhost-net.h"
#include "vsock.h"

#define FDS_BESIDE 512 /* all descriptors of a VM but those of vsock connections */

static const char *const macvtap_modes[] = {
	[MACVTAP_BRIDGE] = "bridge",
	[MACVTAP_VEPA] = "vepa",
	[MACVTAP_PRIVATE] = "private",
	[MACVTAP_PASSTHRU] = "passthru",
};

static int open_netif(const struct vm_config *cfg, const struct net_config *n, struct loop *loop,
	struct netif **ret, struct volt_err *err)
{
	switch (n->backend) {
	case NET_BACKEND_TAP:
		if (n->fd >= 0)
			return tap_from_fd(n->fd, loop, ret, err);
		return tap_open(n->host_dev, n->n_queue_pairs, n->mtu, loop, ret, err);
	case NET_BACKEND_MACVTAP:
		return tap_open_macvtap(n->host_dev, macvtap_modes[n->macvtap_mode], n->mac_bytes,
			n->mtu, loop, ret, err);
	case NET_BACKEND_NETWORKD:
		return tap_open_networkd(n->host_dev, n->bridge, cfg->id, n->mtu, loop, ret,
			err);
	case NET_BACKEND_PASST:
		return passt_start(n->ports, n->mtu, loop, ret, err);
	}
	return volt_err_set(err, EINVAL, "unknown back end %d", (int)n->backend);
}

/* Without vhost the frames take the way through this process, which works as well. */
static int open_vhost(const struct net_config *n, const struct netif *netif,
	struct vhost_net **ret, struct volt_err *err)
{
	struct volt_err why = { 0 };

	*ret = NULL;
	if (!n->vhost)
		return 0;
	if (!netif->ops->can_vhost)
		return volt_err_set(err, EINVAL, "vhost needs a tap, %s is none", netif->ops->name);
	if (vhost_net_open(netif->n_queues, ret, &why) < 0)
		log_warn("net '%s': %s; its frames pass through volt-vmm instead", n->id, why.msg);
	return 0;
}

/* Each connection is a descriptor, and the usual soft limit of 1024 leaves too few of them. */
static void raise_fd_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	if (limit.rlim_cur < VSOCK_CONNECTIONS + FDS_BESIDE)
		limit.rlim_cur = MIN(limit.rlim_max, (rlim_t)VSOCK_CONNECTIONS + FDS_BESIDE);
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0 ||
		limit.rlim_cur < VSOCK_CONNECTIONS + FDS_BESIDE)
		log_warn("vsock: at most %llu descriptors (RLIMIT_NOFILE), so fewer than %d "
			"connections at a time",
			(unsigned long long)limit.rlim_cur, VSOCK_CONNECTIONS);
}

int resources_open_vsock(struct resources *r, const struct vm_config *cfg, struct volt_err *err)
{
	char name[] = "volt-helper-unlink";
	char *const argv[] = { name, cfg->vsock_path, NULL };
	struct volt_err why = { 0 };
	unsigned n_fds;
	int fds[HELPER_FDS];

	if (!cfg->vsock_path || r->vsockfd >= 0)
		return 0;
	raise_fd_limit();
	r->vsockfd = vsock_listen(cfg->vsock_path, err);
	if (r->vsockfd < 0)
		return r->vsockfd;
	if (helper_start(argv, &r->vsock_cleaner, fds, &n_fds, &why) < 0)
		log_warn("vsock: %s; '%s' will stay behind when the VM ends", why.msg,
			cfg->vsock_path);
	return 0;
}

void resources_close_vsock(struct resources *r)
{
	r->vsockfd = fd_close(r->vsockfd);
	helper_done(&r->vsock_cleaner);
}

int resources_open_net(struct resources *r, const struct vm_config *cfg, size_t i,
	struct loop *loop, struct volt_err *err)
{
	const struct net_config *n = &cfg->nets[i];
	int e = r->nets[i] ? 0 : open_netif(cfg, n, loop, &r->nets[i], err);

	if (e == 0 && !r->vhosts[i])
		e = open_vhost(n, r->nets[i], &r->vhosts[i], err);
	return e < 0 ? volt_err_wrap(err, "net '%s'", n->id) : 0;
}

void resources_net_forget(struct resources *r, size_t i)
{
	vhost_net_destroy(take_ptr(&r->vhosts[i]));
	netif_destroy(take_ptr(&r->nets[i]));
}

int resources_net_open(struct resources *r, const struct vm_config *cfg, struct loop *loop,
	struct volt_err *err)
{
	for (size_t i = 0; i < cfg->n_nets; i++) {
		int e = resources_open_net(r, cfg, i, loop, err);

		if (e < 0)
			return e;
	}
	return resources_open_vsock(r, cfg, err);
}

void resources_net_done(struct resources *r)
{
	for (size_t i = 0; i < LIMIT_NETS; i++)
		resources_net_forget(r, i);
	resources_close_vsock(r);
}
