# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A configured guest from the first run of site.yml on; the tests build on one another, in their order."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import macs
import pytest

BUNDLE = "/Library/Company/ca.pem"
MODULE = (
    '{ lib, ... }: {\n  environment.etc."lab-note".text = "from a file with ${toString (1 + 1)} {{ braces }}";\n}  # the end\n'
)
TEXT = '{ ... }: { environment.etc."lab-note".text = "from text"; }'
MAPPING = {"environment": {"etc": {"lab-note": {"text": "from a mapping"}}}}


@pytest.fixture(name="pristine", scope="module")
def fixture_pristine(mac: macs.Mac, stand_in: macs.StandIn) -> dict[str, t.Any]:
    """The Mac before the first run, with the company's CA file on it."""
    stand_in.root("/bin/sh", "-c", f"mkdir -p {Path(BUNDLE).parent}; cp /etc/ssl/certs/ca-certificates.crt {BUNDLE}")
    return {"nix.conf": mac.read("/etc/nix/nix.conf")}


@pytest.fixture(name="given", scope="module")
def fixture_given(tmp_path_factory: pytest.TempPathFactory) -> t.Callable[..., str]:
    """given(name=value...): the argument of ansible-playbook that sets linux_builder_<name>."""
    directory = tmp_path_factory.mktemp("given")
    (directory / "builder.nix").write_text(MODULE)

    def write(**variables: t.Any) -> str:
        stable = {"cores": 1, "memory_mib": 1024, "disk_mib": 3072, **variables}
        path = directory / f"{len(list(directory.iterdir()))}.json"
        text = json.dumps({f"linux_builder_{name}": value for name, value in stable.items()})
        path.write_text(text.replace("DIRECTORY", str(directory)))
        return f"--extra-vars=@{path}"

    return write


@pytest.fixture(name="first", scope="module")
def fixture_first(pristine: dict[str, t.Any], given: t.Callable[..., str]) -> tuple[macs.Played, str]:
    argument = given(config="DIRECTORY/builder.nix", min_free_mib=300, ca_file=BUNDLE)
    return macs.play("site", argument), argument


def note(mac: macs.Mac) -> str:
    """What the configuration put into the guest; empty for the stock guest."""
    return str(mac.guest("cat", "/etc/lab-note").stdout).strip()


def test_one_run_on_a_fresh_mac_gives_it_a_guest_configured_by_a_file(first: tuple[macs.Played, str], mac: macs.Mac) -> None:
    assert first[0].rc == 0, first[0].output[-6000:]
    assert note(mac) == "from a file with 2 {{ braces }}"
    assert "min-free = 314572800" in mac.guest("cat", "/etc/nix/builder.conf").stdout
    assert mac.guest("head", "-c", "27", "/etc/ssl/certs/ca-certificates.crt").stdout.startswith("-----BEGIN CERTIFICATE-----")


def test_the_macs_nix_trusts_the_same_authorities(first: tuple[macs.Played, str], mac: macs.Mac) -> None:
    assert mac.nix_setting("ssl-cert-file") == BUNDLE


def test_a_second_run_changes_nothing_and_the_report_sees_no_drift(first: tuple[macs.Played, str], tmp_path: Path) -> None:
    assert macs.play("site", first[1]).changed() == 0
    played = macs.play("status", first[1], f"--extra-vars=linux_builder_report_path={tmp_path}")
    assert played.rc == 0, played.output[-4000:]
    (report,) = tmp_path.rglob("*.json")
    (mac,) = [entry for entry in json.loads(report.read_text())["macs"] if entry["name"] == macs.NAME]
    assert [area for area in mac["drift"] if area["changed"] or area["error"]] == []


def test_check_mode_foresees_another_guest_and_touches_nothing(given: t.Callable[..., str], mac: macs.Mac) -> None:
    before = mac.guest_boot_id()
    played = macs.play("site", given(config=TEXT, min_free_mib=300, ca_file=BUNDLE), "--check", "--diff")
    assert played.rc == 0, played.output[-4000:]
    assert played.changed() > 0
    assert mac.guest_boot_id() == before


@pytest.mark.parametrize(("config", "expected"), [(TEXT, "from text"), (MAPPING, "from a mapping")], ids=["text", "mapping"])
def test_another_configuration_replaces_the_guest(
    given: t.Callable[..., str], mac: macs.Mac, config: t.Any, expected: str
) -> None:
    argument = given(config=config, min_free_mib=300, ca_file=BUNDLE)
    played = macs.play("site", argument)
    assert played.rc == 0, played.output[-6000:]
    assert note(mac) == expected
    assert macs.play("site", argument).changed() == 0


def test_a_wrong_module_or_a_password_stops_the_play_and_not_the_builder(given: t.Callable[..., str], mac: macs.Mac) -> None:
    before = mac.guest_boot_id()
    wrong = macs.play("site", given(config='{ environment.etx."a".text = ""; }', ca_file=BUNDLE))
    assert wrong.rc != 0
    assert wrong.says("The option `environment.etx")
    secret = macs.play("site", given(config=MAPPING, ca_file=BUNDLE, proxy="http://alice:hunter2@proxy.example:3128"), "--diff")
    assert secret.rc != 0
    assert secret.says("user name or password")
    assert mac.guest_boot_id() == before


def test_without_the_variables_the_stock_guest_comes_back(
    given: t.Callable[..., str], mac: macs.Mac, pristine: dict[str, t.Any]
) -> None:
    played = macs.play("site", given())
    assert played.rc == 0, played.output[-6000:]
    assert note(mac) == ""
    assert "ssl-cert-file" not in mac.read("/etc/nix/nix.conf")
    assert macs.play("site", given()).changed() == 0


def test_teardown_takes_the_settings_of_nix_back(given: t.Callable[..., str], mac: macs.Mac, pristine: dict[str, t.Any]) -> None:
    assert macs.play("site", given(ca_file=BUNDLE), "--tags=delegation").rc == 0
    assert mac.nix_setting("ssl-cert-file") == BUNDLE
    played = macs.play("teardown")
    assert played.rc == 0, played.output[-4000:]
    assert mac.read("/etc/nix/nix.conf") == pristine["nix.conf"]
