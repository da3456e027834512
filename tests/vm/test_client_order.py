# SPDX-License-Identifier: Apache-2.0
"""The life of a VM as Firecracker's Go SDK leads it: its arguments, its order of calls with the fields
that it sends, its headers, and both of its ends. Our own client; the SDK itself is not needed."""
import os
import signal
import time
import uuid

import api
import netns
import persona
import vt
from vmm import disk, payload

HEADERS = (("User-Agent", "Go-http-client/1.1"), ("Accept", "application/json"), ("Accept-Encoding", "gzip"))
REQUEST_SECONDS = 0.5   # its limit of one request
LIMITER = {"bandwidth": {"size": 1048576, "one_time_burst": 0, "refill_time": 100}}


class Machine:
    def __init__(self):
        self.ns = netns.Namespace("tuntap add dev fc0 mode tap vnet_hdr", "link set fc0 up")
        self.dir = vt.tmp()
        self.id = str(uuid.uuid4())
        self.sock = os.path.join(self.dir, self.id + ".sock")
        self.fc = persona.Firecracker("--api-sock", self.sock, "--id", self.id, "--no-seccomp",
                                      netns=self.ns)
        vt.until(lambda: os.path.exists(self.sock), "the socket is there", 3)
        self.client = api.Client(self.sock)
        self.longest = 0

    def call(self, method, path, body=None, status=204):
        at = time.monotonic()
        raw = None if body is None else api.json.dumps(body).encode()
        answer = self.client.request(method, path, raw, HEADERS)
        self.longest = max(self.longest, time.monotonic() - at)
        vt.same(answer.status, status, f"{method} {path}: {answer.value}")
        vt.check((answer.value is None) == (status == 204), f"{method} {path}: {answer.value}")
        return answer.value

    def path(self, name):
        return os.path.join(self.dir, name)

    def start(self):
        machine = {"vcpu_count": 2, "mem_size_mib": 64, "smt": False, "track_dirty_pages": False}
        vt.same(self.call("GET", "/machine-config", status=200)["vcpu_count"], 1)
        self.call("PUT", "/logger", {"log_path": self.path("log"), "level": "Debug", "show_level": True,
                                     "show_log_origin": False})
        self.call("PUT", "/metrics", {"metrics_path": self.path("metrics")})
        self.call("PUT", "/machine-config", machine)
        got = self.call("GET", "/machine-config", status=200)
        vt.same({k: got[k] for k in machine}, machine, "machine-config")
        self.call("PUT", "/boot-source", {"kernel_image_path": payload("end"),
                                          "boot_args": "root=none end=3"})
        for name, root in ("1", False), ("2", False):
            self.call("PUT", f"/drives/{name}", {
                "drive_id": name, "is_root_device": root, "is_read_only": name == "2",
                "path_on_host": disk(f"disk{name}"), "cache_type": "Unsafe", "io_engine": "Sync",
                "rate_limiter": LIMITER})
        self.call("PUT", "/network-interfaces/1", {
            "iface_id": "1", "host_dev_name": "fc0", "guest_mac": "06:00:ac:10:00:02",
            "rx_rate_limiter": LIMITER, "tx_rate_limiter": LIMITER})
        self.call("PUT", "/vsock", {"guest_cid": 3, "uds_path": self.path("v.sock"), "vsock_id": "v"})
        self.metadata()
        self.call("PUT", "/balloon", {"amount_mib": 8, "deflate_on_oom": True, "stats_polling_interval_s": 1})
        self.call("PUT", "/actions", {"action_type": "InstanceStart"})
        self.fc.wait_for("ready")

    def metadata(self):
        """Where there is a metadata service."""
        if self.client.get("/mmds").status != 200:
            return
        self.call("PUT", "/mmds/config", {"version": "V2", "ipv4_address": "169.254.169.254",
                                          "network_interfaces": ["1"]})
        self.call("PUT", "/mmds", {"latest": {"meta-data": {"id": self.id}}})

    def look(self):
        vt.same(self.call("GET", "/", status=200),
                {"id": self.id, "state": "Running", "vmm_version": "1.17.0", "app_name": "Firecracker"})
        config = self.call("GET", "/vm/config", status=200)
        vt.same([d["drive_id"] for d in config["drives"]], ["1", "2"], "drives")
        vt.same(config["network-interfaces"][0]["host_dev_name"], "fc0", "interface")
        vt.same(config["vsock"], {"guest_cid": 3, "uds_path": self.path("v.sock")}, "vsock")
        vt.same(self.call("GET", "/balloon", status=200)["amount_mib"], 8, "balloon")
        for state in "Paused", "Resumed":
            self.call("PATCH", "/vm", {"state": state})
        self.call("PATCH", "/network-interfaces/1", {"iface_id": "1", "rx_rate_limiter": LIMITER})
        self.call("PATCH", "/drives/1", {"drive_id": "1", "path_on_host": disk("disk3")})


@vt.test("start, look, pause, resume; end by Ctrl-Alt-Del")
def _():
    m = Machine()
    m.start()
    m.look()
    m.call("PUT", "/actions", {"action_type": "SendCtrlAltDel"})
    m.fc.wait(0)
    vt.check(m.longest < REQUEST_SECONDS * vt.FACTOR, f"a request took {m.longest:.3f} s")


@vt.test("end by SIGTERM")
def _():
    m = Machine()
    m.start()
    m.fc.terminate()
    m.fc.wait(-signal.SIGTERM)
    vt.check(os.path.exists(m.sock), "the socket, which the client removes, is gone")
