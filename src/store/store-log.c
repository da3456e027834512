/* SPDX-License-Identifier: Apache-2.0 */
/* The pack that this process appends to, see store-pack.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "store-pack.h"

static struct store_px *own_px(struct store *s)
{
	return store_index_px(&s->index, s->log->number);
}

static int open_files(struct store *s, struct store_log *log, struct volt_err *err)
{
	char name[16];

	store_pack_name(log->number, "pk", name);
	log->pkfd = s->sys->openat(s->packsfd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (log->pkfd < 0)
		return volt_err_set(err, errno, "create pack %s: %m", name);
	store_pack_name(log->number, "px", name);
	log->pxfd = s->sys->openat(s->packsfd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (log->pxfd < 0)
		return volt_err_set(err, errno, "create pack %s: %m", name);
	return 0;
}

static int open_pack(struct store *s, struct volt_err *err)
{
	struct store_px *px = calloc(1, sizeof(*px));
	uint8_t head[STORE_PX_HEAD], *buffer = s->log->buffer;
	int r;

	if (!buffer)
		buffer = aligned_alloc(STORE_PAGE, STORE_CHUNK);
	*s->log = (struct store_log){ .pkfd = -1,
		.pxfd = -1,
		.buffer = buffer,
		.number = s->next_pack++,
		.px_end = STORE_PX_HEAD };
	if (!px || !buffer) {
		free(px);
		return volt_err_set(err, ENOMEM, "no memory for a pack");
	}
	px->number = s->log->number;
	px->trusted = true;
	r = store_index_add_px(&s->index, px);
	if (r < 0) {
		free(px);
		return volt_err_set(err, -r, "no memory for a pack");
	}
	r = open_files(s, s->log, err);
	if (r < 0)
		return r;
	store_px_put_head(head, s, px);
	r = store_sys_write(s->sys, s->log->pxfd, head, sizeof(head), 0);
	return r < 0 ? volt_err_set(err, -r, "write the index of pack %08x: %m", px->number) : 0;
}

int store_log_flush(struct store *s, struct volt_err *err)
{
	struct store_log *log = s->log;
	int r;

	if (log->pkfd < 0 || log->end == log->flushed)
		return 0;
	r = store_sys_write(
		s->sys, log->pkfd, log->buffer, (size_t)(log->end - log->flushed), log->flushed);
	if (r < 0)
		return volt_err_set(err, -r, "write pack %08x: %m", log->number);
	log->flushed = log->end;
	return 0;
}

static int append(struct store *s, const void *data, size_t len, struct volt_err *err)
{
	struct store_log *log = s->log;
	size_t span = ALIGN_UP(len, (size_t)STORE_PAGE);
	int r = 0;

	if (log->end - log->flushed + span > STORE_CHUNK)
		r = store_log_flush(s, err);
	if (r < 0)
		return r;
	if (span <= STORE_CHUNK) {
		uint8_t *to = log->buffer + (log->end - log->flushed);

		memcpy(to, data, len);
		memset(to + len, 0, span - len);
		log->end += span;
		return 0;
	}
	r = store_sys_write(s->sys, log->pkfd, data, len, log->end);
	if (r < 0)
		return volt_err_set(err, -r, "write pack %08x: %m", log->number);
	log->end += span;
	log->flushed = log->end;
	return 0;
}

static int note(struct store *s, const struct store_entry *e, struct volt_err *err)
{
	struct store_px *px = own_px(s);

	if ((px->n & (px->n - 1)) == 0) { /* grows by doubling */
		void *more = realloc(px->entries, MAX(px->n * 2, 64u) * sizeof(*e));

		if (!more)
			return volt_err_set(err, ENOMEM, "no memory for the index");
		px->entries = more;
	}
	px->entries[px->n++] = *e;
	if (store_index_add(&s->index, px, px->n - 1) < 0)
		return volt_err_set(err, ENOMEM, "no memory for the index");
	return 0;
}

int store_log_add(struct store *s, enum store_entry_kind kind, const void *data, size_t len,
	const struct store_id *hash, uint32_t *ret_pack, uint32_t *ret_off4k, struct volt_err *err)
{
	struct store_entry e = { .hash = *hash, .len = (uint32_t)len, .kind = (uint8_t)kind };
	struct store_log *log = s->log;
	int r = store_index_load(s, err);

	if (r == 0 && log->pkfd >= 0 && log->end + len > STORE_PACK_BYTES_MAX) {
		r = store_log_sync(s, err);
		if (r == 0)
			store_log_close(s);
	}
	if (r == 0 && log->pkfd < 0)
		r = open_pack(s, err);
	if (r < 0)
		return r;
	e.off4k = (uint32_t)(log->end / STORE_PAGE);
	r = append(s, data, len, err);
	if (r == 0)
		r = note(s, &e, err);
	*ret_pack = log->number;
	*ret_off4k = e.off4k;
	return r;
}

/* Appends to the index what it does not have yet. */
static int write_index(struct store *s, struct volt_err *err)
{
	struct store_log *log = s->log;
	const struct store_px *px = own_px(s);
	size_t from = (size_t)((log->px_end - STORE_PX_HEAD) / STORE_PX_ENTRY);
	size_t len = (px->n - from) * STORE_PX_ENTRY;
	_cleanup_free_ uint8_t *data = malloc(MAX(len, 1u));
	int r;

	if (!data)
		return volt_err_set(err, ENOMEM, "no memory for the index");
	for (size_t i = from; i < px->n; i++)
		store_px_put_entry(
			data + (i - from) * STORE_PX_ENTRY, px->number, i, &px->entries[i]);
	r = store_sys_write(s->sys, log->pxfd, data, len, log->px_end);
	if (r < 0)
		return volt_err_set(err, -r, "write the index of pack %08x: %m", log->number);
	log->px_end += len;
	return 0;
}

int store_log_sync(struct store *s, struct volt_err *err)
{
	struct store_log *log = s->log;
	int r;

	if (log->pkfd < 0 || log->px_end == STORE_PX_HEAD + own_px(s)->n * STORE_PX_ENTRY)
		return 0;
	r = store_log_flush(s, err);
	if (r < 0)
		return r;
	if (s->sys->fdatasync(log->pkfd) < 0)
		return store_broke(s, errno, "the data of a pack", err);
	r = write_index(s, err);
	if (r == 0 && s->sys->fdatasync(log->pxfd) < 0)
		r = store_broke(s, errno, "the index of a pack", err);
	return r;
}

void store_log_keep(struct store *s)
{
	struct store_log *log = s->log;

	if (log->pkfd < 0)
		return;
	log->kept_end = log->end;
	log->kept_px_end = log->px_end;
	log->kept_n = own_px(s)->n;
}

struct store_log_mark store_log_mark(const struct store *s)
{
	const struct store_px *px = store_index_px(&s->index, s->log->number);

	if (s->log->pkfd < 0)
		return (struct store_log_mark){ .number = s->next_pack };
	return (struct store_log_mark){ s->log->number, s->log->end, px->n };
}

void store_log_rollback(struct store *s, const struct store_log_mark *mark)
{
	struct store_log *log = s->log;

	if (log->pkfd < 0 || log->number != mark->number ||
		log->px_end > STORE_PX_HEAD + mark->n * STORE_PX_ENTRY)
		return;
	own_px(s)->n = mark->n;
	log->end = mark->end;
	log->flushed = MIN(log->flushed, log->end);
}

static void forget(struct store_log *log)
{
	log->pkfd = fd_close(log->pkfd);
	log->pxfd = fd_close(log->pxfd);
}

/*
 * The pack is not appended to any more: after a failure nobody knows what of it is on the disk but
 * for what commits have synced. Without a seal it stays untrusted, for those who come later too.
 */
void store_log_drop(struct store *s)
{
	struct store_log *log = s->log;
	struct store_px *px;
	char name[16];

	if (log->pkfd < 0)
		return;
	px = own_px(s);
	px->trusted = false;
	px->n = log->kept_n;
	if (log->kept_n == 0) {
		store_pack_name(log->number, "px", name);
		s->sys->unlinkat(s->packsfd, name, 0);
		store_pack_name(log->number, "pk", name);
		s->sys->unlinkat(s->packsfd, name, 0);
	} else { /* gives space back; it does no harm if it fails */
		s->sys->ftruncate(log->pxfd, (off_t)log->kept_px_end);
		s->sys->ftruncate(log->pkfd, (off_t)log->kept_end);
	}
	forget(log);
}

void store_log_close(struct store *s)
{
	struct store_log *log = s->log;
	struct store_entry seal = { .kind = STORE_ENTRY_SEAL };
	uint8_t entry[STORE_PX_ENTRY];
	struct store_px *px;

	if (log->pkfd < 0)
		return;
	px = own_px(s);
	seal.off4k = (uint32_t)(log->end / STORE_PAGE);
	seal.len = (uint32_t)px->n;
	store_px_put_entry(entry, px->number, px->n, &seal);
	if (!s->broken)
		store_sys_write(s->sys, log->pxfd, entry, sizeof(entry), log->px_end);
	forget(log);
}
