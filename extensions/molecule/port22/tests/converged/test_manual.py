# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Mac as the manual leaves it: a line in nix.conf, the VM on port 22, no alias and no machines file."""

from __future__ import annotations

import typing as t

import keys
import macs


def test_the_line_is_the_manuals(mac: macs.Mac) -> None:
    uri, systems, key, jobs, speed, features, mandatory, host_key = mac.nix_setting("builders").split()
    assert (uri, systems, key, speed) == ("ssh-ng://builder@localhost", "x86_64-linux", macs.KEY, "1")
    assert (features, mandatory) == ("benchmark,big-parallel", "-")
    assert int(jobs) >= 2
    assert host_key.startswith("c3No")  # base64 of "ssh"
    assert mac.nix_setting("builders-use-substitutes") == "true"


def test_there_is_neither_an_alias_nor_a_machines_file(mac: macs.Mac) -> None:
    assert not mac.exists(macs.SSH_ALIAS)
    assert not mac.exists(macs.MACHINES)


def test_the_vm_has_port_22_on_loopback_only(mac: macs.Mac, launchd: macs.Launchd) -> None:
    job = launchd.job(macs.LABEL)
    assert job is not None
    assert job.state == "running", job.text
    assert mac.listeners(22) == ["127.0.0.1:22"]
    assert mac.listeners(macs.PORT) == []


def test_the_daemon_builds_for_linux(mac: macs.Mac, kept: t.Any) -> None:
    kept("vm", mac.out("/usr/bin/readlink", "-f", macs.PROFILE))
    done = keys.build(mac)
    assert done.rc == 0, done.stderr


def test_verification_and_diagnosis_find_it_well() -> None:
    for name in ("verify", "diagnose"):
        played = macs.play(name)
        assert (played.rc, played.changed()) == (0, 0), played.output


def test_a_dry_run_with_the_other_form_shows_the_change_and_does_nothing(mac: macs.Mac) -> None:
    played = macs.play("site", "--check", "--diff", "--extra-vars=linux_builder_form=alias")
    assert played.rc == 0, played.output
    assert played.says("-builders = ssh-ng://builder@localhost"), played.output
    assert played.says("Host linux-builder"), played.output
    assert keys.build(mac).rc == 0
