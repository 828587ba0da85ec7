# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One ssh connection for all builds: it works with this Nix, it is given up again, and it is refused where it would fail."""

from __future__ import annotations

import macs

ON = "--extra-vars=linux_builder_ssh_control_master=true"
CHECK = ("/usr/bin/sudo", "-H", "/usr/bin/ssh", "-O", "check", "linux-builder")


def test_all_builds_share_a_connection(mac: macs.Mac) -> None:
    played = macs.play("site", ON)
    assert played.rc == 0, played.output
    assert "ControlMaster auto" in mac.read(macs.SSH_ALIAS)
    # The builds of the proof have left it open.
    assert mac.run(*CHECK).rc == 0
    second = macs.play("site", ON)
    assert (second.rc, second.changed()) == (0, 0), second.output


def test_it_is_refused_where_it_would_fail(mac: macs.Mac) -> None:
    before = mac.read(macs.MACHINES)
    mac.shell(f"echo 'ssh-ng://builder@linux-builder?max-connections=4 x86_64-linux - 1' >> {macs.MACHINES}")
    try:
        for played in (macs.play("site", ON), macs.play(str(macs.ROOT / "extensions/molecule/default/tests/delegation.yml"), ON)):
            assert played.rc != 0, played.output
            assert played.says("max-connections=4"), played.output
            assert played.says("linux_builder_ssh_control_master: false"), played.output
    finally:
        mac.shell(f"sed -i -e /max-connections=4/d {macs.MACHINES}")
    assert mac.read(macs.MACHINES) == before


def test_it_is_given_up_again(mac: macs.Mac) -> None:
    played = macs.play("site")
    assert (played.rc, played.changed()) == (0, 1), played.output
    assert "ControlMaster" not in mac.read(macs.SSH_ALIAS)
