/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration as an object, and the list of mistakes; see vmcfg.h. */
#include "vmcfg.h"

#include <stdarg.h>
#include <stdlib.h>

#include "cleanup.h"
#include "vmcfg-judge.h"
#include "vmcfg-list.h"
#include "vmcfg-net.h"
#include "vmcfg-row.h"

void vmcfg_error(struct vmcfg_errors *e, const char *path, const char *fmt, ...)
{
	_cleanup_free_ char *message = NULL;
	char *text = NULL;
	va_list ap;
	int r;

	e->n++;
	if (e->n > VMCFG_ERRORS_MAX)
		return;
	e->text[e->n - 1] = NULL;
	va_start(ap, fmt);
	r = vasprintf(&message, fmt, ap);
	va_end(ap);
	if (r < 0) {
		message = NULL;
		return;
	}
	if (asprintf(&text, "%s: %s", path, message) < 0)
		return;
	for (char *c = text; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	e->text[e->n - 1] = text;
}

void vmcfg_errors_print(const struct vmcfg_errors *e, FILE *out)
{
	for (size_t i = 0; i < MIN(e->n, VMCFG_ERRORS_MAX); i++)
		fprintf(out, "%s\n", e->text[i] ? e->text[i] : "out of memory");
	if (e->n > VMCFG_ERRORS_MAX)
		fprintf(out, "and %zu more\n", e->n - VMCFG_ERRORS_MAX);
}

void vmcfg_errors_done(struct vmcfg_errors *e)
{
	for (size_t i = 0; i < MIN(e->n, VMCFG_ERRORS_MAX); i++)
		free(e->text[i]);
	*e = (struct vmcfg_errors){ 0 };
}

void vmcfg_defaults(struct vm_config *cfg)
{
	*cfg = (struct vm_config){ .entropy = true };
	for (size_t i = 0; i < vmcfg_doc_n_sections; i++) {
		const struct vmcfg_section *s = &vmcfg_doc_sections[i];

		for (size_t j = 0; j < s->n_rows && vmcfg_doc_over_vm(s); j++)
			vmcfg_row_default(&s->rows[j], cfg);
	}
}

const char *vmcfg_default_cmdline(void)
{
	return vmcfg_doc_cmdline_firecracker;
}

bool vmcfg_mac_ok(const char *text)
{
	return vmcfg_judge_mac(text, NULL) == 0;
}

void vmcfg_settle_macs(struct vm_config *cfg)
{
	struct vmcfg_errors errors = { 0 };

	vmcfg_net_settle(cfg, &errors);
	vmcfg_errors_done(&errors);
}

void vmcfg_done(struct vm_config *cfg)
{
	for (size_t i = 0; i < vmcfg_doc_n_sections; i++) {
		const struct vmcfg_section *s = &vmcfg_doc_sections[i];

		if (s->kind == VMCFG_LIST)
			vmcfg_list_done(s, cfg);
		for (size_t j = 0; j < s->n_rows && vmcfg_doc_over_vm(s); j++)
			vmcfg_row_done(&s->rows[j], cfg);
	}
	*cfg = (struct vm_config){ 0 };
}
