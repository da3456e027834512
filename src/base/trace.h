/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Static trace points: a nop where the point is, and an ELF note (SystemTap's SDT format) that says
 * where it is and where its arguments are found. Nothing else runs until perf, bpftrace or gdb puts
 * a probe there:
 *
 *	bpftrace -e 'usdt:/usr/bin/volt-vmm:volt:net_drop { printf("%s\n", str(arg1)); }'
 *
 * Arguments must be at hand: integers, or pointers that outlive the call. Any thread.
 */
#ifndef VOLT_TRACE_H
#define VOLT_TRACE_H

#include <sys/sdt.h>

#define TRACE2(name, a, b)    DTRACE_PROBE2(volt, name, a, b)
#define TRACE3(name, a, b, c) DTRACE_PROBE3(volt, name, a, b, c)

#endif
