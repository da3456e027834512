#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Collects the syscalls comments of C sources into the list that tools/seccomp-compile.c reads.

A comment stands beside each system call that runs after start-up, calls inside libc included:

    /* #syscalls loop: preadv pwritev */
    /* #syscalls loop vcpu: ioctl=KVM_SIGNAL_MSI */

names the threads, then the calls; "api" is the loop thread of a VM with an API socket, which may do
all that "loop" may. CALL=CONSTANT admits one value of the argument that selects the
operation, and may be repeated. The words after '#' are reserved: one that does not parse is an
error, so that a typing mistake cannot drop a rule. Output, sorted, one rule a line:

    vcpu ioctl=KVM_RUN src/kvm/kvm.c:113

Usage: gen-seccomp.py --output LIST [--depfile D] [--root DIR] [--drop THREAD:CALL]... PATH...
A PATH is a file, or a directory whose .c and .h files are read. --drop leaves a call (or one
CALL=CONSTANT) out, for the test that shows what a missing rule does.
"""
import argparse
import os
import re
import sys

THREADS = ('loop', 'vcpu', 'api')
VCPU_RULES_MAX = 25  # a vCPU thread is what the guest reaches first

MARK = '#syscalls'
COMMENT = re.compile(r'/\*\s*#syscalls((?:\s+[a-z]+)+)\s*:((?:\s+(?:\*\s+)?[a-z0-9_]+'
                     r'(?:=[A-Z][A-Z0-9_]*)?)+)\s*\*/')


class Fault(Exception):
    """A message of the form file:line: what."""


def collect_text(text, name, rules):
    """Adds the rules of one file to rules: {(thread, rule): [file:line]}."""
    at = 0
    while (at := text.find(MARK, at)) >= 0:
        start = text.rfind('/*', 0, at)
        where = '%s:%d' % (name, text.count('\n', 0, at) + 1)
        m = COMMENT.match(text, start) if start >= 0 else None
        if not m or m.end() <= at:
            raise Fault('%s: malformed comment, want /* %s THREADS: CALL CALL=CONSTANT */'
                        % (where, MARK))
        for thread in m.group(1).split():
            if thread not in THREADS:
                raise Fault("%s: unknown thread '%s' (%s)" % (where, thread, ', '.join(THREADS)))
            for rule in m.group(2).replace('*', ' ').split():
                rules.setdefault((thread, rule), []).append(where)
        at = m.end()


def find_sources(paths):
    """Sources, and the meson.build files beside them: a new source is a line in one of those."""
    sources, others = [], []
    for path in paths:
        if not os.path.isdir(path):
            sources.append(path)
            continue
        for folder, dirs, files in os.walk(path):
            dirs.sort()
            sources += [os.path.join(folder, f) for f in files if f.endswith(('.c', '.h'))]
            others += [os.path.join(folder, f) for f in files if f == 'meson.build']
    return sorted(set(sources)), sorted(set(others))


def drop_rules(rules, drops):
    for drop in drops:
        thread, _, call = drop.partition(':')
        gone = [(t, r) for t, r in rules if t == thread and call in (r, r.partition('=')[0])]
        if not gone:
            raise Fault('--drop %s: there is no such rule' % drop)
        for key in gone:
            del rules[key]


def check_limit(rules):
    vcpu = sorted(rule for thread, rule in rules if thread == 'vcpu')
    if len(vcpu) > VCPU_RULES_MAX:
        raise Fault('vcpu threads have %d rules, at most %d may be: %s'
                    % (len(vcpu), VCPU_RULES_MAX, ' '.join(vcpu)))


def main(argv=None):
    ap = argparse.ArgumentParser()
    ap.add_argument('--output', required=True)
    ap.add_argument('--depfile')
    ap.add_argument('--root', default='.')
    ap.add_argument('--drop', action='append', default=[])
    ap.add_argument('paths', nargs='+')
    args = ap.parse_args(argv)

    sources, others = find_sources(args.paths)
    rules = {}
    for path in sources:
        with open(path, encoding='utf-8') as f:
            collect_text(f.read(), os.path.relpath(path, args.root), rules)
    drop_rules(rules, args.drop)
    for thread, rule in sorted(rules):
        if thread == 'loop':
            rules.setdefault(('api', rule), rules[thread, rule])
    check_limit(rules)

    with open(args.output, 'w', encoding='utf-8') as f:
        for (thread, rule), where in sorted(rules.items()):
            f.write('%s %s %s\n' % (thread, rule, ' '.join(where)))
    if args.depfile:
        with open(args.depfile, 'w', encoding='utf-8') as f:
            f.write('%s: %s\n' % (args.output, ' '.join(
                p.replace(' ', '\\ ') for p in sources + others)))


if __name__ == '__main__':
    try:
        main()
    except (Fault, OSError, UnicodeDecodeError) as e:
        sys.exit('gen-seccomp: error: %s' % e)
