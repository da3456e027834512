/* SPDX-License-Identifier: Apache-2.0 */
/* What the shim tells the model of the disk, see store-shim.h. Nothing happens before _begin(). */
#ifndef VOLT_TEST_STORE_DISK_H
#define VOLT_TEST_STORE_DISK_H

#include <stdbool.h>
#include <sys/types.h>

void store_disk_created(int dirfd, const char *name, int fd);
void store_disk_made(int dirfd, const char *name);
void store_disk_renamed(int from, const char *name, int to, const char *to_name);
void store_disk_unlinked(int dirfd, const char *name);
void store_disk_wrote(int fd, const void *data, size_t len, off_t offset);
void store_disk_truncated(int fd, off_t bytes);
/* failed: what was to be synced is clean now, and not on the disk. */
void store_disk_synced(int fd, bool failed);

#endif
