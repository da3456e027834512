# SPDX-License-Identifier: Apache-2.0
"""volt-vmm under the name firecracker, as Firecracker's clients start it."""
import os

import vmm
import vt


def binary():
    """The path of a link with that name, in the test's folder."""
    path = os.path.join(vt.tmp(), "firecracker")
    if not os.path.islink(path):
        os.symlink(vmm.BINARY, path)
    return path


class Firecracker(vmm.Vmm):
    """Its log, and the guest's console, are on standard output: out()."""

    def __init__(self, *args, **kw):
        super().__init__(*args, binary=binary(), **kw)
