# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import plistlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.nixmac.linux_builder.plugins.module_utils import (
    _diagnose_mac,
    _diagnose_question,
    _mac,
    _nix_note,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Completed, Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError

M1 = "hw.ncpu: 8\nhw.memsize: 17179869184\nhw.optional.arm64: 1\nkern.hv_support: 1\n"


class Sysctl(Runner):
    """Answers every call with one text, or with an error."""

    def __init__(self, text):
        super().__init__()
        self.text = text

    def run(self, argv, **_options):
        self.started += 1
        if self.text is None:
            raise CommandError("no such program")
        return Completed(tuple(argv), 1, self.text, "sysctl: unknown oid 'x'\n")


def system_version(root, **keys):
    path = root / "System/Library/CoreServices/SystemVersion.plist"
    path.parent.mkdir(parents=True)
    path.write_bytes(plistlib.dumps(keys))


def test_reads_an_apple_silicon_mac_with_one_process(tmp_path):
    system_version(tmp_path, ProductVersion="15.5", ProductBuildVersion="24F74")
    runner = Sysctl(M1)
    mac = _mac.read(runner, str(tmp_path))
    assert (mac.version, mac.build, mac.architecture, mac.cores, mac.memory_mib) == ("15.5", "24F74", "arm64", 8, 16384)
    assert mac.virtualization is True
    assert mac.linux_system == "aarch64-linux"
    assert runner.started == 1


def test_a_python_under_rosetta_still_sees_the_chip():
    assert _mac.read(Sysctl("hw.optional.arm64: 1\n")).architecture == "arm64"


def test_an_intel_mac_without_hypervisor(monkeypatch):
    monkeypatch.setattr(_mac.os, "uname", lambda: os.uname_result(("Darwin", "", "", "", "x86_64")))
    mac = _mac.read(Sysctl("hw.ncpu: 4\nhw.memsize: 8589934592\nkern.hv_support: 0\n"))
    assert (mac.architecture, mac.linux_system, mac.virtualization) == ("x86_64", "x86_64-linux", False)


def test_another_architecture_has_no_linux_system(monkeypatch):
    monkeypatch.setattr(_mac.os, "uname", lambda: os.uname_result(("Darwin", "", "", "", "ppc")))
    assert _mac.read(Sysctl("")).linux_system is None


@pytest.mark.parametrize("text", [None, "", "nonsense\n"])
def test_without_sysctl_the_system_calls_answer(text):
    mac = _mac.read(Sysctl(text))
    assert mac.cores == os.cpu_count()
    assert mac.memory_mib > 0
    assert mac.virtualization is None


def test_no_macos_has_no_version(tmp_path):
    assert _mac.read(Sysctl(M1), str(tmp_path)).version == ""


@pytest.mark.parametrize(
    "content", [b"", b"<plist", b"\x00\xff", b"bplist00", plistlib.dumps(["a", "list"]), b"<plist><date>x</date></plist>"]
)
def test_a_broken_version_file_is_no_version(tmp_path, content):
    path = tmp_path / "SystemVersion.plist"
    path.write_bytes(content)
    assert _mac.macos_version(str(path)) == ("", "")


@settings(max_examples=50, deadline=None)
@given(
    st.sampled_from([b"", b"bplist00", b'<?xml version="1.0"?><plist>']).flatmap(
        lambda head: st.binary(max_size=80).map(head.__add__)
    )
)
def test_no_version_file_raises(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("v") / "SystemVersion.plist"
    path.write_bytes(content)
    assert isinstance(_mac.macos_version(str(path)), tuple)


def test_versions_compare_as_numbers():
    key = _mac.version_key
    assert key("9.10") < key("10.9") < key("12.4") < key("12.6.1") < key("13.0") < key("26.0")
    assert key("13") == key("13.0") == key("13.0.0")
    assert key("15.5 (a)") == key("15.5")


@pytest.mark.parametrize(("have", "cores"), [(1, 2), (2, 2), (3, 2), (8, 4), (10, 5)])
def test_the_builder_gets_half_the_cores_and_at_least_two(have, cores):
    assert _mac.default_cores(have) == cores


@pytest.mark.parametrize(("have", "memory"), [(2048, 3072), (8192, 3072), (16384, 4096), (65536, 16384)])
def test_the_builder_gets_a_quarter_of_the_memory_and_at_least_three_gib(have, memory):
    assert _mac.default_memory_mib(have) == memory


def test_free_disk_is_that_of_the_nearest_existing_directory(tmp_path):
    status = os.statvfs(tmp_path)
    found = _mac.free_disk_mib(str(tmp_path / "not/there/yet"))
    assert found is not None
    assert abs(found - status.f_bavail * status.f_frsize // 2**20) < 512


def test_free_disk_looks_through_a_file_in_the_way(tmp_path):
    (tmp_path / "file").write_text("")
    assert _mac.free_disk_mib(str(tmp_path / "file/below")) is not None


class Counted(Runner):
    def run(self, argv, **_options):
        self.started += 1
        return Completed(tuple(argv), 0, "hw.ncpu: 12\nhw.memsize: 34359738368\nhw.optional.arm64: 1\n", "")


def test_the_hardware_is_asked_for_once(monkeypatch, tmp_path):
    monkeypatch.setattr(_nix_note, "PATH", str(tmp_path / "db" / "answers.json"))
    sysctl = Counted()
    assert _mac.read(sysctl).cores == 12
    _mac.note(sysctl)
    assert sysctl.started == 2
    noted = _mac.read(sysctl)
    assert (sysctl.started, noted.cores, noted.memory_mib, noted.architecture) == (2, 12, 32768, "arm64")
    # Who looks for what is wrong trusts no note.
    assert _diagnose_mac.Mac(_diagnose_question.Question(), sysctl).machine == noted
    assert sysctl.started == 3
    # Another Mac, as far as can be seen without asking; or the disk of this one in another.
    monkeypatch.setattr(os, "cpu_count", lambda: 999)
    _mac.read(sysctl)
    assert sysctl.started == 4
