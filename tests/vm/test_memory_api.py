# SPDX-License-Identifier: Apache-2.0
"""pmem and memory-hotplug through the API: Firecracker's words, and what the VM then is."""
import os
import subprocess

import vt
from vmm import BINARY, Vmm, payload


class Api:
    """A volt-vmm that waits for requests; needs --api-sock."""

    def __init__(self):
        usage = subprocess.run([BINARY, "--help"], stdout=subprocess.PIPE, check=True).stdout
        if b"--api-sock" not in usage:
            raise vt.Skip("volt-vmm has no --api-sock")
        import api  # pylint: disable=import-outside-toplevel
        sock = os.path.join(vt.tmp(), "api.sock")
        self.vmm = Vmm("--api-sock", sock)
        vt.until(lambda: os.path.exists(sock), "the API socket is there")
        self.client = api.Client(sock)

    def ask(self, method, path, body=None):
        status, _, value = self.client.request(method, path, body)
        return status, value

    def good(self, method, path, body=None):
        vt.same(self.ask(method, path, body), (204, None), f"{method} {path} {body}")

    def bad(self, method, path, body, text):
        vt.same(self.ask(method, path, body), (400, {"fault_message": text}),
                f"{method} {path} {body}")

    def boot(self, name="end", words="end=3"):
        self.good("PUT", "/boot-source", {"kernel_image_path": payload(name),
                                          "boot_args": f"root=none {words}"})


def file(name, size):
    path = os.path.join(vt.tmp(), name)
    with open(path, "wb") as f:
        f.truncate(size)
    return path


SIZES = [
    ({"total_size_mib": 1024, "block_size_mib": 1}, "Block size must not be lower than 2 MiB"),
    ({"total_size_mib": 1024, "block_size_mib": 0}, "Block size must not be lower than 2 MiB"),
    ({"total_size_mib": 1024, "block_size_mib": 3}, "Block size must be a power of 2"),
    ({"total_size_mib": 1024, "slot_size_mib": 127}, "Slot size must not be lower than 128 MiB"),
    ({"total_size_mib": 1024, "block_size_mib": 4, "slot_size_mib": 130},
     "Slot size must be a multiple of block size (4 MiB)"),
    ({"total_size_mib": 127}, "Total size must not be lower than slot size (128 MiB)"),
    ({"total_size_mib": 0}, "Total size must not be lower than slot size (128 MiB)"),
    ({"total_size_mib": 200}, "Total size must be a multiple of slot size (128 MiB)"),
]


@vt.test("memory-hotplug: sizes are judged in Firecracker's words, and shown", timeout=60)
def _():
    a = Api()
    a.boot()
    for body, text in SIZES:
        a.bad("PUT", "/hotplug/memory", body, "Memory hotplug config error: " + text)
    a.good("PUT", "/hotplug/memory", {"total_size_mib": 2048, "slot_size_mib": 256})
    a.good("PUT", "/hotplug/memory", {"total_size_mib": 512})
    vt.same(a.ask("GET", "/vm/config")[1]["memory-hotplug"],
            {"total_size_mib": 512, "block_size_mib": 2, "slot_size_mib": 128}, "GET /vm/config")
    a.good("PUT", "/actions", {"action_type": "InstanceStart"})
    vt.same(a.ask("GET", "/hotplug/memory"),
            (200, {"block_size_mib": 2, "total_size_mib": 512, "slot_size_mib": 128,
                   "plugged_size_mib": 0, "requested_size_mib": 0}), "GET /hotplug/memory")
    update = "Memory hotplug update error: Failed to create memory hotplug device: "
    a.bad("PATCH", "/hotplug/memory", {"requested_size_mib": 4}, update + "Device is not active")


@vt.test("memory-hotplug: without the device its paths say so", timeout=60)
def _():
    a = Api()
    a.boot()
    a.good("PUT", "/actions", {"action_type": "InstanceStart"})
    missing = "Failed perform action on device: Device not found"
    a.bad("GET", "/hotplug/memory", None, "Internal VMM error: " + missing)
    a.bad("PATCH", "/hotplug/memory", {"requested_size_mib": 4},
          "Memory hotplug update error: " + missing)
    a.bad("PATCH", "/pmem/a", {"id": "a"}, "Pmem config error: " + missing)


@vt.test("pmem: one root, an empty file is refused at the start, a limit can be changed",
         timeout=60)
def _():
    a = Api()
    a.boot()
    empty, data = file("empty", 0), file("data", 4096)
    limiter = {"bandwidth": None, "ops": {"size": 2, "one_time_burst": None, "refill_time": 100}}
    a.good("PUT", "/pmem/a", {"id": "a", "path_on_host": empty, "root_device": True})
    a.bad("PUT", "/pmem/b", {"id": "b", "path_on_host": data, "root_device": True},
          "Pmem config error: A root pmem device already exist")
    a.good("PUT", "/pmem/a", {"id": "a", "path_on_host": empty})
    a.good("PUT", "/drives/d", {"drive_id": "d", "path_on_host": file("disk", 4096),
                                "is_root_device": True})
    a.bad("PUT", "/pmem/a", {"id": "a", "path_on_host": data, "root_device": True},
          "Pmem config error: Attempt to add pmem as a root device while the root device defined "
          "as a block device")
    a.bad("PUT", "/pmem/a", {"id": "b", "path_on_host": data},
          "The id from the path does not match the id from the body!")
    status, value = a.ask("PUT", "/actions", {"action_type": "InstanceStart"})
    vt.check(status == 400 and "Error backing file size is 0" in value["fault_message"], value)
    a.good("PUT", "/pmem/a", {"id": "a", "path_on_host": data, "read_only": True,
                              "rate_limiter": {"ops": {"size": 2, "refill_time": 100}}})
    vt.same(a.ask("GET", "/vm/config")[1]["pmem"],
            [{"id": "a", "path_on_host": data, "root_device": False, "read_only": True,
              "rate_limiter": limiter}], "GET /vm/config")
    a.good("PUT", "/actions", {"action_type": "InstanceStart"})
    a.good("PATCH", "/pmem/a", {"id": "a"})
    a.good("PATCH", "/pmem/a", {"id": "a", "rate_limiter": {
        "ops": {"size": 0, "refill_time": 0}, "bandwidth": {"size": 9, "refill_time": 1}}})
    vt.same(a.ask("GET", "/vm/config")[1]["pmem"][0]["rate_limiter"],
            {"bandwidth": {"size": 9, "one_time_burst": None, "refill_time": 1}, "ops": None},
            "the limit")
    a.bad("DELETE", "/pmem/a", None, "PCI is not enabled")
