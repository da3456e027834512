# SPDX-License-Identifier: Apache-2.0
"""Guest memory in huge pages, and with KVM's log of dirty pages."""
import json
import os
import re

import vt
from linux import Talker
from vmm import ERROR

MIB = 256
RESERVED = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"


def _guest(**machine):
    path = os.path.join(vt.tmp(), "vm.json")
    with open(path, "w", encoding="ascii") as f:
        json.dump({"machine-config": machine}, f)
    return Talker("tuned-pvh", "--config-file", path, mem=MIB)


def _mapping(g):
    """What /proc says of the mapping of the guest's memory, once Linux runs in it."""
    g.listens()
    with open(f"/proc/{g.pid}/smaps", encoding="ascii") as f:
        text = f.read()
    for part in re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", text, flags=re.M):
        size = re.search(r"^Size: *(\d+) kB", part, re.M)
        if size and int(size[1]) == MIB * 1024:
            return part
    raise AssertionError(f"no mapping of {MIB} MiB:\n{text}")


def _kib(part, field):
    return int(re.search(rf"^{field}: *(\d+) kB", part, re.M)[1])


@vt.test("with None the kernel is not asked for huge pages, with Transparent it is", timeout=120)
def _():
    g = _guest(huge_pages="None", track_dirty_pages=True)
    part = _mapping(g)
    g.end()
    vt.check(not re.search(r"VmFlags:.* hg", part), part)
    g = _guest(huge_pages="Transparent")
    part = _mapping(g)
    g.end()
    vt.check(re.search(r"VmFlags:.* hg", part), part)
    vt.check(_kib(part, "AnonHugePages") > 0, part)


@vt.test("with 2M the memory is in reserved pages, and a host without enough says so", timeout=120)
def _():
    with open(RESERVED, encoding="ascii") as f:
        before = int(f.read())
    if before or not os.access(RESERVED, os.W_OK):
        raise vt.Skip("the number of reserved huge pages is not ours to change")
    g = _guest(huge_pages="2M").wait(ERROR)
    g.expect(f"{MIB // 2} free ones are needed" in g.err(), "no word of the pages")
    try:
        with open(RESERVED, "w", encoding="ascii") as f:
            f.write(str(MIB // 2))
        with open(RESERVED, encoding="ascii") as f:
            if int(f.read()) < MIB // 2:
                raise vt.Skip("the host has no room for huge pages")
        g = _guest(huge_pages="2M")
        part = _mapping(g)
        g.end()
        vt.same(_kib(part, "KernelPageSize"), 2048, "page size")
    finally:
        with open(RESERVED, "w", encoding="ascii") as f:
            f.write("0")
