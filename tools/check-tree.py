#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The style gate: what docs/style.md promises and a compiler does not check.

One line per check, "ok - name" or "not ok - name: N" with a line for each finding. Exit status 1 if
anything was found. Reads files that git knows or would take; needs gcc for the header check.

Usage: check-tree.py [ROOT]
"""
import concurrent.futures
import os
import re
import subprocess
import sys

WARN_LINES, FAIL_LINES = 600, 900
FUNCTION_LINES = 70
COLUMNS = 100  # of C; scripts may have a few more
COLUMNS_SCRIPT = 110

BANNED = ('sprintf strcpy strcat strncpy strtok strtol atoi sscanf gets alloca system popen '
          'localtime gmtime rand signal sleep usleep').split()
EXIT = ('exit', '_exit')
# Where a process may be ended: the mains, and the reports of a forbidden call and a fatal signal.
MAY_EXIT = re.compile(r'src/([^/]+/main\.c|sandbox/seccomp\.c|vm/fatal\.c)$')

# What a guest can reach, by itself or through its image, has a unit test of its name.
GUEST_FACING = ('mem', 'bus', 'virtio', 'mmds', 'dev', 'x86')

# Names of external functions that do not begin with the stem of their file.
PREFIXES = {'bucket': ['limiter_'], 'err': ['volt_err_'], 'main': ['main']}


class Tree:
    """All files below root, read once."""

    def __init__(self, root):
        self.root = root
        self.text = {}
        for path in list_files(root):
            try:
                with open(os.path.join(root, path), 'rb') as f:
                    data = f.read()
            except OSError:
                continue  # deleted, not yet committed; or a symbolic link to nowhere
            if b'\0' not in data:
                self.text[path] = data.decode('utf-8', 'surrogateescape')
        self.bare = {p: strip_comments(t) for p, t in self.text.items() if is_c(p)}
        self.src = [p for p in self.bare if p.startswith('src/')]


def list_files(root):
    """What git knows or would take; without git (a tarball) all but builds and hidden folders."""
    git = subprocess.run(['git', '-C', root, 'ls-files', '-z', '--cached', '--others',
                          '--exclude-standard'], capture_output=True, text=True)
    if git.returncode == 0:
        return sorted(filter(None, git.stdout.split('\0')))
    paths = []
    for folder, dirs, files in os.walk(root):
        dirs[:] = [d for d in dirs if not d.startswith(('.', 'build'))]
        paths += [os.path.relpath(os.path.join(folder, f), root) for f in files]
    return sorted(paths)


def is_c(path):
    return path.endswith(('.c', '.h'))


def is_code(path, text):
    return is_c(path) or path.endswith(('.py', '.sh', '.S', 'meson.build', 'meson_options.txt')) \
        or text.startswith('#!')


def stem(path):
    return os.path.splitext(os.path.basename(path))[0]


def layer(path):
    """'virtio' of src/virtio/vmmio.c; '' outside src."""
    parts = path.split('/')
    return parts[1] if parts[0] == 'src' and len(parts) > 2 else ''


def strip_comments(text):
    """Blanks comments, and what is inside strings, but keeps every line where it is."""
    def blank(m):
        s = m.group(0)
        if s[0] == '/':
            return re.sub(r'[^\n]', ' ', s)
        return s[0] + ' ' * (len(s) - 2) + s[-1]
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text,
                  flags=re.S)


def line_of(text, offset):
    return text.count('\n', 0, offset) + 1


def find_all(tree, pattern, paths):
    """(path, line number, match) of a pattern in code, comments and strings left out."""
    for path in paths:
        for m in pattern.finditer(tree.bare[path]):
            yield path, line_of(tree.bare[path], m.start()), m


def calls(names):
    """A call of one of these, not of a member of that name."""
    return re.compile(r'(?<![\w.>])(%s)\s*\(' % '|'.join(names))


def functions(bare):
    """(signature, first line, last line): the opening and the closing brace stand in column 0."""
    lines = bare.split('\n')
    start = None
    for i, line in enumerate(lines):
        if line == '{':
            start = i
        elif line.startswith('}') and start is not None:
            head = start
            while head > 0 and re.match(r'[^}#\s]|\s+\S', lines[head - 1]) \
                    and not lines[head - 1].rstrip().endswith(';'):
                head -= 1
            yield ' '.join(lines[head:start]), start + 1, i + 1
            start = None


# Checks: generators of "path:line: what". The docstring is the name of the check.

def spdx(tree):
    """SPDX line first"""
    for path, text in tree.text.items():
        if is_code(path, text) and 'SPDX-License-Identifier: Apache-2.0' not in \
                '\n'.join(text.split('\n', 2)[:2]):
            yield '%s:1: no SPDX line' % path


def characters(tree):
    """ASCII, no trailing blanks, a newline at the end"""
    for path, text in tree.text.items():
        code = is_code(path, text)
        if not code and not path.endswith('.md'):
            continue
        for n, line in enumerate(text.split('\n'), 1):
            if line != line.rstrip():
                yield '%s:%d: trailing blank' % (path, n)
            if code and not line.isascii():
                yield '%s:%d: not ASCII' % (path, n)
        if text and not text.endswith('\n'):
            yield '%s: no newline at the end' % path


def columns(tree):
    """lines of at most 100 columns in C, 110 in scripts"""
    for path, text in tree.text.items():
        if not is_code(path, text):
            continue
        for n, line in enumerate(text.split('\n'), 1):
            width = len(line.expandtabs(8))
            if width > (COLUMNS if path.endswith(('.c', '.h', '.S')) else COLUMNS_SCRIPT):
                yield '%s:%d: %d columns' % (path, n, width)


def indentation(tree):
    """tabs for indentation in C"""
    for path, text in tree.bare.items():
        for n, line in enumerate(text.split('\n'), 1):
            if re.match(r'\t* {8}\s*\S| +\S', line):
                # what a comment left behind starts where the comment did
                if re.match(r'\t*( {8}| +[^ *])', tree.text[path].split('\n')[n - 1]):
                    yield '%s:%d: indented with blanks' % (path, n)


def file_length(tree):
    """files of at most 900 lines"""
    for path, text in tree.text.items():
        n = text.count('\n')
        if is_code(path, text) and n > FAIL_LINES:
            yield '%s: %d lines' % (path, n)
        elif is_code(path, text) and n > WARN_LINES:
            print('# warning: %s has %d lines, aim at %d' % (path, n, WARN_LINES))


def function_length(tree):
    """functions of at most 70 lines"""
    for path, bare in tree.bare.items():
        for _, first, last in functions(bare):
            if last - first + 1 > FUNCTION_LINES:
                yield '%s:%d: a function of %d lines' % (path, first, last - first + 1)


def banned(tree):
    """no banned functions"""
    for path, n, m in find_all(tree, calls(BANNED), tree.src):
        yield '%s:%d: %s()' % (path, n, m.group(1))


def ends_process(tree):
    """exit only in a main and in the reports of a forbidden call and a fatal signal"""
    paths = [p for p in tree.src if not MAY_EXIT.match(p)]
    for path, n, m in find_all(tree, calls(EXIT), paths):
        yield '%s:%d: %s()' % (path, n, m.group(1))


def unique_stems(tree):
    """file stems unique under src"""
    seen = {}
    for path in tree.src:
        name = os.path.basename(path)
        folder = os.path.dirname(path)
        other = seen.setdefault(stem(path), folder)
        if other != folder and name != 'main.c':
            yield '%s: the stem is also in %s' % (path, other)


def listed(tree):
    """every source is in the meson.build beside it"""
    for path in tree.src:
        build = os.path.dirname(path) + '/meson.build'
        if path.endswith('.c') and "'%s'" % os.path.basename(path) not in tree.text.get(build, ''):
            yield '%s: not in %s' % (path, build)


def allowed_prefixes(path, headers):
    """The stem, what stands before its hyphens, and, without a header of its own, its folder's."""
    own = stem(path)
    if own in PREFIXES:
        return PREFIXES[own]
    names = [own[:i] for i, c in enumerate(own) if c == '-'] + [own]
    if own not in headers:
        names += headers
    return [n.replace('-', '_') + '_' for n in names]


ATTRIBUTE = re.compile(r'\b(__attribute__|PRINTF_LIKE)\s*\((\([^)]*\)|[^()])*\)')


def names(tree):
    """external functions carry the stem of their file"""
    for path in tree.src:
        if not path.endswith('.c'):
            continue
        folder = os.path.dirname(path)
        headers = [stem(p) for p in tree.src if p.endswith('.h') and os.path.dirname(p) == folder]
        prefixes = tuple(allowed_prefixes(path, headers))
        if layer(path) == 'helper':  # a program in each file
            prefixes += ('main',)
        for signature, first, _ in functions(tree.bare[path]):
            if re.match(r'\s*static\b', signature):
                continue
            m = re.search(r'(\w+)\s*\(', ATTRIBUTE.sub('', signature))
            if m and not m.group(1).startswith(prefixes):
                yield '%s:%d: %s(), want a name in %s' % (path, first, m.group(1),
                                                          ' '.join(p + '*' for p in prefixes))


def ioctl(tree):
    """KVM's ioctls only in kvm.c"""
    paths = [p for p in tree.src if p != 'src/kvm/kvm.c']
    for path, n, _ in find_all(tree, re.compile(r'\bioctl\s*\([^;]*\bKVM_'), paths):
        yield '%s:%d: an ioctl on KVM' % (path, n)


def host_pointers(tree):
    """host addresses of guest memory only in gmem.c"""
    paths = [p for p in tree.src if '"gmem.h"' in tree.text[p] and stem(p) != 'gmem']
    for path, n, _ in find_all(tree, re.compile(r'(\.|->)host\b'), paths):
        yield '%s:%d: a host address' % (path, n)


def read_layers(tree):
    """{layer: what it may see} from the table in src/README.md."""
    layers = {}
    row = re.compile(r'^\| `([\w-]+)` \|[^|]*\| ([^|]*) \|$', re.M)
    for name, sees in row.findall(tree.text['src/README.md']):
        layers[name] = list(layers) if sees == 'all above' else sees.replace('-', '').split()
    return layers


def includes(tree):
    """includes only of the layers below"""
    layers = read_layers(tree)
    home = {os.path.basename(p): layer(p) for p in tree.src if p.endswith('.h')}
    for path in tree.src:
        own = layer(path)
        if own not in layers:
            yield '%s: the layer %s is not in src/README.md' % (path, own)
            continue
        for m in re.finditer(r'^#include "([^"]+)"', tree.text[path], re.M):
            to = home.get(m.group(1))
            if to and to != own and to not in layers[own]:
                yield '%s:%d: %s is in %s, which %s may not see' % (
                    path, line_of(tree.text[path], m.start()), m.group(1), to, own)


def headers_alone(tree):
    """each header compiles alone with its layer's include path"""
    layers = read_layers(tree)

    def compile_one(path):
        path_args = ['-Isrc/' + name for name in [layer(path)] + layers.get(layer(path), [])]
        p = subprocess.run(['gcc', '-std=gnu17', '-D_GNU_SOURCE', '-Wall', '-Wextra', '-Werror',
                            '-fsyntax-only', *path_args, '-x', 'c', path],
                           cwd=tree.root, capture_output=True, text=True)
        if p.returncode:
            return next((l for l in p.stderr.split('\n') if 'error' in l), path + ': gcc failed')
        return None

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from filter(None, pool.map(compile_one, [p for p in tree.src if p.endswith('.h')]))


# Parts of a unit that only its whole can test.
TESTED_BY = {'aml': 'acpi', 'bzimage': 'kernel', 'imgfile': 'kernel', 'initrd': 'kernel',
             'virtio': 'vmmio', 'vmlinux': 'kernel'}


def tested(tree):
    """what a guest can reach has a unit test"""
    tests = {stem(p)[len('test-'):] for p in tree.text if p.startswith('tests/unit/test-')}
    for path in tree.src:
        own = stem(path)
        parts = [own, TESTED_BY.get(own)] + [own[:i] for i, c in enumerate(own) if c == '-']
        if path.endswith('.c') and layer(path) in GUEST_FACING and not tests.intersection(parts):
            yield '%s: no tests/unit/test-%s.c' % (path, own)


CHECKS = (spdx, characters, columns, indentation, file_length, function_length, banned,
          ends_process, unique_stems, listed, names, ioctl, host_pointers, includes, headers_alone,
          tested)


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), '..')
    tree = Tree(root)
    failed = 0
    for check in CHECKS:
        found = list(check(tree))
        failed += bool(found)
        if found:
            print('not ok - %s: %d' % (check.__doc__, len(found)))
            print('\n'.join('#   ' + f for f in found))
        else:
            print('ok - ' + check.__doc__)
    sys.exit(failed != 0)


if __name__ == '__main__':
    main()
