# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""Facts of the Mac itself: one sysctl(8) call and a few system calls, nothing else."""

from __future__ import annotations

import os
import plistlib
import re
import typing as t
from xml.parsers.expat import ExpatError

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _nix_note
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError

SYSCTL = "/usr/sbin/sysctl"
SYSTEM_VERSION = "/System/Library/CoreServices/SystemVersion.plist"

_NAMES = ("hw.ncpu", "hw.memsize", "hw.optional.arm64", "kern.hv_support", "machdep.cpu.brand_string")
_MIB = 1024 * 1024


class Mac(t.NamedTuple):
    """The machine.

    version, build: of macOS, for example `15.5` and `24F74`; empty when this is no macOS.
    architecture: `arm64`, `x86_64`, or what uname(2) says.
    cores: logical processors. memory_mib: MiB. virtualization: the hypervisor can be used; None: not known.
    chip: its name, for example `Apple M3 Pro`; empty when the kernel does not say.
    """

    version: str
    build: str
    architecture: str
    cores: int
    memory_mib: int
    virtualization: bool | None
    chip: str = ""

    @property
    def linux_system(self) -> str | None:
        """The Nix system that a builder on this Mac builds for; None on an unsupported architecture."""
        return {"arm64": "aarch64-linux", "x86_64": "x86_64-linux"}.get(self.architecture)


def read(runner: Runner | None = None, root: str = "/", *, anew: bool = False) -> Mac:
    """Everything about the machine with one process. root: where the file system begins (for tests). anew: not what is noted."""
    version, build = macos_version(os.path.join(root, SYSTEM_VERSION.lstrip("/")))
    noted = {} if anew or root != "/" else _nix_note.read("mac", subject(version, build))
    values = noted or sysctl(runner or Runner(), _NAMES)
    hypervisor = values.get("kern.hv_support")
    return Mac(
        version=version,
        build=build,
        architecture=_architecture(values),
        cores=_positive(values.get("hw.ncpu")) or os.cpu_count() or 1,
        memory_mib=_positive(values.get("hw.memsize")) // _MIB or _physical_memory() // _MIB,
        virtualization=None if hypervisor is None else hypervisor != "0",
        chip=values.get("machdep.cpu.brand_string", ""),
    )


def subject(version: str, build: str) -> list[t.Any]:
    """What tells one Mac from another, as far as no process is needed for it."""
    return [os.uname().machine, os.cpu_count(), _physical_memory(), version, build]


def note(runner: Runner) -> None:
    """Write down what sysctl says, for `read` to find."""
    values = sysctl(runner, _NAMES)
    if values:
        _nix_note.write("mac", subject(*macos_version()), values)


def cores(runner: Runner | None = None) -> int:
    """Logical processors of this Mac."""
    return read(runner).cores


def memory_mib(runner: Runner | None = None) -> int:
    """Physical memory of this Mac in MiB."""
    return read(runner).memory_mib


def default_cores(available: int) -> int:
    """Processors that the builder gets unless told: half the Mac's, at least 2."""
    return max(2, available // 2)


def default_memory_mib(available: int) -> int:
    """Memory (MiB) that the builder gets unless told: a quarter of the Mac's, at least 3 GiB."""
    return max(3072, available // 4)


def sysctl(runner: Runner, names: t.Sequence[str]) -> dict[str, str]:
    """Values of those names that this kernel knows, from one call.

    Names are not left out of the output (`-n`): an unknown one would shift all lines after it.
    """
    try:
        return parse_sysctl(runner.run([SYSCTL, *names], timeout=10).stdout)
    except CommandError:
        return {}


def parse_sysctl(text: str) -> dict[str, str]:
    """`name: value` lines as a dict; other lines are skipped."""
    pairs = (line.split(":", 1) for line in text.splitlines() if ":" in line)
    return {name.strip(): value.strip() for name, value in pairs}


def macos_version(path: str = SYSTEM_VERSION) -> tuple[str, str]:
    """(version, build) of macOS; two empty strings when the file is missing or no property list."""
    try:
        with open(path, "rb") as stream:
            data = plistlib.load(stream)
    except (OSError, ValueError, TypeError, AttributeError, LookupError, ExpatError):  # what plistlib leaks
        return "", ""
    if not isinstance(data, dict):
        return "", ""
    return str(data.get("ProductVersion", "")), str(data.get("ProductBuildVersion", ""))


def version_key(version: str) -> tuple[int, ...]:
    """`15.5` as (15, 5), to compare; trailing zeros do not count, so that 13 equals 13.0."""
    numbers = [int(number) for number in re.findall(r"\d+", version)]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def free_disk_mib(path: str) -> int | None:
    """MiB that root may still write on the file system of `path`, or of its nearest directory that exists."""
    while True:
        try:
            status = os.statvfs(path)
        except (FileNotFoundError, NotADirectoryError):
            parent = os.path.dirname(path.rstrip("/"))
            if parent in ("", path):
                return None
            path = parent
        except OSError:
            return None
        else:
            return status.f_bavail * status.f_frsize // _MIB


def _architecture(values: t.Mapping[str, str]) -> str:
    # A Python under Rosetta is told x86_64 by uname(2); the sysctl tells the truth about the chip.
    if values.get("hw.optional.arm64") == "1":
        return "arm64"
    return os.uname().machine


def _positive(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0


def _physical_memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return 0
