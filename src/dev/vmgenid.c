/* SPDX-License-Identifier: Apache-2.0 */
/* VM generation ID, see vmgenid.h. */
#include "vmgenid.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

void vmgenid_init(struct vmgenid *g, const struct gmem *mem, struct ioapic *ioapic)
{
	*g = (struct vmgenid){
		.mem = mem,
		.irq = { .ioapic = ioapic, .gsi = LAYOUT_GSI_VMGENID },
	};
}

int vmgenid_first(struct vmgenid *g, struct volt_err *err)
{
	uint8_t id[VMGENID_BYTES];

	/* Never waits: what a restore costs is counted, and the host has booted long ago. */
	/* #syscalls loop: getrandom */
	if (getrandom(id, sizeof(id), GRND_NONBLOCK) != sizeof(id))
		return volt_err_set(err, EIO, "VM generation ID: the host has no random numbers");
	if (gmem_write(g->mem, GPA(LAYOUT_VMGENID), id, sizeof(id)) < 0)
		return volt_err_set(err, EFAULT, "VM generation ID: no guest memory at 0x%x",
			(unsigned)LAYOUT_VMGENID);
	memcpy(g->id, id, sizeof(id));
	return 0;
}

int vmgenid_renew(struct vmgenid *g, struct volt_err *err)
{
	int r = vmgenid_first(g, err);

	if (r == 0)
		irq_raise(&g->irq);
	return r;
}
