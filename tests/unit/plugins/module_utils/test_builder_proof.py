# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The build that a new guest has to do; and the other tools of a change: its job, its reasons for a restart."""

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils import (
    _builder_look,
    _builder_proof,
    _launchd_service,
    _verify_build,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_job import Job
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_layout import Layout
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_plan import Current
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_record import Generation
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_spec import Spec
from ansible_collections.nixmac.linux_builder.plugins.module_utils._clock import Skew
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Completed, Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import StateError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchd_domain import Roots
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nix import Nix

LAYOUT = Layout("/wd/lb", "/profiles/lb", "/log", "org.example.builder")
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJBWcxb/Blaqt1auOtE+F8QUWrUotiC5qBJ+UuEWdVCb"
SPEC = Spec(LAYOUT, "path:/x#a", False, "127.0.0.1", 31999, False, 2, 3072, None, "/key", KEY, "/ca", 60)
PATH = "/nix/store/00000000000000000000000000000000-linux-builder-proof"
BOOT = "0a1b2c3d-0000-4000-8000-0123456789ab"


class Mac(Runner):
    """Nix of a Mac; `built` is what nix-build leaves."""

    def __init__(self, built: Completed) -> None:
        super().__init__()
        self.built = built
        self.calls: list[tuple[list[str], dict[str, str]]] = []

    def run(self, argv: t.Sequence[str], **options: t.Any) -> Completed:
        self.calls.append((list(argv), dict(options.get("env") or {})))
        if argv[0].endswith("nix-build"):
            return self.built
        return Completed(tuple(argv), 0, json.dumps({"system": {"value": "aarch64-darwin"}}), "")


def prove(mac: Mac) -> float:
    return _builder_proof.prove(Nix(mac, "/nix/bin/nix"), SPEC, {"HOME": "/h"}, BOOT)


@pytest.fixture
def built_in(monkeypatch: pytest.MonkeyPatch) -> t.Callable[[str], None]:
    """Says in which boot the output was made."""
    return lambda boot: monkeypatch.setattr(_verify_build, "parse_output", lambda _path: ("Linux version 6", boot, "aarch64"))


def test_the_build_goes_through_this_vm_alone(built_in: t.Callable[[str], None]) -> None:
    built_in(BOOT)
    mac = Mac(Completed((), 0, f"warning\n{PATH}\n", ""))
    assert prove(mac) >= 0
    argv, environment = next(call for call in mac.calls if call[0][0] == "/nix/bin/nix-build")
    assert argv[argv.index("--max-jobs") + 1] == "0"
    assert "aarch64-linux" in argv[argv.index("builders") + 1]
    assert 'system = "aarch64-linux"' in argv[-1]
    assert environment["NIX_REMOTE"] == "local"
    assert "-p 31999" in environment["NIX_SSHOPTS"]
    assert mac.calls[-1][0] == ["/nix/bin/nix-store", "--delete", PATH]


def test_a_guest_that_builds_nothing_is_told_with_the_words_of_nix() -> None:
    with pytest.raises(StateError, match="port 31999: the guest answers, but builds nothing for aarch64-linux: error: no space"):
        prove(Mac(Completed((), 1, "", "warning: x\nerror: no space\n")))


def test_a_build_in_another_vm_proves_nothing_and_is_deleted(built_in: t.Callable[[str], None]) -> None:
    built_in(BOOT.replace("0a", "ff"))
    mac = Mac(Completed((), 0, PATH, ""))
    with pytest.raises(StateError, match="another VM answers"):
        prove(mac)
    assert mac.calls[-1][0][:2] == ["/nix/bin/nix-store", "--delete"]


def test_the_job_is_held_to_its_port_and_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, t.Any]] = []
    monkeypatch.setattr(_launchd_service, "execute", lambda params, _check, _host: seen.append(dict(params)))
    job = Job(LAYOUT, _launchd_service.Host(roots=Roots("/L", "/S")))
    job.stop(60)
    job.start({"Label": "x"}, "127.0.0.1", 31999, 300)
    assert job.path == "/L/LaunchDaemons/org.example.builder.plist"
    assert [call["state"] for call in seen] == ["stopped", "started"]
    assert all(call["label"] == LAYOUT.label and call["enabled"] is None for call in seen)
    assert (seen[1]["ready_when"], seen[1]["timeout"]) == ({"tcp": "127.0.0.1:31999"}, 300)


@pytest.mark.parametrize(
    ("limit", "skew", "busy", "reasons"),
    [
        (60, Skew(-90.0, 1.0), False, 1),
        (60, Skew(-90.0, 1.0), True, 0),
        (60, Skew(-30.0, 1.0), False, 0),
        (60, None, False, 0),
        (0, Skew(-9000.0, 1.0), False, 0),
    ],
)
def test_a_clock_that_is_off_is_a_reason_only_while_nothing_is_built(
    limit: int, skew: Skew | None, busy: bool, reasons: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_builder_look._builder_slots, "busy", lambda _uri: ["slot"] if busy else [])
    monkeypatch.setattr(_builder_look._clock, "measure", lambda _guest, _runner: skew)
    current = Current({}, Generation(), {}, {}, None, False, None, ())
    found = _builder_look.clock_reasons(SPEC._replace(max_clock_skew=limit), current, Runner())
    assert len(found) == reasons
