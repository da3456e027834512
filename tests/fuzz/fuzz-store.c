/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of a store that somebody else wrote: the first byte says which. Checksums are made right
 * first, or nothing would get past them. Oracles: what is accepted keeps the promises of the
 * headers, and written again it has the same bytes; a stream that is imported leaves a store that
 * verify finds clean, and is the same when it is exported.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "crc32c.h"
#include "num.h"
#include "store-pack.h"
#include "store-stream.h"

#define MUST(x)                                                                                    \
	do {                                                                                       \
		if (!(x))                                                                          \
			__builtin_trap();                                                          \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Right checksums for the sections, as far as there are some. */
static void mend_manifest(uint8_t *p, size_t len)
{
	for (size_t at = 8; at + 12 <= len;) {
		size_t n = num_get_le32(p + at + 4);

		if (n > len - at - 12)
			break;
		num_put_le32(p + at + 8, crc32c_add(crc32c_add(0, p + at, 8), p + at + 12, n));
		at += 12 + n;
	}
}

static void check_manifest(const struct store_manifest *m)
{
	for (unsigned i = 0; i < m->n_regions; i++) {
		const struct store_manifest_region *r = &m->regions[i];

		MUST(r->size >= 1 && r->size <= STORE_SIZE_MAX);
		for (size_t k = 0; k < r->n; k++) {
			MUST(r->delta[k].unit < store_units(r));
			MUST(k == 0 || r->delta[k].unit > r->delta[k - 1].unit);
		}
	}
}

static void try_manifest(uint8_t *p, size_t len)
{
	struct store_manifest *m = calloc(1, sizeof(*m));
	struct volt_err err = { 0 };
	void *again;
	size_t n;

	mend_manifest(p, len);
	if (store_manifest_read(p, len, m, &err) == 0) {
		check_manifest(m);
		MUST(store_manifest_write(m, &again, &n, &err) == 0);
		MUST(n == len && memcmp(again, p, n) == 0);
		free(again);
	} else {
		MUST(err.code && err.msg[0]);
	}
	store_manifest_done(m);
	free(m);
}

/* A manifest of one region of each kind, and the layout that the input has of it. */
static void try_layout(uint8_t *p, size_t len)
{
	static struct store_delta delta[6];
	struct store_manifest *m = calloc(1, sizeof(*m));
	struct store_layout *l = calloc(1, sizeof(*l));
	struct store_id id = { { 1 } };
	struct volt_err err = { 0 };
	void *again;
	size_t n;

	m->n_regions = 2;
	m->n_blobs = 1;
	m->regions[0] = (struct store_manifest_region){
		.kind = STORE_MEMORY, .size = 1 << 20, .n = 6, .delta = delta
	};
	m->regions[1] =
		(struct store_manifest_region){ .kind = STORE_DISK, .size = 1 << 20, .image = id };
	for (unsigned i = 0; i < 6; i++)
		delta[i] = (struct store_delta){ i < 4 ? i : i + 9, { { i != 2 } } };
	if (len >= 52) {
		memcpy(p + 16, id.b, sizeof(id.b));
		num_put_le32(p + len - 4, crc32c_add(0, p, len - 4));
	}
	if (store_layout_read(p, len, &id, m, l, &err) == 0) {
		for (unsigned i = 0; i < 2; i++) {
			size_t sum = 0;

			for (size_t k = 0; k < l->regions[i].n; k++)
				sum += l->regions[i].spans[k].n;
			MUST(sum == m->regions[i].n);
		}
		MUST(store_layout_write(l, &again, &n, &err) == 0);
		MUST(n == len && memcmp(again, p, n) == 0);
		free(again);
	} else {
		MUST(err.code && err.msg[0]);
	}
	store_layout_done(l);
	free(l);
	free(m);
}

/* An index: the entries' own checksum is over their place, so the numbers are made right too. */
static void try_index(uint8_t *p, size_t len)
{
	struct store *s = calloc(1, sizeof(*s));
	struct volt_err err = { 0 };
	struct store_px px;

	if (len >= STORE_PX_HEAD) {
		num_put_le32(p + 8, 7);
		memset(p + 24, 0, STORE_UUID);
		num_put_le32(p + 60, crc32c_add(0, p, 60));
	}
	for (size_t i = 0; STORE_PX_HEAD + (i + 1) * STORE_PX_ENTRY <= len; i++) {
		uint8_t *at = p + STORE_PX_HEAD + i * STORE_PX_ENTRY;
		struct store_entry e = {
			.off4k = num_get_le32(at + 32), .len = num_get_le32(at + 36), .kind = at[40]
		};

		memcpy(e.hash.b, at, STORE_ID_BYTES);
		if (at[41] == 0) /* else it stays wrong */
			store_px_put_entry(at, 7, i, &e);
	}
	if (store_px_parse(s, p, len, 7, &px, &err) == 0) {
		uint64_t end = 0;

		for (size_t i = 0; i < px.n; i++) {
			MUST((uint64_t)px.entries[i].off4k * STORE_PAGE >= end);
			MUST(px.entries[i].len >= 1 && px.entries[i].len <= STORE_BLOB_MAX);
			end = (uint64_t)px.entries[i].off4k * STORE_PAGE +
			      store_entry_span(&px.entries[i]);
			MUST(store_px_at(&px, px.entries[i].off4k) == &px.entries[i]);
		}
		MUST(store_px_end(&px) == end && (!px.flat || px.sealed));
	} else {
		MUST(err.code && err.msg[0]);
	}
	store_px_done(&px);
	free(s);
}

static struct store *open_store(void)
{
	char path[] = "/dev/shm/fuzz-store-XXXXXX";
	struct volt_err err = { 0 };
	struct store *s;

	MUST(mkdtemp(path));
	MUST(store_create(path, &store_sys_real, &err) == 0);
	MUST(store_open(path, STORE_WRITE, &store_sys_real, &s, &err) == 0);
	return s;
}

static void tell(void *ctx, const char *text)
{
	(void)ctx;
	fprintf(stderr, "%s\n", text);
}

static void check_imported(
	struct store *s, const struct store_id *id, const uint8_t *data, size_t len)
{
	struct volt_err err = { 0 };
	struct store_gc_result res;
	int fd = memfd_create("again", MFD_CLOEXEC);
	uint8_t *again = malloc(len + 1);

	MUST(store_verify(s, tell, NULL, &err) == 0);
	MUST(store_export(s, id, fd, &err) == 0);
	MUST(pread(fd, again, len + 1, 0) == (ssize_t)len && memcmp(again, data, len) == 0);
	MUST(store_remove(s, "x", &err) == 0 && store_gc(s, 0, &res, &err) == 0);
	close(fd);
	free(again);
}

/* Length of a manifest in two bytes, the manifest, and the records behind it. */
static void try_stream(uint8_t *p, size_t len)
{
	static struct store *s;
	static struct store_hasher *h;
	struct volt_err err = { 0 };
	struct store_id id, digest;
	uint8_t *all = malloc(STORE_STREAM_HEAD + STORE_STREAM_RECORD + len + STORE_ID_BYTES);
	size_t n = len < 2 ? 0 : MIN((size_t)num_get_le16(p), len - 2), at;
	int fd = memfd_create("stream", MFD_CLOEXEC), r;

	if (!s) { /* one for all runs */
		s = open_store();
		MUST(store_hasher_new(&h, &err) == 0);
	}
	p += MIN(len, 2u);
	len -= MIN(len, 2u);
	mend_manifest(p, n);
	MUST(store_hash(h, p, n, &id) == 0);
	memset(all, 0, STORE_STREAM_HEAD + STORE_STREAM_RECORD);
	memcpy(all, STORE_STREAM_MAGIC "\1\0\1", 7);
	memcpy(all + 8, id.b, STORE_ID_BYTES);
	num_put_le32(all + STORE_STREAM_HEAD, STORE_STREAM_MANIFEST);
	num_put_le64(all + STORE_STREAM_HEAD + 16, n);
	at = STORE_STREAM_HEAD + STORE_STREAM_RECORD;
	memcpy(all + at, p, len);
	at += len;
	MUST(store_hash(h, all, at, &digest) == 0);
	memcpy(all + at, digest.b, STORE_ID_BYTES); /* of a last record without its hash */
	at += STORE_ID_BYTES;
	MUST(write(fd, all, at) == (ssize_t)at && lseek(fd, 0, SEEK_SET) == 0);
	r = store_import(s, fd, "x", &id, &err);
	if (r == 0)
		check_imported(s, &id, all, at);
	else
		MUST(err.code && err.msg[0]);
	close(fd);
	free(all);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size + 1);

	if (size) {
		memcpy(copy, data, size);
		if (data[0] % 4 == 0)
			try_manifest(copy + 1, size - 1);
		else if (data[0] % 4 == 1)
			try_layout(copy + 1, size - 1);
		else if (data[0] % 4 == 2)
			try_index(copy + 1, size - 1);
		else
			try_stream(copy + 1, size - 1);
	}
	free(copy);
	return 0;
}
