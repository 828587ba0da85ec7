# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""nix_machine as a whole, on real files, with a Nix that answers from records."""

from __future__ import annotations

import os
import re
import typing as t
from pathlib import Path

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _files, _machines_apply, _nixconf, _nixconf_layout
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import FileError, LinuxBuilderError
from ansible_collections.nixmac.linux_builder.tests.unit.fixtures.nixconf.record import KEY, MACHINES, stage_machines
from ansible_collections.nixmac.linux_builder.tests.unit.plugins.module_utils import nixconf_support as support
from ansible_collections.nixmac.linux_builder.tests.unit.plugins.module_utils.nixconf_fake import FakeNix

URI = "ssh-ng://builder@linux-builder"
LINE = f"{URI} aarch64-linux /etc/nix/builder_ed25519 4 1 benchmark,big-parallel - {KEY}"
OPTIONS = {
    "uri": URI,
    "systems": ["aarch64-linux"],
    "ssh_key": "/etc/nix/builder_ed25519",
    "max_jobs": 4,
    "speed_factor": 1.0,
    "supported_features": ["benchmark", "big-parallel"],
    "public_host_key": KEY,
    "state": "present",
}


class Mac:
    """A directory that stands for /etc/nix."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = path
        self.nix = FakeNix()
        choose = _nixconf_layout.choose
        monkeypatch.setattr(
            _nixconf_layout,
            "choose",
            lambda given, names, **more: choose(given, names, conf_dir=str(path), determinate=str(path / "none"), **more),
        )

    @property
    def machines(self) -> Path:
        return self.path / "machines"

    @property
    def conf(self) -> Path:
        return self.path / "nix.conf"

    def run(self, check_mode: bool = False, **options: t.Any) -> _nixconf.Outcome:
        self.nix.calls.clear()
        given = {"path": None if options.get("inline") else str(self.machines), **OPTIONS, **options}
        return _machines_apply.run(given, check_mode, _machines_apply.Host(self.nix, str(self.path)))


@pytest.fixture
def mac(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mac:
    return Mac(tmp_path, monkeypatch)


def refused(mac: Mac, **options: t.Any) -> str:
    with pytest.raises(LinuxBuilderError) as caught:
        mac.run(**options)
    return caught.value.message


def test_new_file_says_who_made_it_and_goes_with_the_entry(mac: Mac) -> None:
    done = mac.run()
    assert (done.changed, done.result["entry"]) == (True, LINE)
    # A `;` in a comment is the end of it for older Nix.
    assert re.fullmatch(f"# Made by nixmac.linux_builder [^;\n]*\n{re.escape(LINE)}\n", mac.machines.read_text())
    assert mac.machines.stat().st_mode & 0o777 == 0o644
    assert not mac.run().changed
    assert mac.run(state="absent").changed
    assert not mac.machines.exists()
    assert not mac.run(state="absent").changed


def test_run_that_changes_nothing_starts_no_process_by_default(mac: Mac) -> None:
    mac.run()
    mac.run()
    assert mac.nix.calls == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"# mine\n",
        b"ssh://a i686-linux\n# note\n\nssh://b i686-linux\n",
        b"ssh://a i686-linux",
        b"ssh://a i686-linux\r\nssh://b i686-linux\r\n",
        b"ssh://a i686-linux\r\nssh://b i686-linux",
        b"ssh://a i686-linux\r",
        b"ssh://a i686-linux;ssh://b i686-linux # two\n",
        b"# caf\xe9\n@/etc/other\n",
    ],
)
def test_all_other_bytes_come_back(mac: Mac, content: bytes) -> None:
    mac.machines.write_bytes(content)
    mac.run()
    assert LINE.encode() in mac.machines.read_bytes()
    assert not mac.run().changed
    mac.run(state="absent")
    assert mac.machines.read_bytes() == content


def test_entry_keeps_its_place_and_doubles_go(mac: Mac) -> None:
    mac.machines.write_text(f"ssh://a i686-linux\n{URI} i686-linux - 1\nssh://b i686-linux;{URI} - - 9;ssh://c\n")
    mac.run()
    assert mac.machines.read_text() == f"ssh://a i686-linux\n{LINE}\nssh://b i686-linux;ssh://c\n"


def test_entry_between_semicolons_is_replaced_there(mac: Mac) -> None:
    mac.machines.write_text(f"ssh://a i686-linux;{URI} - - 9;ssh://c # three\n")
    mac.run()
    assert mac.machines.read_text() == f"ssh://a i686-linux;{LINE};ssh://c # three\n"
    assert not mac.run().changed


def test_host_without_scheme_is_the_same_machine(mac: Mac) -> None:
    mac.machines.write_text("builder@linux-builder i686-linux\n")
    mac.run(uri="ssh://builder@linux-builder")
    assert mac.machines.read_text().startswith("ssh://builder@linux-builder aarch64-linux ")


def test_check_mode_writes_nothing_and_shows_it(mac: Mac) -> None:
    done = mac.run(check_mode=True)
    assert done.changed
    assert LINE in done.after
    assert not mac.machines.exists()


@pytest.mark.parametrize(
    ("content", "number"),
    [
        ("ssh://a i686-linux\nssh://b - - many\n", 2),
        ("ssh://b - - 1 fast\n", 1),
        ("# c\n\nssh://b - - 1 -1\n", 3),
        ("ssh://b - - 1 1 - - not!base64\n", 1),
    ],
)
def test_malformed_line_is_named_by_its_number(mac: Mac, content: str, number: int) -> None:
    mac.machines.write_text(content)
    assert refused(mac).startswith(f"{mac.machines}:{number}: ")
    assert mac.machines.read_text() == content
    assert f":{number}: " in mac.run(state="absent").warnings[0]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("ssh://a i686-linux\n  \n", ":2: a line of blanks"),
        ("  # c\n", ":1: a line of blanks"),
        ("ssh://a i686-linux\r\n\r\n", ":2: a line of blanks"),
        ("# old; ssh://z\n", ":1: what follows `;`"),
        ("  @/etc/more\n", ":1: a blank before `@`"),
    ],
)
def test_line_that_only_older_nix_stumbles_over(mac: Mac, content: str, words: str) -> None:
    mac.machines.write_bytes(content.encode())
    assert words in refused(mac)
    mac.nix = FakeNix("2.34.8")
    assert words in mac.run().warnings[0]
    mac.nix = FakeNix(text="nix (Lix, like Nix) 2.93.0\nSystem type: aarch64-darwin")
    mac.machines.write_bytes(content.encode())
    assert words in refused(mac)


def test_own_malformed_entry_is_replaced(mac: Mac) -> None:
    mac.machines.write_text(f"{URI} i686-linux - many\n")
    mac.run()
    assert mac.machines.read_text() == f"{LINE}\n"


def test_toml_of_lix_is_left_alone(mac: Mac) -> None:
    mac.machines.write_text('version = 1\n[machines.a]\nuri = "ssh://a"\n')
    assert "TOML" in refused(mac)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"uri": "builder@linux-builder"}, "uri:"),
        ({"uri": "ssh-ng://a b"}, "uri:"),
        ({"uri": "ssh-ng://a;b"}, "uri:"),
        ({"uri": "ssh-ng://a#b"}, "uri:"),
        ({"uri": "ssh-ng://localhost"}, "without a user"),
        ({"uri": "ssh-ng://builder@h:31022"}, "ssh_config.d"),
        ({"systems": ["linux"]}, "systems:"),
        ({"systems": ["aarch64-linux,x86_64-linux"]}, "systems:"),
        ({"ssh_key": "builder"}, "ssh_key:"),
        ({"ssh_key": "/a b"}, "ssh_key:"),
        ({"max_jobs": -1}, "max_jobs:"),
        ({"speed_factor": 0}, "speed_factor:"),
        ({"speed_factor": -2.0}, "speed_factor:"),
        ({"speed_factor": float("nan")}, "speed_factor:"),
        ({"supported_features": ["a b"]}, "supported_features:"),
        ({"mandatory_features": ["a#"]}, "mandatory_features:"),
        ({"public_host_key": "not!"}, "public_host_key:"),
        ({"public_host_key": "aGVsbG8="}, "public_host_key:"),
        ({"public_host_key": "ssh-ed25519 AAAA"}, "public_host_key:"),
        ({"public_host_key": "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIJBWcxb/Blaqt1auOtE+F8QUWrUotiC5qBJ+UuEWdVCb"}, "public_host_key:"),
        ({"path": "machines"}, "not absolute"),
    ],
)
def test_malformed_options_are_explained(mac: Mac, options: dict[str, t.Any], words: str) -> None:
    assert words in refused(mac, **options)


def test_public_key_line_becomes_field_8(mac: Mac) -> None:
    line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJBWcxb/Blaqt1auOtE+F8QUWrUotiC5qBJ+UuEWdVCb root@nixos"
    assert mac.run(public_host_key=line).result["entry"] == LINE


def test_fraction_needs_a_nix_that_reads_it(mac: Mac) -> None:
    assert " 4 1.5 " in mac.run(speed_factor=1.5).result["entry"]
    mac.nix = FakeNix("2.8.0")
    assert "whole number" in refused(mac, speed_factor=1.5)


def test_port_needs_a_nix_that_reads_it(mac: Mac) -> None:
    mac.nix = FakeNix("2.34.8")
    assert mac.run(uri="ssh-ng://builder@h:31022").changed


def test_what_is_left_out_is_a_dash(mac: Mac) -> None:
    done = _machines_apply.run(
        {"uri": URI, "path": str(mac.machines), "state": "present"}, True, _machines_apply.Host(mac.nix, str(mac.path))
    )
    assert done.result["entry"] == f"{URI} - - 1 1 - - -"


@pytest.mark.parametrize("version", support.VERSIONS)
@pytest.mark.parametrize("label", [label for label, files in MACHINES.items() if "builders" in files])
def test_reached_is_what_real_nix_saw(mac: Mac, label: str, version: str) -> None:
    record = support.load("machines.json")[label]
    stage_machines(record["files"], str(mac.path))
    mac.nix = FakeNix(version)
    result = mac.run(check_mode=True).result
    assert result["reached"] == ("one-os" in record["results"][version]["systems"])


@pytest.mark.parametrize("version", support.VERSIONS)
@pytest.mark.parametrize("label", sorted(label for label, files in MACHINES.items() if "builders" not in files))
def test_what_is_not_refused_is_what_real_nix_read(mac: Mac, label: str, version: str) -> None:
    record = support.load("machines.json")[label]
    stage_machines(record["files"], str(mac.path))
    mac.nix = FakeNix(version)
    found = record["results"][version]
    meant = {"one-os", "two-os"} & set(found.get("systems", ()))
    odd = set(found.get("systems", ())) - meant or label == "semicolon in a comment"
    if "error" in found or (odd and version != "2.34.8"):
        assert str(mac.machines) in refused(mac)
    else:
        assert mac.run().changed


@pytest.mark.parametrize(
    ("value", "reaching"),
    [
        ("ssh://a i686-linux", "ssh://a i686-linux;@{path}"),
        ("ssh://a i686-linux ; ssh://b", "ssh://a i686-linux;ssh://b;@{path}"),
        ("", "@{path}"),
        ("ssh://a ;", "ssh://a;@{path}"),
        ("ssh://a ; @{path}", "ssh://a;@{path}"),
        ("@{path}", "@{path}"),
    ],
)
def test_value_that_reaches_keeps_the_machines_and_has_no_blank_before_the_at_sign(mac: Mac, value: str, reaching: str) -> None:
    mac.conf.write_text(f"builders = {value.format(path=mac.machines)}\n")
    result = mac.run().result
    assert result["builders_reaching"] == reaching.format(path=mac.machines)
    mac.conf.write_text(f"builders = {result['builders_reaching']}\n")
    assert mac.run().result["reached"]


def test_line_of_our_own_stays_needed_once_it_is_there(mac: Mac) -> None:
    mac.conf.write_text("builders = ssh://a i686-linux\n")
    first = mac.run().result
    assert (first["reached"], first["builders_needed"]) == (False, True)
    options = {"path": str(mac.conf), "owner": "nixmac.linux_builder", "settings": {"builders": first["builders_reaching"]}}
    assert _nixconf.run(options, False, mac.nix).changed
    second = mac.run().result
    assert (second["reached"], second["builders_needed"]) == (True, True)
    assert second["builders_reaching"] == first["builders_reaching"]
    mac.conf.write_text(mac.conf.read_text().replace("builders = ssh://a", "builders = @/etc/nix/other;ssh://b", 1))
    assert mac.run().result["builders_reaching"].startswith("@/etc/nix/other;ssh://b i686-linux;@")


def test_value_comes_from_an_include_too_and_costs_a_process_only_when_the_order_matters(mac: Mac) -> None:
    mac.conf.write_text("!include nix.custom.conf\n")
    (mac.path / "nix.custom.conf").write_text("builders = ssh://a\n")
    assert mac.run(check_mode=True).result["builders"] == "ssh://a"
    assert len(mac.nix.calls) == 1
    mac.conf.write_text("!include nix.custom.conf\nbuilders = ssh://b\n")
    assert mac.run(check_mode=True).result["builders"] == "ssh://b"
    assert mac.nix.calls == []


@pytest.mark.parametrize("before", [b"", b"cores = 3", b"builders = ssh://q i686-linux ; @/etc/foo\n", b"builders =\n"])
def test_inline_entry_comes_and_goes(mac: Mac, before: bytes) -> None:
    mac.conf.write_bytes(before)
    done = mac.run(inline=True)
    assert done.changed
    assert done.result["restart_required"]
    assert done.result["reached"]
    assert f"{LINE}\n# END nixmac.linux_builder\n" in mac.conf.read_text()
    assert not mac.run(inline=True).changed
    assert len(mac.nix.calls) <= 1
    mac.run(inline=True, state="absent")
    assert mac.conf.read_bytes() == before
    assert not mac.run(inline=True, state="absent").changed


def test_inline_entry_that_a_person_wrote_is_replaced_in_the_value(mac: Mac) -> None:
    mac.conf.write_text(f"builders = {URI} i686-linux;ssh://q\n")
    assert mac.run(inline=True).result["builders"] == f"{LINE};ssh://q"


def test_inline_removal_of_an_entry_that_a_person_wrote(mac: Mac) -> None:
    mac.conf.write_text(f"builders = ssh://p;{URI} i686-linux;ssh://q\n")
    assert mac.run(inline=True, state="absent").result["builders"] == "ssh://p;ssh://q"
    assert not mac.run(inline=True, state="absent").changed


def test_nix_darwins_file_is_refused_with_its_option(mac: Mac) -> None:
    os.symlink("/etc/static/nix/machines", mac.machines)
    assert "nix.buildMachines" in refused(mac)


def test_edit_by_somebody_else_meanwhile_is_not_lost(mac: Mac, monkeypatch: pytest.MonkeyPatch) -> None:
    mac.machines.write_text("ssh://a i686-linux\n")
    write = _files.write

    def meanwhile(*arguments: t.Any, **options: t.Any) -> None:
        mac.machines.write_text("ssh://a i686-linux\nssh://b i686-linux\n")
        write(*arguments, **options)

    monkeypatch.setattr(_files, "write", meanwhile)
    with pytest.raises(FileError, match="somebody else"):
        mac.run()
    assert mac.machines.read_text() == "ssh://a i686-linux\nssh://b i686-linux\n"
