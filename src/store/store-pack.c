/* SPDX-License-Identifier: Apache-2.0 */
/* Indices of packs as bytes, and names of packs, see store-pack.h. */
#include "store-pack.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "crc32c.h"
#include "num.h"

#define MAGIC    "STLX"
#define VERSION  1u
#define CRC_AT   (STORE_PX_ENTRY - 4u)
#define HEAD_CRC (STORE_PX_HEAD - 4u)
#define PX_MAX   ((size_t)12 << 30) /* bytes: 2^28 units, 1 TiB of memory */

void store_px_put_head(uint8_t *head, const struct store *s, const struct store_px *px)
{
	memset(head, 0, STORE_PX_HEAD);
	memcpy(head, MAGIC, 4);
	num_put_le16(head + 4, VERSION);
	head[6] = STORE_HASH_SHA256;
	head[7] = px->flat;
	num_put_le32(head + 8, px->number);
	head[12] = px->flat ? (uint8_t)px->kind : 0;
	num_put_le64(head + 16, px->size);
	memcpy(head + 24, s->uuid, STORE_UUID);
	num_put_le32(head + HEAD_CRC, crc32c_add(0, head, HEAD_CRC));
}

/* Over where the entry stands too: one of another time or pack is none. */
static uint32_t entry_crc(const uint8_t *p, uint32_t number, uint64_t i)
{
	uint8_t place[12];

	num_put_le32(place, number);
	num_put_le64(place + 4, i);
	return crc32c_add(crc32c_add(0, place, sizeof(place)), p, CRC_AT);
}

void store_px_put_entry(uint8_t *p, uint32_t number, uint64_t i, const struct store_entry *e)
{
	memset(p, 0, STORE_PX_ENTRY);
	memcpy(p, e->hash.b, STORE_ID_BYTES);
	num_put_le32(p + 32, e->off4k);
	num_put_le32(p + 36, e->len);
	p[40] = e->kind;
	num_put_le32(p + CRC_AT, entry_crc(p, number, i));
}

static int parse_head(const struct store *s, const uint8_t *p, size_t len, struct store_px *px,
	struct volt_err *err)
{
	if (len < STORE_PX_HEAD || memcmp(p, MAGIC, 4) != 0 ||
		num_get_le32(p + HEAD_CRC) != crc32c_add(0, p, HEAD_CRC))
		return volt_err_set(
			err, EBADMSG, "pack %08x: its index has no good head", px->number);
	if (num_get_le16(p + 4) != VERSION || p[6] != STORE_HASH_SHA256)
		return volt_err_set(err, ENOTSUP,
			"pack %08x: version %u with hash %u: this program "
			"reads version %u with hash %u",
			px->number, num_get_le16(p + 4), p[6], VERSION, STORE_HASH_SHA256);
	px->flat = p[7] == 1;
	px->kind = p[12];
	px->size = num_get_le64(p + 16);
	if (p[7] > 1 || num_get_le32(p + 8) != px->number ||
		memcmp(p + 24, s->uuid, STORE_UUID) != 0)
		return volt_err_set(err, EBADMSG,
			"pack %08x: its index is that of another pack or "
			"store",
			px->number);
	if (px->flat ? (px->kind != STORE_MEMORY && px->kind != STORE_DISK) || px->size < 1 ||
				px->size > STORE_SIZE_MAX
		     : px->kind || px->size)
		return volt_err_set(err, EBADMSG, "pack %08x: kind %u of %ju bytes is not known",
			px->number, px->kind, (uintmax_t)px->size);
	return 0;
}

/* What an entry with a good checksum may be, at this place. */
static bool entry_fits(const struct store_px *px, const struct store_entry *e)
{
	uint64_t end = store_px_end(px), at = (uint64_t)e->off4k * STORE_PAGE;
	unsigned log2;

	if (at < end || store_id_is_zero(&e->hash))
		return false;
	if (e->kind == STORE_ENTRY_BLOB)
		return !px->flat && e->len >= 1 && e->len <= STORE_BLOB_MAX;
	if (e->kind != STORE_ENTRY_MEMORY && e->kind != STORE_ENTRY_DISK)
		return false;
	log2 = store_kind_unit_log2((enum store_kind)e->kind);
	if (e->len != 1u << log2)
		return false;
	return !px->flat || (e->kind == px->kind && at % e->len == 0 && at < px->size);
}

static int parse_seal(
	size_t left, const struct store_entry *e, struct store_px *px, struct volt_err *err)
{
	if (left != STORE_PX_ENTRY || e->len != (uint32_t)px->n ||
		(uint64_t)e->off4k * STORE_PAGE != store_px_end(px) ||
		store_id_is_zero(&e->hash) == px->flat)
		return volt_err_set(err, EBADMSG,
			"pack %08x: its seal is not of what stands before "
			"it",
			px->number);
	px->sealed = px->trusted = true;
	px->image = e->hash;
	return 0;
}

int store_px_parse(const struct store *s, const uint8_t *data, size_t len, uint32_t number,
	struct store_px *px, struct volt_err *err)
{
	int r;

	*px = (struct store_px){ .number = number };
	r = parse_head(s, data, len, px, err);
	if (r < 0)
		return r;
	data += STORE_PX_HEAD;
	len -= STORE_PX_HEAD;
	px->entries = malloc(MAX(len / STORE_PX_ENTRY, 1u) * sizeof(*px->entries));
	if (!px->entries)
		return volt_err_set(err, ENOMEM, "no memory for the index of pack %08x", number);
	for (; len >= STORE_PX_ENTRY; data += STORE_PX_ENTRY, len -= STORE_PX_ENTRY) {
		struct store_entry *e = &px->entries[px->n];

		if (num_get_le32(data + CRC_AT) != entry_crc(data, number, px->n))
			break;
		memcpy(e->hash.b, data, STORE_ID_BYTES);
		e->off4k = num_get_le32(data + 32);
		e->len = num_get_le32(data + 36);
		e->kind = data[40];
		if (e->kind == STORE_ENTRY_SEAL)
			return parse_seal(len, e, px, err);
		if (!entry_fits(px, e))
			return volt_err_set(err, EBADMSG,
				"pack %08x: entry %zu of its index "
				"cannot be",
				number, px->n);
		px->n++;
	}
	return px->flat ? volt_err_set(err, EBADMSG, "pack %08x: entry %zu of its index is damaged",
				  number, px->n)
			: 0;
}

int store_px_load(struct store *s, uint32_t number, struct store_px *px, struct volt_err *err)
{
	_cleanup_free_ void *data = NULL;
	char name[16];
	size_t len;
	int r;

	*px = (struct store_px){ .number = number };
	store_pack_name(number, "px", name);
	r = store_file_get(s, s->packsfd, name, PX_MAX, &data, &len, err);
	if (r == -ENOENT)
		return volt_err_set(err, ENOENT, "pack %08x has no index", number);
	return r < 0 ? r : store_px_parse(s, data, len, number, px, err);
}

int store_px_image(struct store *s, uint32_t number, struct store_id *ret, struct volt_err *err)
{
	uint8_t data[STORE_PX_HEAD + STORE_PX_ENTRY], *seal = data + STORE_PX_HEAD;
	struct store_px px = { .number = number };
	_cleanup_close_ int fd = -1;
	char name[16];
	uint64_t size, n;
	int r;

	store_pack_name(number, "px", name);
	fd = s->sys->openat(s->packsfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0);
	if (fd < 0)
		return volt_err_set(err, errno, "open index %s: %m", name);
	r = store_file_size(fd, &size);
	if (r == 0 && (size < sizeof(data) || (size - STORE_PX_HEAD) % STORE_PX_ENTRY))
		r = -EBADMSG;
	if (r == 0)
		r = store_sys_read(s->sys, fd, data, STORE_PX_HEAD, 0);
	if (r == 0)
		r = store_sys_read(s->sys, fd, seal, STORE_PX_ENTRY, size - STORE_PX_ENTRY);
	if (r < 0)
		return volt_err_set(err, -r, "index %s is no image's: %m", name);
	r = parse_head(s, data, STORE_PX_HEAD, &px, err);
	if (r < 0)
		return r;
	n = (size - STORE_PX_HEAD) / STORE_PX_ENTRY - 1;
	if (!px.flat || seal[40] != STORE_ENTRY_SEAL ||
		num_get_le32(seal + CRC_AT) != entry_crc(seal, number, n))
		return volt_err_set(
			err, EBADMSG, "index %s is no image's, or its seal is damaged", name);
	memcpy(ret->b, seal, STORE_ID_BYTES);
	return 0;
}

void store_px_done(struct store_px *px)
{
	free(px->entries);
	px->entries = NULL;
	px->n = 0;
}

size_t store_px_longest(const struct store_px *px)
{
	size_t most = 1;

	for (size_t i = 0; i < px->n; i++)
		most = MAX(most, px->entries[i].len);
	return most;
}

uint64_t store_px_end(const struct store_px *px)
{
	const struct store_entry *last = px->n ? &px->entries[px->n - 1] : NULL;

	return last ? (uint64_t)last->off4k * STORE_PAGE + store_entry_span(last) : 0;
}

const struct store_entry *store_px_at(const struct store_px *px, uint32_t off4k)
{
	size_t low = 0, high = px->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (px->entries[mid].off4k < off4k)
			low = mid + 1;
		else
			high = mid;
	}
	return low < px->n && px->entries[low].off4k == off4k ? &px->entries[low] : NULL;
}

void store_pack_name(uint32_t number, const char *ext, char *name)
{
	snprintf(name, 16, "%08" PRIx32 ".%s", number, ext);
}

int64_t store_pack_number(const char *name, const char *ext)
{
	char again[16];
	uint32_t number = 0;

	for (unsigned i = 0; i < 8 && name[i]; i++) {
		char c = name[i];

		number = number << 4 | (uint32_t)(c <= '9' ? c - '0' : c - 'a' + 10);
	}
	store_pack_name(number, ext, again); /* whatever was no digit is not the same now */
	return strcmp(name, again) == 0 && number != STORE_NO_PACK ? (int64_t)number : -1;
}

int store_pack_open(struct store *s, uint32_t number, int *ret_fd, struct volt_err *err)
{
	char name[16];
	int fd;

	store_pack_name(number, "pk", name);
	fd = s->sys->openat(s->packsfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0);
	if (fd < 0 && errno == ENOENT)
		return -ENOENT;
	if (fd < 0)
		return volt_err_set(err, errno, "open pack %s: %m", name);
	*ret_fd = fd;
	return 0;
}
