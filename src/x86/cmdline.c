/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's command line, see cmdline.h. */
#include "cmdline.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Text that may have become longer than the buffer: len counts on, so that the excess is known. */
struct text {
	char *buf;
	size_t len;
};

static void append(struct text *t, const char *s, size_t len)
{
	if (t->len < LIMIT_CMDLINE)
		memcpy(t->buf + t->len, s, MIN(len, LIMIT_CMDLINE - t->len));
	t->len += len;
}

/* Adds one parameter, with a blank before it unless it is the first. */
static void PRINTF_LIKE(2, 3) parameter(struct text *t, const char *fmt, ...)
{
	char one[LIMIT_CMDLINE];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(one, sizeof(one), fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	if (t->len > 0)
		append(t, " ", 1);
	append(t, one, MIN((size_t)n, sizeof(one) - 1));
	t->len += (size_t)n - MIN((size_t)n, sizeof(one) - 1);
}

static int check_printable(const char *s, const char *name, struct volt_err *err)
{
	for (size_t i = 0; s[i]; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c < 0x20 || c > 0x7e)
			return volt_err_set(err, EINVAL,
				"%s: byte 0x%02x at position %zu is not printable ASCII",
				name, c, i);
	}
	return 0;
}

/*
 * Length of the part for the kernel: up to a word "--" outside quotes (as lib/cmdline.c reads it),
 * without the blanks before it. ret_init: that word and what follows, or NULL.
 */
static size_t kernel_part(const char *user, const char **ret_init)
{
	size_t len = strlen(user);
	bool quoted = false;

	*ret_init = NULL;
	for (size_t i = 0; i < len; i++) {
		bool starts = i == 0 || user[i - 1] == ' ';

		if (user[i] == '"')
			quoted = !quoted;
		if (quoted || !starts || strncmp(user + i, "--", 2) != 0)
			continue;
		if (user[i + 2] == ' ' || user[i + 2] == '\0') {
			*ret_init = user + i;
			len = i;
		}
	}
	while (len > 0 && user[len - 1] == ' ')
		len--;
	return len;
}

int cmdline_build(const struct cmdline_config *cfg, char ret[LIMIT_CMDLINE], struct volt_err *err)
{
	struct text t = { .buf = ret };
	const char *init;
	size_t len;
	int r;

	r = check_printable(cfg->user, "kernel command line", err);
	if (r == 0 && cfg->root)
		r = check_printable(cfg->root, "root device", err);
	if (r < 0)
		return r;
	len = kernel_part(cfg->user, &init);
	append(&t, cfg->user, len);
	if (cfg->pci_off)
		parameter(&t, "pci=off");
	if (cfg->root)
		parameter(&t, "root=%s %s", cfg->root, cfg->root_read_only ? "ro" : "rw");
	for (unsigned i = 0; i < cfg->n_virtio; i++)
		parameter(&t, "virtio_mmio.device=4K@0x%llx:%u",
			(unsigned long long)cfg->virtio[i].base, cfg->virtio[i].gsi);
	if (init) { /* not through parameter(): it may be long */
		if (t.len > 0)
			append(&t, " ", 1);
		append(&t, init, strlen(init));
	}
	if (t.len >= LIMIT_CMDLINE)
		return volt_err_set(err, E2BIG,
			"kernel command line of %zu bytes with %zu added for the devices is %zu "
			"bytes too long (at most %d)",
			strlen(cfg->user), t.len - MIN(t.len, strlen(cfg->user)),
			t.len - (LIMIT_CMDLINE - 1), LIMIT_CMDLINE - 1);
	ret[t.len] = '\0';
	return 0;
}
