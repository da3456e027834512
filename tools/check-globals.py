#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fails on writable data at file scope that is not in the list below.

Looks with nm at the objects of the libraries and programs that a plain (not sanitized) build has
made of src. Constant tables with pointers (.data.rel.ro) are read-only once the program runs.

Usage: check-globals.py BUILD_DIR
"""
import collections
import glob
import os
import re
import subprocess
import sys

# (file, symbol): why it is there.
ALLOWED = {
    ('log', 'config'): 'the one log of the process, set while there is one thread',
    ('log', 'missed'): 'counter of the one log',
    ('log', 'rate_limited'): 'the same',
    ('log', 'thread_name'): 'per thread',
    ('console-tty', 'raw_fd'): 'the terminal to give back, for a signal handler',
    ('console-tty', 'saved'): 'the same',
    ('vcpu', 'own_run'): 'per thread, for the handler of the kick signal',
    ('fatal', 'counters'): 'of signals, which belong to the process',
    ('fatal', 'state'): 'for the signal handlers, set before the sandbox',
    ('seccomp', 'report'): 'for a signal handler, set before the first filter',
    ('seccomp', 'reporting'): 'per thread, in the signal handler',
}
# The log keeps one atomic limit per call site.
SITE = re.compile(r'site_\.\d+$')

WRITABLE = re.compile(r'\.(data|bss|tdata|tbss)(?!\.rel\.ro)|\*COM\*')


def read_symbols(path):
    """(name, section) of what an object defines."""
    out = subprocess.run(['nm', '--format=sysv', '--defined-only', path], capture_output=True,
                         text=True, check=True).stdout
    for line in out.split('\n'):
        fields = [f.strip() for f in line.split('|')]
        if len(fields) == 7:
            yield fields[0], fields[6]


def main():
    if len(sys.argv) != 2:
        sys.exit('usage: check-globals.py BUILD_DIR')
    objects = [o for o in glob.glob(os.path.join(sys.argv[1], 'src', '**', '*.o'), recursive=True)
               if 'seccomp-compile.p' not in o]
    found = collections.Counter()
    for path in sorted(objects):
        file = re.sub(r'\.c\.o$', '', os.path.basename(path)).split('_')[-1]
        for name, section in read_symbols(path):
            if WRITABLE.match(section) and not SITE.match(name) \
                    and (file, re.sub(r'\.\d+$', '', name)) not in ALLOWED:
                found['%s: %s in %s' % (file, name, section)] += 1
    name = 'no writable data at file scope in %d objects' % len(objects)
    if found or not objects:
        print('not ok - %s: %d' % (name, len(found)))
        for line in found:
            print('#   ' + line)
        sys.exit(1)
    print('ok - ' + name)


if __name__ == '__main__':
    main()
