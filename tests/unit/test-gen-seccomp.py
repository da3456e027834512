#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The path from a syscalls comment to a filter: tools/gen-seccomp.py and tools/seccomp-compile.c.

Usage: test-gen-seccomp.py GEN COMPILE
"""
import importlib.util
import os
import subprocess
import sys
import tempfile
import unittest

GEN, COMPILE = (os.path.abspath(a) for a in sys.argv[1:3])
sys.dont_write_bytecode = True
spec = importlib.util.spec_from_file_location('gen_seccomp', GEN)
gen_seccomp = importlib.util.module_from_spec(spec)
spec.loader.exec_module(gen_seccomp)


class Collect(unittest.TestCase):
    def setUp(self):
        tmp = tempfile.TemporaryDirectory()
        self.addCleanup(tmp.cleanup)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(tmp.name)

    def gen(self, text, *args, ok=True):
        """Runs the collector on one source; returns the list, or its message if it must fail."""
        with open('a.c', 'w') as f:
            f.write(text)
        command = ['--output', 'list', '--depfile', 'dep', *args, '.']
        if not ok:
            with self.assertRaises(gen_seccomp.Fault) as cm:
                gen_seccomp.main(command)
            return str(cm.exception)
        gen_seccomp.main(command)
        with open('list') as f:
            return f.read()

    def compile(self, text, ok=True):
        self.gen(text)
        p = subprocess.run([COMPILE, 'list'], capture_output=True, text=True)
        self.assertEqual(p.returncode == 0, ok, p.stderr)
        return p.stdout if ok else p.stderr

    def test_rules_and_reasons(self):
        got = self.gen('x\n/* #syscalls loop vcpu: write */\n'
                       '\t/* #syscalls loop: ioctl=KVM_RUN read */\ny /* #syscalls loop: read */\n')
        loop = 'loop ioctl=KVM_RUN a.c:3\nloop read a.c:3 a.c:4\nloop write a.c:2\n'
        self.assertEqual(got, loop.replace('loop', 'api') + loop + 'vcpu write a.c:2\n')

    def test_api_is_the_loop_and_more(self):
        got = self.gen('/* #syscalls loop: read */\n/* #syscalls api: openat */\n')
        self.assertEqual(got, 'api openat a.c:2\napi read a.c:1\nloop read a.c:1\n')

    def test_comment_over_two_lines(self):
        self.assertEqual(self.gen('/* #syscalls vcpu: read\n * write */\n'),
                         'vcpu read a.c:1\nvcpu write a.c:1\n')

    def test_malformed(self):
        for bad in ('/* #syscalls: read */', '/* #syscalls loop read */', '/* #syscalls loop: */',
                    '/* #syscalls loop: read, write */', '/* #syscalls loop: ioctl= */',
                    '/* #syscalls loop: ioctl=kvm */', '// #syscalls loop: read',
                    '/* see #syscalls loop: read */', '/* #syscalls loop: read (why) */',
                    '/* x */ #syscalls loop: read', '/* #syscalls loop: read'):
            with self.subTest(bad):
                got = self.gen('\n' + bad + '\n', ok=False)
                self.assertIn('a.c:2: malformed comment', got)

    def test_command(self):
        with open('a.c', 'w') as f:
            f.write('/* #syscalls loop: */')
        p = subprocess.run([sys.executable, GEN, '--output', 'list', 'a.c'], capture_output=True,
                           text=True)
        self.assertEqual(p.returncode, 1)
        self.assertIn('gen-seccomp: error: a.c:1: malformed comment', p.stderr)
        self.assertFalse(os.path.exists('list'))

    def test_unknown_thread(self):
        self.assertIn("a.c:1: unknown thread 'main'",
                      self.gen('/* #syscalls loop main: read */', ok=False))

    def test_limit_of_vcpu(self):
        calls = ' '.join('call%d' % i for i in range(26))
        got = self.gen('/* #syscalls vcpu: %s */' % calls, ok=False)
        self.assertIn('26 rules, at most 25', got)
        self.gen('/* #syscalls vcpu: %s */' % calls.rsplit(' ', 1)[0])
        self.gen('/* #syscalls loop: %s */' % calls)

    def test_drop(self):
        text = '/* #syscalls loop vcpu: read ioctl=KVM_RUN ioctl=KVM_NMI */'
        self.assertNotIn('vcpu ioctl', self.gen(text, '--drop', 'vcpu:ioctl'))
        got = self.gen(text, '--drop', 'vcpu:ioctl=KVM_RUN', '--drop', 'loop:read')
        self.assertEqual(got.count('\n'), 6)
        self.assertIn('vcpu ioctl=KVM_NMI', got)
        self.assertIn('no such rule', self.gen(text, '--drop', 'vcpu:write', ok=False))

    def test_depfile(self):
        open('meson.build', 'w').close()
        self.gen('')
        with open('dep') as f:
            self.assertEqual(f.read(), 'list: ./a.c ./meson.build\n')

    def test_deterministic(self):
        text = '/* #syscalls vcpu loop: write read */\n/* #syscalls loop: ioctl=KVM_RUN */'
        self.assertEqual(self.compile(text), self.compile(text))

    def test_program(self):
        got = self.compile('/* #syscalls loop: read ioctl=KVM_RUN */')
        self.assertIn('\t"ioctl=KVM_RUN", /* a.c:1 */\n\t"read", /* a.c:1 */\n\tNULL,\n', got)
        self.assertIn('{ 0x06, 0, 0, 0x00030000 }', got)  # RET TRAP
        self.assertNotIn('{ 0x06, 0, 0, 0x00000000 }', got)  # never RET KILL_THREAD

    def test_compile_errors(self):
        for text, message in (
                ('\n/* #syscalls loop: reed */', "a.c:2: error: unknown system call 'reed'"),
                ('/* #syscalls loop: socketcall */', "unknown system call 'socketcall'"),
                ('/* #syscalls loop: ioctl=KVM_RAN */',
                 "a.c:1: error: 'ioctl=KVM_RAN': unknown constant"),
                ('/* #syscalls loop: ioctl=F_SETFL */', 'unknown constant'),
                ('/* #syscalls loop: read=KVM_RUN */', 'no argument to select by'),
                ('/* #syscalls loop: ioctl */', "'ioctl' must name the operation"),
                ('/* #syscalls loop: fcntl */', "'fcntl' must name the operation"),
                ('/* #syscalls loop: execve */', "'execve' is never allowed"),
                ('/* #syscalls loop: madvise madvise=MADV_FREE */',
                 "error: 'madvise' allows what a.c:1 restricts")):
            with self.subTest(text):
                self.assertIn(message, self.compile(text, ok=False))


if __name__ == '__main__':
    result = unittest.main(argv=sys.argv[:1], exit=False).result
    failed = len(result.failures) + len(result.errors)
    print('[  PASSED  ] %d test(s).' % (result.testsRun - failed))  # cmocka's form, for tests/run
    if failed:
        print('[  FAILED  ] %d test(s)' % failed)
    sys.exit(failed != 0)
