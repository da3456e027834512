# SPDX-License-Identifier: Apache-2.0
"""Which QEMU is the machine of the lab.

Debian 12's QEMU 7.2 emulates AMD-V with faults that end guests and labs (README.md, Limits). Where no
newer one is installed, that of the distribution's backports is unpacked into the cache, once, and
never installed. Its libraries are those that tools/deps installs with the older one.
"""
import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from typing import NamedTuple

from . import LabError, cache

NAME = "qemu-system-x86_64"
GOOD = 9    # the first major version that is used as it is installed
PACKAGES = ("qemu-system-x86", "qemu-system-data", "seabios")
ASK_AGAIN = 86400    # seconds after a vain attempt; each costs time where no network is


class Qemu(NamedTuple):
    """argv: how it is started; text: "QEMU VERSION, where from"."""

    argv: tuple
    version: tuple
    text: str


def _version(argv):
    """((major, minor), its own words)."""
    try:
        r = subprocess.run([*argv, "--version"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
    except OSError as e:
        raise LabError(f"cannot run {argv[0]}: {e.strerror}") from e
    found = re.search(r"QEMU emulator version (\d+)\.(\d+)\.?\d*", r.stdout)
    if r.returncode != 0 or not found:
        said = (r.stdout.strip().splitlines() or ["nothing"])[0]
        raise LabError(f"{argv[0]} --version: status {r.returncode}, it says: {said}")
    return (int(found[1]), int(found[2])), found[0].rsplit(" ", 1)[1]


def _made(argv, origin):
    version, words = _version(argv)
    return Qemu(tuple(argv), version, f"QEMU {words}, {origin}")


# ---- the one in the cache ----

def _unpacked(path):
    """As it lies in the tree of the packages: its own firmware, and nothing of the installed one."""
    share = os.path.join(path, "usr", "share")
    return _made([os.path.join(path, "usr", "bin", NAME), "-L", os.path.join(share, "qemu"),
                  "-L", os.path.join(share, "seabios")], f"unpacked in {path}")


def _cached():
    pointer = os.path.join(cache.root(), "qemu")
    with contextlib.suppress(OSError):
        path = os.path.join(cache.root(), os.readlink(pointer))
        if os.path.isdir(path):
            return _unpacked(path)
    return None


def _sources():
    """[(URI, code name)] of apt's suites with a component "main"; none before its first update."""
    out = cache.run("asking apt for its sources",
                    ["apt-get", "indextargets", "--format", "$(COMPONENT) $(CODENAME) $(REPO_URI)",
                     "Created-By: Packages"])
    return re.findall(r"^main ([a-z]+) (\S+)$", out, re.M)


def _backports():
    """(name, deb822 source) of the distribution's backports."""
    if not _sources() and os.geteuid() == 0:
        cache.run("apt-get update", ["apt-get", "-q", "update"])
    found = _sources()
    if not found:
        raise LabError("apt has no source with a component 'main'")
    suite, uri = found[0]
    return f"{suite}-backports", (f"Types: deb\nURIs: {uri}\nSuites: {suite}-backports\n"
                                  "Components: main\n")


def _fetch(tmp):
    """Downloads and unpacks; returns the tree and its version. apt checks the signatures, with the
    keys and proxies of the machine, but with lists and a state of our own."""
    suite, text = _backports()
    source = os.path.join(tmp, "backports.sources")
    cache.put(source, text.encode(), 0o644)
    for d in ("state/lists/partial", "cache/archives/partial", "debs"):
        os.makedirs(os.path.join(tmp, d))
    apt = ["apt-get", "-q"]
    for option in (f"Dir::State={tmp}/state", "Dir::State::status=/var/lib/dpkg/status",
                   f"Dir::Cache={tmp}/cache", f"Dir::Etc::sourcelist={source}",
                   "Dir::Etc::sourceparts=/dev/null", "APT::Sandbox::User=root",
                   "Acquire::Languages=none", "APT::Update::Error-Mode=any"):
        apt += ["-o", option]
    cache.run(f"asking apt for {suite}", [*apt, "update"])
    debs = os.path.join(tmp, "debs")
    cache.run(f"downloading {PACKAGES[0]} of {suite}",
              [*apt, "download", *(f"{p}/{suite}" for p in PACKAGES)], cwd=debs)
    tree, version = os.path.join(tmp, "tree"), ""
    for deb in sorted(os.listdir(debs)):
        path = os.path.join(debs, deb)
        cache.run("unpacking QEMU", ["dpkg", "-x", path, tree])
        if deb.startswith(PACKAGES[0]):
            version = cache.run("reading QEMU's version", ["dpkg-deb", "-f", path, "Version"])
    return tree, version.strip().partition(":")[2] or version.strip()


def _get():
    """The distribution's newer one, fetched if it is not in the cache."""
    cache.need("apt-get", "dpkg")
    with cache.locked("qemu"):
        if found := _cached():
            return found
        cache.say("fetching a newer QEMU from the distribution's backports (once; not installed)")
        tmp = tempfile.mkdtemp(prefix=".tmp-", dir=cache.root())
        try:
            tree, version = _fetch(tmp)
            new = _unpacked(tree)
            if new.version[0] < GOOD:
                raise LabError(f"the backports have {new.text.partition(',')[0]} only")
            for d in ("doc", "man", "icons", "applications", "doc-base", "lintian"):
                shutil.rmtree(os.path.join(tree, "usr", "share", d), ignore_errors=True)
            final = os.path.join(cache.root(), f"qemu-{version}")
            if not os.path.isdir(final):
                os.rename(tree, final)
            os.symlink(f"qemu-{version}", os.path.join(tmp, "link"))
            os.rename(os.path.join(tmp, "link"), os.path.join(cache.root(), "qemu"))
            return _unpacked(final)
        finally:
            shutil.rmtree(tmp, ignore_errors=True)


# ---- the choice ----

def _vain():
    """Marks a vain attempt; with the reason in it."""
    return os.path.join(cache.root(), "no-newer-qemu")


def _asked_lately():
    try:
        return time.time() - os.stat(_vain()).st_mtime < ASK_AGAIN
    except OSError:
        return False


def find():
    """VOLT_LAB_QEMU, else the installed one if it is good, else that of the backports, else the
    installed one all the same, with one line of warning a day."""
    own = os.environ.get("VOLT_LAB_QEMU")
    if own:
        return _made([own], f"{own}, by VOLT_LAB_QEMU")
    cache.need(NAME)
    installed = _made([shutil.which(NAME)], f"{shutil.which(NAME)}, installed")
    if installed.version[0] >= GOOD:
        return installed
    try:
        found = _cached()
        if not found and _asked_lately():
            return installed
        return found or _get()
    except LabError as e:
        reason = " ".join(str(e).split())
        cache.say(f"warning: {installed.text.partition(',')[0]} is used, which now and then loses a "
                  f"guest or the lab; a newer one cannot be had: {reason}")
        cache.put(_vain(), reason.encode() + b"\n", 0o644)
        return installed
