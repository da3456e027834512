# SPDX-License-Identifier: Apache-2.0
"""What the monitor itself refuses, with the texts that Firecracker's clients know: one row each, the
calls before it included. JSON faults are in test_api.py."""
import os
import re
import socket

import api
import netns
import persona
import vt
from vmm import disk, payload

NO_FILE = "No such file or directory (os error 2)"
VCPUS = ("Machine config error: The number of vCPUs must be greater than 0, less than 32 and must be 1 or an "
         "even number if SMT is enabled.")
MEMORY = ("Machine config error: The memory size (MiB) is either 0, or not a multiple of the configured "
          "page size.")
METRICS = ("Metrics error: Cannot initialize the metrics system due to bad user input: Reinitialization of "
           "metrics not allowed.")
BLOCK = "Drive config error: Unable to create the virtio block device: "
PATCHED = "Drive config error: Unable to patch the block device: "
VERIFY = " Please verify the request arguments."
HINTING = "Balloon update error: Balloon: Attempting to use hinting when not enabled"
TAP = ("Network config error: Could not create the network device: Open tap device failed: {} Invalid "
       "TUN/TAP Backend provided by {}. Check our documentation on setting up the network devices.")


MMDS = "MMMDS config error: "
HOTPLUG = (
    ("Block size must not be lower than 2 MiB", {"total_size_mib": 1024, "block_size_mib": 1}),
    ("Block size must be a power of 2", {"total_size_mib": 1024, "block_size_mib": 3}),
    ("Slot size must not be lower than 128 MiB", {"total_size_mib": 1024, "slot_size_mib": 64}),
    ("Slot size must be a multiple of block size (256 MiB)", {"total_size_mib": 1024, "block_size_mib": 256}),
    ("Total size must not be lower than slot size (128 MiB)", {"total_size_mib": 64}),
    ("Total size must be a multiple of slot size (128 MiB)", {"total_size_mib": 200}))


def drive(name, root=False, **more):
    return "PUT", f"/drives/{name}", {"drive_id": name, "is_root_device": root, **more}


def net(name, tap, **more):
    return "PUT", f"/network-interfaces/{name}", {"iface_id": name, "host_dev_name": tap, **more}


def put(path, **body):
    return "PUT", path, body


def patch(path, **body):
    return "PATCH", path, body


# (title, calls that are done, call that is refused, its text). $DIR is the test's folder.
BEFORE = (
    ("no vCPUs", [], put("/machine-config", vcpu_count=0, mem_size_mib=64), VCPUS),
    ("33 vCPUs", [], put("/machine-config", vcpu_count=33, mem_size_mib=64), VCPUS),
    ("3 vCPUs with SMT", [], put("/machine-config", vcpu_count=3, mem_size_mib=64, smt=True), VCPUS),
    ("SMT with 3 vCPUs", [put("/machine-config", vcpu_count=3, mem_size_mib=64)],
     patch("/machine-config", smt=True), VCPUS),
    ("no memory", [], put("/machine-config", vcpu_count=1, mem_size_mib=0), MEMORY),
    ("odd memory of huge pages", [], put("/machine-config", vcpu_count=1, mem_size_mib=65, huge_pages="2M"),
     MEMORY),
    ("less memory than the balloon's", [put("/machine-config", vcpu_count=1, mem_size_mib=128),
                                        put("/balloon", amount_mib=100, deflate_on_oom=True)],
     patch("/machine-config", mem_size_mib=99),
     "Machine config error: The memory size (MiB) is smaller than the previously set "
     "balloon device target size."),
    ("empty PATCH", [], patch("/machine-config"), "Empty PATCH request."),
    ("no kernel", [], put("/boot-source", kernel_image_path="/none"),
     f"Boot source error: The kernel file cannot be opened: {NO_FILE}"),
    ("no initrd", [], put("/boot-source", kernel_image_path="$DIR/disk", initrd_path="/none"),
     "Boot source error: The initrd file cannot be opened due to invalid path or invalid "
     "permissions. " + NO_FILE),
    ("command line with a newline", [], put("/boot-source", kernel_image_path="$DIR/disk", boot_args="a\nb"),
     "Boot source error: The kernel command line is invalid: String contains a "
     "non-printable ASCII character."),
    ("drive without a file", [], drive("d"), BLOCK + "Invalid block config."),
    ("drive with file and socket", [], drive("d", path_on_host="$DIR/disk", socket="$DIR/s"),
     BLOCK + "Invalid block config."),
    ("drive whose file is missing", [], drive("d", path_on_host="/none"),
     BLOCK + f"Virtio backend error: Error manipulating the backing file: {NO_FILE} /none"),
    ("second root drive", [drive("a", True, path_on_host="$DIR/disk")],
     drive("b", True, path_on_host="$DIR/disk2"), "Drive config error: A root block device already exists!"),
    ("drive with another id", [], ("PUT", "/drives/a", {"drive_id": "b", "is_root_device": False,
                                                         "path_on_host": "$DIR/disk"}),
     "The id from the path does not match the id from the body!"),
    ("interface with another id", [],
     ("PUT", "/network-interfaces/a", {"iface_id": "b", "host_dev_name": "t"}),
     "The id from the path [a] does not match the id from the body [b]!"),
    ("MTU too small", [], net("a", "vt0", mtu=67),
     "Network config error: MTU 67 is out of range [68, 65535]"),
    ("MAC address in use", [net("a", "vt0", guest_mac="06:00:00:00:00:01")],
     net("b", "vt1", guest_mac="06:00:00:00:00:01"),
     "Network config error: The MAC address is already in use: 06:00:00:00:00:01"),
    ("tap in use", [], net("a", "busy"),
     TAP.format("Error while creating ifreq structure: Resource busy (os error 16).", "busy")),
    ("socket of vsock is taken", [], put("/vsock", guest_cid=3, uds_path="$DIR/taken"),
     "Vsock config error: Cannot create backend for vsock device: Error binding to the host-side Unix "
     "socket: Address in use (os error 98)"),
    ("balloon larger than memory", [], put("/balloon", amount_mib=129, deflate_on_oom=True),
     "Balloon config error: Amount of pages requested is too large."),
    ("no balloon", [], ("GET", "/balloon", None), "Balloon config error: No balloon device found."),
    ("log that cannot be opened", [], put("/logger", log_path="/none/log"),
     f"Logger error: Failed to open target file: {NO_FILE}"),
    ("metrics twice", [put("/metrics", metrics_path="$DIR/metrics")],
     put("/metrics", metrics_path="$DIR/other"), METRICS),
    ("metrics that cannot be opened", [], put("/metrics", metrics_path="/none/metrics"),
     f"Metrics error: Cannot initialize the metrics system due to bad user input: {NO_FILE}"),
    ("no interface for metadata", [], put("/mmds/config", network_interfaces=[]),
     MMDS + "The list of network interface IDs that allow forwarding MMDS requests is empty."),
    ("unknown interface for metadata", [], put("/mmds/config", network_interfaces=["x"]),
     MMDS + "The list of network interface IDs provided contains at least one ID that does not correspond to "
     "any existing network interface."),
    ("metadata at an address that is not local", [net("n", "vt0")],
     put("/mmds/config", network_interfaces=["n"], ipv4_address="10.0.0.1"),
     MMDS + "The MMDS IPv4 address is not link local."),
    ("PATCH of no metadata", [], patch("/mmds", a=1), "MMDS error: The MMDS data store is not initialized."),
    ("root on pmem beside a root drive", [drive("d", True, path_on_host="$DIR/disk")],
     put("/pmem/p", id="p", path_on_host="$DIR/disk2", root_device=True),
     "Pmem config error: Attempt to add pmem as a root device while the root device defined "
     "as a block device"),
    ("second root on pmem", [put("/pmem/p", id="p", path_on_host="$DIR/disk", root_device=True)],
     put("/pmem/q", id="q", path_on_host="$DIR/disk2", root_device=True),
     "Pmem config error: A root pmem device already exist"),
    ("root drive beside a root on pmem", [put("/pmem/p", id="p", path_on_host="$DIR/disk", root_device=True)],
     drive("d", True, path_on_host="$DIR/disk2"),
     "Drive config error: Attempt to add block as a root device while the root device defined "
     "as a pmem device"),
    *(("hotplug: " + text, [], put("/hotplug/memory", **body), "Memory hotplug config error: " + text)
      for text, body in HOTPLUG),
    ("start without a kernel", [], put("/actions", action_type="InstanceStart"),
     "Start microvm error: Cannot start microvm without kernel configuration."),
    ("metrics are flushed too early", [], put("/actions", action_type="FlushMetrics"),
     "The requested operation is not supported before starting the microVM."),
)

# The same, of one running guest with a drive "d" and nothing else.
AFTER = (
    ("drive that is not there", patch("/drives/x", drive_id="x", path_on_host="$DIR/disk2"),
     PATCHED + "Failed perform action on device: Device not found" + VERIFY),
    ("nothing to change", patch("/drives/d", drive_id="d"),
     PATCHED + "Block: Running method expected different backend." + VERIFY),
    ("file that is missing", patch("/drives/d", drive_id="d", path_on_host="/none"),
     PATCHED + f"Block: Virtio backend error: Error manipulating the backing file: {NO_FILE} /none" + VERIFY),
    ("interface that is not there", patch("/network-interfaces/x", iface_id="x"),
     "Network config error: Failed perform action on device: Device not found"),
    ("DELETE of a drive", ("DELETE", "/drives/d", None), "PCI is not enabled"),
    ("DELETE of an interface", ("DELETE", "/network-interfaces/x", None), "PCI is not enabled"),
    ("no balloon", ("GET", "/balloon", None),
     "Internal VMM error: Failed perform action on device: Device not found"),
    ("target of no balloon", patch("/balloon", amount_mib=1),
     "Balloon update error: Failed perform action on device: Device not found"),
    ("second start", put("/actions", action_type="InstanceStart"),
     "The requested operation is not supported after starting the microVM."),
    ("machine-config", patch("/machine-config", vcpu_count=1),
     "The requested operation is not supported after starting the microVM."),
)


def fill(value):
    if isinstance(value, dict):
        return {k: fill(v) for k, v in value.items()}
    return value.replace("$DIR", vt.tmp()) if isinstance(value, str) else value


class Target:
    """A firecracker with an API, in a network namespace with a tap that another holds."""

    def __init__(self):
        for name in "disk", "disk2":
            disk(name, 64)
        self.taken = socket.socket(socket.AF_UNIX)
        self.taken.bind(os.path.join(vt.tmp(), "taken"))
        self.taken.listen()
        self.ns = netns.Namespace()
        self.tap = self.ns.tap("busy")
        sock = os.path.join(vt.tmp(), "api")
        self.fc = persona.Firecracker("--api-sock", sock, netns=self.ns)
        self.client = api.Client(sock)

    def ask(self, method, path, body):
        status, _, value = self.client.request(method, path, fill(body))
        return status, value

    def done(self, *call):
        status, value = self.ask(*call)
        vt.same((status, value), (204, None), f"{call}")

    def refused(self, call, text):
        # Twice: what was refused has left nothing behind.
        for _ in range(2):
            vt.same(self.ask(*call), (400, {"fault_message": text}), f"{call}")
        vt.same(self.ask("GET", "/vm/config", None)[0], 200, "GET /vm/config behind it")

    def end(self):
        self.client.close()
        self.fc.terminate()
        self.fc.proc.wait(5 * vt.FACTOR)


for TITLE, CALLS, CALL, TEXT in BEFORE:
    @vt.test(f"before the start: {TITLE}")
    def _(calls=CALLS, call=CALL, text=TEXT):
        t = Target()
        for c in calls:
            t.done(*c)
        t.refused(call, fill(text))
        t.end()


@vt.test("after the start: all of one guest")
def _():
    t = Target()
    t.done(*put("/boot-source", kernel_image_path=payload("end"), boot_args="root=none end=3"))
    t.done(*drive("d", path_on_host="$DIR/disk"))
    t.done(*put("/actions", action_type="InstanceStart"))
    t.fc.wait_for("ready")
    for title, call, text in AFTER:
        t.refused(call, text)
        vt.check(t.fc.proc.poll() is None, f"ended by: {title}")
    t.done(*put("/actions", action_type="SendCtrlAltDel"))
    t.fc.wait(0)


@vt.test("a start that failed leaves the process alive; what a second one cannot do is told")
def _():
    t = Target()
    start = put("/actions", action_type="InstanceStart")
    t.done(*put("/boot-source", kernel_image_path="$DIR/disk"))
    status, value = t.ask(*start)
    vt.check(status == 400 and re.match("Start microvm error: .*neither an ELF vmlinux nor a bzImage",
                                        value["fault_message"]), f"{status} {value}")
    vt.same(t.ask("GET", "/", None)[1]["state"], "Not started")
    t.done(*put("/boot-source", kernel_image_path=payload("end"), boot_args="root=none end=3"))
    t.refused(start, "Start microvm error: an earlier start failed when this process was confined already, "
              "which cannot be undone: start another one")
    t.end()


@vt.test("a replaced drive, interface and vsock are not in their own way")
def _():
    t = Target()
    for _ in range(3):
        t.done(*drive("d", True, path_on_host="$DIR/disk"))
        t.done(*net("n", "vt0", guest_mac="06:00:00:00:00:01"))
        t.done(*put("/vsock", guest_cid=3, uds_path="$DIR/v.sock"))
    vt.check(os.path.exists(fill("$DIR/v.sock")), "the vsock's socket went with the first one's")
    config = t.ask("GET", "/vm/config", None)[1]
    vt.same((len(config["drives"]), len(config["network-interfaces"])), (1, 1))
    t.end()


@vt.test("deprecated uses have the header Deprecation, with a fault too")
def _():
    t = Target()
    size = {"vcpu_count": 1, "mem_size_mib": 64}
    for method, path, body, status, wanted in (
            (*put("/machine-config", **size, cpu_template="None"), 204, True),
            (*put("/machine-config", **size), 204, False),
            (*put("/machine-config", vcpu_count=0, mem_size_mib=64, cpu_template="T2"), 400, True),
            ("PUT", "/vsock", {"guest_cid": 3, "uds_path": "$DIR/v", "vsock_id": "x"}, 204, True),
            ("PUT", "/vsock", {"guest_cid": 3, "uds_path": "$DIR/taken", "vsock_id": "x"}, 400, True)):
        answer = t.client.request(method, path, fill(body))
        vt.same((answer.status, answer.headers.get("deprecation")), (status, "true" if wanted else None),
                f"{method} {path} {body}")
    t.end()
