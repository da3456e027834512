# SPDX-License-Identifier: Apache-2.0
"""volt-vmm called as firecracker, with a guest: the configuration file, and how it ends."""
import json
import os
import signal

import api
import persona
import vt
from vmm import disk, payload

WRONG_STAGE = "The requested operation is not supported after starting the microVM."


def document(end, **sections):
    path = os.path.join(vt.tmp(), "vm.json")
    doc = {"drives": [], "boot-source": {"kernel_image_path": payload("end"),
                                         "boot_args": f"root=none end={end}"}, **sections}
    with open(path, "w", encoding="utf-8") as f:
        json.dump(doc, f, indent=4)
    return path


@vt.test("configuration file and API: the guest runs at once, the API has the stage behind the start")
def _():
    sock = os.path.join(vt.tmp(), "s")
    config = document(3, **{
        "drives": [{"drive_id": "rootfs", "is_root_device": False, "path_on_host": disk()}],
        "machine-config": {"vcpu_count": 2, "mem_size_mib": 64}, "vsock": None, "network-interfaces": [],
        "balloon": {"amount_mib": 0, "deflate_on_oom": True}, "unknown": {"is": "ignored"},
        "entropy": {}})
    fc = persona.Firecracker("--id", "from-file", "--api-sock", sock, "--config-file", config)
    fc.wait_for("ready")
    fc.expect("Successfully started microvm that was configured from one single json" in fc.out(),
              "that it started is not in the log")
    with api.Client(sock) as client:
        vt.same(client.get("/").value, {"id": "from-file", "state": "Running", "vmm_version": "1.17.0",
                                        "app_name": "Firecracker"})
        vt.same(client.get("/machine-config").value["vcpu_count"], 2)
        vt.same([d["drive_id"] for d in client.get("/vm/config").value["drives"]], ["rootfs"])
        vt.same(client.put("/boot-source", {"kernel_image_path": "/x"})[::2],
                (400, {"fault_message": WRONG_STAGE}))
        vt.same(client.patch("/vm", {"state": "Paused"}).status, 204)
        vt.same(client.get("/").value["state"], "Paused")
        vt.same(client.patch("/vm", {"state": "Resumed"}).status, 204)
        names = {name for name in fc.threads() if name.startswith("fc_vcpu")}
        vt.same(names, {"fc_vcpu 0", "fc_vcpu 1"}, "names of the vCPUs' threads")
        vt.same(client.put("/actions", {"action_type": "SendCtrlAltDel"}).status, 204)
    fc.wait(0)
    fc.expect("Firecracker exiting successfully. exit_code=0\n" in fc.out(), "no end in the log")
    vt.check(os.path.exists(sock), "the socket is gone")


@vt.test("--no-api: there is no socket; the log goes to a file")
def _():
    log = os.path.join(vt.tmp(), "log")
    fc = persona.Firecracker("--no-api", "--config-file", document(6), "--log-path", log)
    fc.wait(0)
    with open(log, encoding="utf-8") as f:
        lines = f.read()
    for wanted in ("Running Firecracker v1.17.0", "Successfully started microvm",
                   "Firecracker exiting successfully. exit_code=0"):
        vt.check(wanted in lines, f"{wanted!r} is not in {lines!r}")
        vt.check(wanted not in fc.out(), f"{wanted!r} is on standard output too")
    vt.check("API" not in lines, f"an API in {lines!r}")


@vt.test("SIGTERM and SIGINT are the end at once, and their default action")
def _():
    for number in signal.SIGTERM, signal.SIGINT:
        fc = persona.Firecracker("--no-api", "--config-file", document(4))
        fc.wait_for("ready")
        fc.proc.send_signal(number)
        fc.wait(-number, seconds=5)


for TITLE, END, STATUS in (("a panic is the reset behind it: 0", 1, 0),
                           ("a triple fault is an error: 1", 0, 1)):
    @vt.test(TITLE)
    def _(end=END, status=STATUS):
        fc = persona.Firecracker("--no-api", "--config-file", document(end))
        fc.wait(status)
        fc.expect(f"exit_code={status}\n" in fc.out(), "no end in the log")
