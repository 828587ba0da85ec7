# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a stand-in reads about itself, with the real ssh-keygen and the real Ansible."""

from __future__ import annotations

import concurrent.futures
import pathlib
import sys

import pytest
from nixmaclab import core, macs


def test_the_first_stand_ins_may_be_made_at_once(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the benchmark makes them on a machine that has no key and no password yet."""
    monkeypatch.setattr(macs, "KEY", tmp_path / "ssh" / "admin_ed25519")
    monkeypatch.setattr(macs, "PASSWORD", tmp_path / "ssh" / "sudo-password")
    monkeypatch.setattr(core, "VENV", pathlib.Path(sys.prefix))
    mac = macs.known()["mac-a"]
    folders = [tmp_path / name for name in ("one", "two", "three")]
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda folder: macs.write_folder(mac, folder), folders))
    for name, shared in (("authorized_keys", macs.KEY.with_suffix(".pub")), ("admin.passwd", None)):
        texts = {(folder / name).read_text(encoding="utf-8") for folder in folders}
        assert len(texts) == 1
        assert shared is None or texts == {shared.read_text(encoding="utf-8")}
    assert (folders[0] / "admin.passwd").read_text(encoding="utf-8").startswith("admin:$6$")


def test_no_client_of_this_machine_takes_a_stand_ins_port() -> None:
    """A port that Linux gave to a client cannot be listened on until a minute after the connection has ended."""
    first = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="utf-8").split()[0])
    ports = [mac.ssh_port - core.PORT_OFFSET for mac in macs.known().values()]
    assert len(set(ports)) == len(ports)
    assert [port for port in ports if not 1024 <= port < first] == []
