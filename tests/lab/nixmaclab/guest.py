# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The guest of the builder VM: Debian root as a tar, uncompressed kernel, small initrd."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import stat
import subprocess
import typing as t

from . import core

GUEST = core.LAB / "guest"
EXCLUDES = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale", "info", "bash-completion")]


def host_key() -> pathlib.Path:
    """Return the folder with the guest's host key pair, made once per lab.

    The stock builder carries a pair whose private half is public knowledge; that half is not ours to ship, so
    the lab has a pair of its own, made the same way and known to the inventory by its base64 form.
    """
    folder = core.CACHE / "ssh" / "guest"
    key = folder / "ssh_host_ed25519_key"
    if not key.exists():
        folder.mkdir(parents=True, exist_ok=True)
        core.run([core.need("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", "root@nixos", "-f", key])
    return folder


def _unpack(path: pathlib.Path) -> bytes:
    """Return a module's content without its compression."""
    tools = {".xz": "xz", ".zst": "zstd", ".gz": "gzip"}
    if path.suffix not in tools:
        return path.read_bytes()
    return subprocess.run([core.need(tools[path.suffix]), "-dcq", os.fspath(path)], stdout=subprocess.PIPE, check=True).stdout


def _plain(path: str) -> str:
    return pathlib.PurePath(path).name.split(".ko")[0].replace("-", "_")


def _modules(tree: pathlib.Path) -> dict[str, bytes]:
    """Return the modules to load, dependencies first, as name -> content.

    The package's modules.dep would be made by its install script, which does not run here; each module names
    what it depends on in its own `depends=` field.
    """
    files = {_plain(path.name): path for path in tree.rglob("*.ko*")}
    builtin = {_plain(line) for line in (tree / "modules.builtin").read_text(encoding="utf-8").split()}
    loaded: dict[str, bytes] = {}

    def add(name: str) -> None:
        if name in builtin or name in loaded:
            return
        if name not in files:
            raise core.LabError(f"The kernel has no module {name}. Correct {GUEST / 'modules.txt'}.")
        content = _unpack(files[name])
        field = re.search(rb"\0depends=([^\0]*)\0", content)
        for other in (field.group(1).decode() if field else "").split(","):
            if other:
                add(_plain(other))
        loaded[name] = content

    for name in core.read_list(GUEST / "modules.txt"):
        add(_plain(name))
    return loaded


def _cpio(entries: t.Sequence[tuple[str, int, bytes]]) -> bytes:
    """Return a cpio archive (newc) of (name, mode, content) entries, all owned by root."""
    out = bytearray()
    for number, (name, mode, content) in enumerate([*entries, ("TRAILER!!!", 0, b"")], start=1):
        encoded = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(encoded), 0)
        out += b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
        out += b"\0" * (-len(out) % 4) + content
        out += b"\0" * (-len(out) % 4)
    return bytes(out)


def _initrd(tree: pathlib.Path, target: pathlib.Path) -> None:
    regular, folder = stat.S_IFREG | 0o755, stat.S_IFDIR | 0o755
    release = next((tree / "usr/lib/modules").iterdir())
    entries: list[tuple[str, int, bytes]] = [("bin", folder, b""), ("modules", folder, b"")]
    entries.append(("bin/busybox", regular, (tree / "usr/bin/busybox").read_bytes()))
    entries.append(("init", regular, (GUEST / "init").read_bytes().replace(b"#!/bin/sh", b"#!/bin/busybox sh", 1)))
    modules = _modules(release)
    entries.extend((f"modules/{name}.ko", regular, content) for name, content in modules.items())
    entries.append(("modules/order", regular, "".join(f"{name}.ko\n" for name in modules).encode()))
    # Not compressed: unpacking under emulation takes longer than reading it.
    target.write_bytes(_cpio(entries))


def _vmlinux(image: pathlib.Path, target: pathlib.Path) -> None:
    """Take the uncompressed kernel out of a bzImage: QEMU starts it directly (PVH), which saves unpacking it under emulation."""
    data = image.read_bytes()
    for magic, tool in ((b"\x28\xb5\x2f\xfd", "zstd"), (b"\xfd7zXZ\x00", "xz"), (b"\x1f\x8b\x08", "gzip")):
        at = data.find(magic)
        while at >= 0:
            # Trailing bytes after the stream make the tools complain; what they wrote before that is what counts.
            done = subprocess.run([core.need(tool), "-dcq"], input=data[at:], capture_output=True, check=False)
            if done.stdout[:4] == b"\x7fELF":
                target.write_bytes(done.stdout)
                return
            at = data.find(magic, at + 1)
    raise core.LabError(f"No compressed kernel was found in {image}.")


def _make(scratch: pathlib.Path) -> None:
    logs = core.CACHE / "log"
    tree = scratch / "kernel"
    with core.step("guest: kernel and modules"):
        core.mmdebstrap(core.SUITE, tree, ["linux-image-amd64", "busybox-static"], logs / "guest-kernel.log", "--variant=extract")
        _vmlinux(next((tree / "boot").glob("vmlinuz-*")), scratch / "vmlinux")
        _initrd(tree, scratch / "initrd")
        shutil.rmtree(tree)
    with core.step("guest: root file system"):
        hook = f'--customize-hook={GUEST / "customize.sh"} "$1" {GUEST} {host_key()}'
        packages = core.read_list(GUEST / "packages.txt")
        options = ["--variant=essential", hook, *EXCLUDES]
        core.mmdebstrap(core.SUITE, scratch / "rootfs.tar", packages, logs / "guest-root.log", *options)


def build() -> pathlib.Path:
    """Return the folder with vmlinux, initrd and rootfs.tar of the guest."""
    key = core.digest([GUEST, pathlib.Path(__file__)], core.SUITE, (host_key() / "ssh_host_ed25519_key.pub").read_text())
    return core.cached("guest", key, _make)
