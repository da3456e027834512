# SPDX-License-Identifier: Apache-2.0
"""Who takes part: the command line of each monitor as a template, and how one is filled in.

Placeholders: {kernel} {initrd} {disk} {scratch} {script} {cmdline} {mem} {cpus} {io} {start_us}, and
in network tests {tap} {mac} {vhost} {vsock} {cid}; {api}, the path of an API socket, is for apibench.py
alone, where nothing else has a value.
A part in [brackets] is left out of a run in which one of its placeholders has no value: boots have
no {scratch} and no {script}, and {initrd} has a value only with a kernel that needs one.
"""
import re
import shlex
import string

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}$")
PLACEHOLDERS = ("kernel", "initrd", "disk", "scratch", "script", "cmdline", "mem", "cpus", "io",
                "start_us", "tap", "mac", "vhost", "vsock", "cid", "api")

VOLT = ("{volt} --id bench --level warn --timeline --start-time-us {start_us} --kernel {kernel} "
        "[--initrd {initrd}] --cpus {cpus} --mem {mem} --disk {disk},root,ro,io={io} "
        "[--disk {scratch},io={io}] [--disk {script},ro] "
        "[--net tap={tap},mac={mac},vhost={vhost}] [--vsock {vsock},cid={cid}] --cmdline {cmdline}")

# The smallest and fastest machine that QEMU has. Without ACPI the kernel is spared its interpreter
# and finds the devices by virtio_mmio.device=; a stock kernel needs ACPI to find them.
QEMU = ("qemu-system-x86_64 -M microvm,acpi={acpi},pit=off,pic=off,rtc=off,auto-kernel-cmdline=on "
        "-enable-kvm -cpu host -nodefaults -no-user-config -nographic -serial stdio -no-reboot "
        "-global virtio-mmio.force-legacy=false -smp {cpus} -m {mem} -kernel {kernel} "
        "[-initrd {initrd}] -append {cmdline} "
        "-drive if=none,id=root,format=raw,readonly=on,aio={io},file={disk} "
        "-device virtio-blk-device,drive=root "
        "[-drive if=none,id=scratch,format=raw,aio={io},file={scratch} "
        "-device virtio-blk-device,drive=scratch] "
        "[-drive if=none,id=script,format=raw,readonly=on,file={script} "
        "-device virtio-blk-device,drive=script] "
        "[-netdev tap,id=net,ifname={tap},script=no,downscript=no,vhost={vhost} "
        "-device virtio-net-device,netdev=net,mac={mac}] [-device vhost-vsock-device,guest-cid={cid}]")


# With an API and nothing else: a client says the rest.
VOLT_API = "{volt} --api-sock {api}"


class TemplateError(ValueError):
    """The template of a contestant cannot be used."""


def builtin(volt, acpi):
    """Ourselves and QEMU. engines: ways to do disk I/O; the first is also used for boots."""
    quoted = shlex.quote(volt).replace("{", "{{").replace("}", "}}")
    return [
        {"name": "volt", "template": VOLT.replace("{volt}", quoted), "engines": ["sync", "uring"],
         "end": "term", "api": VOLT_API.replace("{volt}", quoted)},
        {"name": "qemu", "template": QEMU.replace("{acpi}", acpi),
         "engines": ["threads", "io_uring"], "end": "kill"},
    ]


def peer(text):
    """NAME=TEMPLATE from the command line."""
    name, sep, template = text.partition("=")
    if not sep or not NAME.match(name) or name in ("volt", "qemu"):
        raise TemplateError(f"'{text}' is not NAME=TEMPLATE with a name of its own")
    for _, field, _, _ in string.Formatter().parse(template):
        if field is not None and field not in PLACEHOLDERS:
            raise TemplateError(f"peer '{name}': there is no placeholder {{{field}}}")
    if not template.strip():
        raise TemplateError(f"peer '{name}': the template is empty")
    return {"name": name, "template": template, "engines": [""], "end": "kill",
            "api": template if "{api}" in template else None}


def command(contestant, values, kind="template"):
    """The argument vector. values: placeholder -> string; absent or empty means no value.
    kind: which of the contestant's templates, "template" or "api"."""
    def keep(match):
        fields = [f for _, f, _, _ in string.Formatter().parse(match[1]) if f]
        return match[1] if all(values.get(f) for f in fields) else ""

    filled = {name: values.get(name, "") for name in PLACEHOLDERS}
    kept = re.sub(r"\[([^\]]*)\]", keep, contestant[kind])
    return [word.format_map(filled) for word in shlex.split(kept)]
