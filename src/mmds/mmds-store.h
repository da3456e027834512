/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The data of the metadata service: one JSON value, written by the API or from a file, read by the
 * API and by the guest. Its size is that of its compact text and bounded. Loop thread.
 */
#ifndef VOLT_MMDS_STORE_H
#define VOLT_MMDS_STORE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "compiler.h"

struct mmds_store {
	json_t *value; /* owned; NULL: nothing was put yet */
	size_t limit;  /* bytes of the compact text */
};

void mmds_store_done(struct mmds_store *s);

/* Replaces all. -E2BIG: it does not fit; -ENOMEM. The caller keeps its reference, to read only. */
int mmds_store_put(struct mmds_store *s, json_t *value) MUST_CHECK;

/* JSON merge patch (RFC 7396). -ENOENT: nothing was put yet; else as above. All or nothing. */
int mmds_store_patch(struct mmds_store *s, const json_t *patch) MUST_CHECK;

/*
 * What is at a path: "/" or "" is all, "/a/b" member b of member a, "/list/0" an item; ~1 and ~0
 * stand for "/" and "~" (RFC 6901); one slash at the end is ignored. As JSON, or as the instance
 * metadata service of EC2 would have it: a text as it is, an object as the lines of its keys, with
 * a slash behind those of objects. *ret is malloc'd and NUL-terminated. -ENOENT; -ENOTSUP: no such
 * form of this kind of value; -ENOMEM.
 */
int mmds_store_get(const struct mmds_store *s, const char *path, bool imds, char **ret,
	size_t *ret_len) MUST_CHECK;

#endif
