# SPDX-License-Identifier: Apache-2.0
"""Unit tests that need /dev/vhost-net, which software KVM's host has not: here they may not skip."""
import os
import re
import subprocess

import vt
from vmm import BUILD


def _unit(name):
    subprocess.run(["modprobe", "-a", "tun", "vhost_net"], check=False)
    if not os.path.exists("/dev/vhost-net"):
        raise vt.Skip("no /dev/vhost-net: load the module vhost_net")
    r = subprocess.run([os.path.join(BUILD, "tests", "unit", "test-" + name)], check=False,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    vt.same(r.returncode, 0, r.stdout)
    vt.check("SKIPPED" not in r.stdout and re.search(r"OK \]", r.stdout), r.stdout)


for NAME in ("vhost-net", "net-path"):
    vt.test(f"unit tests of {NAME} with the kernel's own", timeout=120)(
        lambda name=NAME: _unit(name))
