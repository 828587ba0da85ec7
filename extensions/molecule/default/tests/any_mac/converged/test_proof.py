# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The proof that a user gets."""

from __future__ import annotations

import re

import macs


def test_the_verify_playbook_proves_it_and_changes_nothing(mac: macs.Mac) -> None:
    played = macs.play("verify")
    assert played.rc == 0, played.output
    assert played.changed() == 0, played.output
    assert played.says(f"{mac.guest_system()} built in"), played.output
    assert played.says("Linux version"), played.output


def test_a_verification_is_one_module_execution() -> None:
    played = macs.play("verify", "-vvv")
    assert played.rc == 0, played.output
    used = re.findall(r"Using module file (\S+)", played.output)
    assert [path.rpartition("/")[2] for path in used] == ["builder_verify.py"], used
