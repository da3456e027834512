# SPDX-License-Identifier: Apache-2.0
"""Another file behind a disk while Linux reads it: new size, new content, no error."""
import os
import time

import vt
from linux import Talker
from vmm import api_client

MIB = 1 << 20
# Reads of changing places, past the page cache: an error is kept.
READER = ("(while [ ! -e /tmp/stop ]; do echo 3 >/proc/sys/vm/drop_caches; "
          "dd if=/dev/vdc of=/dev/null bs=64k 2>/dev/null || echo bad >>/tmp/bad; "
          "echo x >>/tmp/n; done &) ; true")


def _file(name, mib, byte):
    path = os.path.join(vt.tmp(), name)
    with open(path, "wb") as f:
        f.write(byte * (mib * MIB))
    return path


def _swap(io):
    sock = os.path.join(vt.tmp(), "api")
    old, new = _file("old", 4, b"o"), _file("new", 6, b"n")
    g = Talker("tuned-pvh", "--api-sock", sock, disks=[f"{old},id=data,io={io}"]).listens()
    client = api_client(sock)
    vt.same(g.do("cat /sys/block/vdc/size").strip(), str(4 * MIB // 512), "sectors")
    g.do(READER)
    vt.until(lambda: g.do("cat /tmp/n 2>/dev/null | wc -l").strip() not in ("", "0"), "the reader begins")
    status, _, body = client.request("PATCH", "/drives/data",
                                     {"drive_id": "data", "path_on_host": new})
    g.expect(status == 204, f"PATCH /drives/data: {status} {body}")
    vt.until(lambda: g.do("cat /sys/block/vdc/size").strip() == str(6 * MIB // 512), "the new size", 30)
    got = g.do("echo 3 >/proc/sys/vm/drop_caches; dd if=/dev/vdc bs=1M skip=5 count=1 2>/dev/null | "
               "tr -d n | wc -c; dd if=/dev/vdc bs=1M count=1 2>/dev/null | tr -d n | wc -c").split()
    g.expect(got == ["0", "0"], f"bytes that are not the new file's: {got}")
    g.do("yes w | tr -d '\\n' | dd of=/dev/vdc bs=1M seek=5 count=1 iflag=fullblock conv=notrunc,fsync "
         "2>/dev/null")
    with open(new, "rb") as f:
        f.seek(5 * MIB)
        g.expect(f.read() == b"w" * MIB, "what was written is not in the new file")
    g.do("touch /tmp/stop")
    time.sleep(0.2)
    g.expect(not g.do("cat /tmp/bad 2>/dev/null", status=None), "a read failed")
    g.end()


for IO in ("sync", "uring"):
    vt.test(f"another file behind a disk with io={IO}", timeout=90)(lambda io=IO: _swap(io))
