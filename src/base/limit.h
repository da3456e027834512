/* SPDX-License-Identifier: Apache-2.0 */
/* Every maximum of the monitor, with its reason. */
#ifndef VOLT_LIMIT_H
#define VOLT_LIMIT_H

#define LIMIT_VCPUS	   32	   /* Firecracker's; APIC ids and CPUID topology are made for it */
#define LIMIT_MEM_MIB	   1048576 /* 1 TiB: the identity of RAM and 64-bit MMIO below 2^40 */
#define LIMIT_DISKS	   17	   /* GSIs 5..22, one is kept for virtio-rng */
#define LIMIT_PMEMS	   17	   /* with disks and the rest at most LIMIT_VIRTIO */
#define LIMIT_PMEM_ID	   64
#define LIMIT_VIRTIO	   18	   /* GSIs 5..22 (LAYOUT_GSI_VIRTIO up to below LAYOUT_GSI_POWER) */
#define LIMIT_CMDLINE	   2048	   /* with the NUL; x86 Linux's COMMAND_LINE_SIZE */
#define LIMIT_API_BODY	   (64 << 20) /* what a body may be told to be at most */
#define LIMIT_CONFIG_BYTES (1 << 20) /* a configuration file */
#define LIMIT_PATH	   4096	   /* PATH_MAX */
#define LIMIT_ID	   64	   /* instance id, Firecracker's */
#define LIMIT_DISK_ID	   64
#define LIMIT_DISK_QUEUES  8
#define LIMIT_NETS	   8	   /* interfaces; with disks and the rest at most LIMIT_VIRTIO */
#define LIMIT_NET_ID	   64
#define LIMIT_NET_PAIRS	   8	   /* queue pairs of one interface */
#define LIMIT_IFNAME	   16	   /* IFNAMSIZ, with the NUL */
#define LIMIT_SOCKET_PATH  108	   /* sizeof(sockaddr_un.sun_path), with the NUL */
#define LIMIT_QUEUE_SIZE   256	   /* descriptors in a virtqueue */
#define LIMIT_SEGS	   130	   /* header, 128 data segments (SEG_MAX), status */

#endif
