#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Each check of tools/check-tree.py finds its sin in a small tree, and nothing in a clean one.

Usage: test-check-tree.py CHECK_TREE
"""
import importlib.util
import os
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
spec = importlib.util.spec_from_file_location('check_tree', os.path.abspath(sys.argv[1]))
check_tree = importlib.util.module_from_spec(spec)
spec.loader.exec_module(check_tree)

C = '/* SPDX-License-Identifier: Apache-2.0 */\n'
CLEAN = {
    'src/README.md': '| layer | subject | sees |\n|---|---|---|\n| `base` | x | - |\n'
                     '| `bus` | x | base |\n| `vm` | x | all above |\n',
    'src/base/meson.build': "# SPDX-License-Identifier: Apache-2.0\nx = ['num.c']\n",
    'src/base/num.h': C + 'int num_add(int a, int b);\n',
    'src/base/num.c': C + '#include "num.h"\n\nint num_add(int a, int b)\n{\n\treturn a + b;\n}\n',
    'src/bus/meson.build': "# SPDX-License-Identifier: Apache-2.0\nx = ['bus.c', 'bus-add.c']\n",
    'src/bus/bus.h': C + 'struct bus;\nint bus_add(struct bus *b);\n',
    'src/bus/bus.c': C + '#include "bus.h"\n#include "num.h"\n/* sprintf(), exit() */\n'
                         'static const char *s = "strcpy(x)";\n\nstatic int any(void)\n{\n'
                         '\treturn !s;\n}\n',
    'src/bus/bus-add.c': C + '#include "bus.h"\n\nint bus_add(struct bus *b)\n{\n\treturn !b;\n}\n',
    'src/vm/meson.build': "# SPDX-License-Identifier: Apache-2.0\nx = ['main.c']\n",
    'src/vm/main.c': C + 'int main(void)\n{\n\texit(1);\n}\n',
    'tests/unit/test-bus.c': C,
    'build/x.c': 'not ours  \n',
    'docs/a.md': 'd\u00e9j\u00e0 vu\n',
}


class Checks(unittest.TestCase):
    def findings(self, **changes):
        """{check: findings} over the clean tree with some files replaced."""
        files = CLEAN | changes
        with tempfile.TemporaryDirectory() as root:
            for path, text in files.items():
                os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
                with open(os.path.join(root, path), 'w', encoding='utf-8') as f:
                    f.write(text)
            tree = check_tree.Tree(root)
            return {c.__name__: found for c in check_tree.CHECKS if (found := list(c(tree)))}

    def test_clean(self):
        self.assertEqual(self.findings(), {})

    def test_each_sin(self):
        num = CLEAN['src/base/num.c']
        long = C + 'static int f(void)\n{\n' + '\tg();\n' * 69 + '}\n'
        for check, path, text in (
                ('spdx', 'src/base/num.h', 'int num_add(int a, int b);\n'),
                ('spdx', 'tools/x', '#!/bin/sh\n'),
                ('characters', 'src/base/num.h', C + '/* \u00e9 */\n'),
                ('characters', 'docs/a.md', 'x \n'),
                ('characters', 'src/base/num.h', C + 'extern int num;'),
                ('columns', 'src/base/num.c', num + '/*\t' + 'x' * 91 + ' */\n'),
                ('indentation', 'src/base/num.c', num.replace('\t', '        ')),
                ('indentation', 'src/base/num.c', num.replace('\t', '    ')),
                ('file_length', 'src/base/num.c', num + '\n' * 900),
                ('function_length', 'tests/lib/x.c', long),
                ('banned', 'src/base/num.c', num.replace('a + b', 'atoi (a)')),
                ('banned', 'src/base/num.c', num.replace('a + b', '!strcpy(a, b)')),
                ('ends_process', 'src/base/num.c', num.replace('a + b', '(_exit(1), 0)')),
                ('unique_stems', 'src/bus/num.h', C),
                ('listed', 'src/base/num-x.c', C),
                ('names', 'src/base/num.c', num.replace('num_add', 'add')),
                ('names', 'src/base/num.c', num.replace('int num_add(', 'int\n\tadd(')),
                ('ioctl', 'src/bus/bus.c', C + 'int x = ioctl(fd,\n\tKVM_RUN, 0);\n'),
                ('host_pointers', 'src/bus/bus.c', C + '#include "gmem.h"\nint x = r->host;\n'),
                ('includes', 'src/base/num.c', '#include "bus.h"\n' + num),
                ('headers_alone', 'src/base/num.h', C + 'size_t num_len;\n'),
                ('headers_alone', 'src/base/num.h', C + '#include "bus.h"\n'),
                ('tested', 'src/bus/new.c', C)):
            with self.subTest(check=check, text=text[-60:]):
                self.assertIn(check, self.findings(**{path: text}))

    def test_longest_function_passes(self):
        text = C + 'static int f(void)\n{\n' + '\tg();\n' * 68 + '}\n'
        self.assertEqual(self.findings(**{'tests/lib/x.c': text}), {})


if __name__ == '__main__':
    result = unittest.main(argv=sys.argv[:1], exit=False).result
    failed = len(result.failures) + len(result.errors)
    print('[  PASSED  ] %d test(s).' % (result.testsRun - failed))  # cmocka's form, for tests/run
    if failed:
        print('[  FAILED  ] %d test(s)' % failed)
    sys.exit(failed != 0)
