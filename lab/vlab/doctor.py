# SPDX-License-Identifier: Apache-2.0
"""Which rung of the ladder this machine reaches, found by trying: native KVM, the lab, or none."""
import glob
import json
import os
import subprocess
import sys
from types import SimpleNamespace

from . import LabError, cache, qemu

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def _cpu_flags():
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as f:
            for line in f:
                if line.startswith("flags"):
                    return set(line.split())
    except OSError:
        pass
    return set()


def _native_reasons(lines):
    """Why the native rung fails, and the next step."""
    flags = _cpu_flags()
    virt = sorted(flags & {"vmx", "svm"})
    modules = [os.path.basename(m) for m in glob.glob("/sys/module/kvm_*")]
    why = []
    if virt:
        why.append(f"the CPU has {virt[0]}")
    else:
        why.append("the CPU shows neither vmx nor svm")
    if modules:
        why.append("loaded: " + ", ".join(modules))
    software = [m for m in modules if m not in ("kvm_intel", "kvm_amd")]
    if software and not virt:
        why.append(f"{software[0]} is a KVM in software, which cannot run a Linux guest")
    first = lines[0] if lines else ""
    if "Permission denied" in first:
        step = "let this user open /dev/kvm: usermod -aG kvm USER, then log in again"
    elif virt and not modules:
        step = f"modprobe kvm_{'intel' if virt[0] == 'vmx' else 'amd'}"
    elif "No such file" in first and virt:
        step = "enable virtualization in the firmware, then load the kvm module"
    elif virt:
        step = "see the kernel log for messages of kvm"
    else:
        step = "use a machine with VT-x or AMD-V (or nested virtualization), or the lab below"
    return "; ".join(why), step


def native():
    """(works, lines of the probe)."""
    try:
        r = subprocess.run([cache.probe()], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, timeout=90, check=False)
    except LabError as e:
        return False, [str(e)]
    except (OSError, subprocess.TimeoutExpired) as e:
        return False, [f"the probe did not run: {e}"]
    lines = r.stdout.decode(errors="replace").splitlines()
    if r.returncode < 0:
        lines.append(f"the probe was killed by signal {-r.returncode}")
    return r.returncode == 0, lines


def _lab_key(which):
    """What the lab's answer depends on."""
    st = os.stat(which.argv[0])
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as f:
        boot = f.read().strip()
    return [boot, which.text, st.st_mtime_ns, st.st_size, cache.labd(), cache.probe()]


def _try_lab():
    argv = [sys.executable, os.path.join(HERE, "volt-lab"), "run", "--timeout", "180", "--",
            cache.probe()]
    r = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, check=False)
    return r.returncode == 0, r.stdout.decode(errors="replace").splitlines()


def lab(fresh):
    """(works, lines). Booting takes seconds, so the answer is remembered until something changes."""
    if os.environ.get("VOLT_IN_LAB"):
        return False, ["we are in the lab already: its /dev/kvm should work, see its kernel log"]
    path = os.path.join(cache.root(), "doctor.json")
    try:
        which = qemu.find()
        key = _lab_key(which)
        if not fresh:
            try:
                with open(path, encoding="utf-8") as f:
                    known = json.load(f)
                if known["key"] == key:
                    return known["ok"], known["lines"]
            except (OSError, ValueError, KeyError):
                pass
        ok, lines = _try_lab()
        lines.insert(0, which.text)
        cache.put(path, json.dumps({"key": key, "ok": ok, "lines": lines}).encode(), 0o644)
        return ok, lines
    except (LabError, OSError) as e:
        return False, str(e).splitlines()


def _print(title, ok, lines):
    print(f"{title}: {'works' if ok else 'does not work'}")
    for line in lines:
        print(f"    {line}")


def main(rung_only):
    ok, lines = native()
    if rung_only:
        if ok:
            print("native")
            return 0
        ok = lab(False)[0]
        print("lab" if ok else "none")
        return 0 if ok else 1
    place = " (inside the lab)" if os.environ.get("VOLT_IN_LAB") else ""
    _print(f"native: /dev/kvm of this machine{place}", ok, lines)
    if ok:
        print("rung: native")
        return 0
    why, step = _native_reasons(lines)
    print(f"    why: {why}\n    next step: {step}")
    ok, lines = lab(True)
    _print("lab: an emulated host with AMD-V", ok, lines)
    if not ok:
        print("    next step: install qemu-system-x86 (tools/deps lab); see the messages above")
    print(f"rung: {'lab' if ok else 'none'}")
    return 0 if ok else 1
