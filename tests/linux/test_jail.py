# SPDX-License-Identifier: Apache-2.0
"""What jails need of a host that not every machine has: cgroup version 2 with cpuset."""
import os

import labfault
import vt
from jail import Cgroup, groups_of, jailed, test, v2, value


@test("cgroup version 2: cpuset is switched on for a host whose processes have more rights than the jailer")
def _():
    if not v2() or "cpuset" not in value(v2(), "cgroup.controllers").split():
        raise vt.Skip("no cgroup version 2 with cpuset here")
    if not labfault.emulated():
        raise vt.Skip("it switches cpuset off for the whole host, which only the lab is for")
    with Cgroup(v2()) as parent:
        with open(os.path.join(v2(), "cgroup.subtree_control"), "w", encoding="ascii") as f:
            f.write("-cpuset")
        pid = jailed("a", "--cgroup-version", "2", "--parent-cgroup", parent, "--cgroup", "cpuset.cpus=0")
        vt.same(groups_of(pid)[""], f"/{parent}/a", "its cgroup")
        vt.same(value(v2(), parent, "a", "cpuset.cpus.effective"), "0", "its processors")
