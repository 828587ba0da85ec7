# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""builder_verify with a real Nix at both ends and a real sshd between. Run as root inside a stand-in.

The builder is no VM here but another Nix store in a namespace of its own behind an sshd of its own. So its kernel is the
stand-in's, and own_boot_id() has to be told that this host, like a Mac, has none. The VM is what molecule is for.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import os
import signal
import subprocess
import threading
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _verify
from ansible_collections.nixmac.linux_builder.plugins.module_utils._daemon_busy import CURRENT_LOAD
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import ConfigError, StateError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._verify_ssh import Target

ALIAS = "verify-guest"
PORT = 22099
URI = f"ssh-ng://root@{ALIAS}"
SYSTEM = "riscv64-linux"  # nothing but the builder of this test offers it
MACHINES = Path("/etc/nix/machines")
ALIAS_FILE = Path("/etc/ssh/ssh_config.d/001-verify-guest.conf")

GUEST_CONF = f"system = {SYSTEM}\nsandbox = false\nsubstituters =\nbuild-users-group =\nexperimental-features = nix-command\n"
GUEST_CONF += "system-features = has-this\n"


class FakeGuest:
    """An sshd whose every session runs beside a /nix of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "nix").mkdir()
        (root / "conf").mkdir()
        (root / "conf/nix.conf").write_text(GUEST_CONF)
        for name in ("host", "key", "stranger"):
            subprocess.run(
                ["/usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(root / name)], check=True
            )
        (root / "authorized").write_bytes((root / "key.pub").read_bytes())
        inside = (
            f"mount --bind {root}/nix /nix && export NIX_CONF_DIR={root}/conf NIX_REMOTE= PATH=/usr/bin:/bin && "
            # Not left in the environment: Nix takes a store path in there for one in use.
            'exec env -u SSH_ORIGINAL_COMMAND /bin/sh -c "$SSH_ORIGINAL_COMMAND"'
        )
        (root / "session").write_text(f"#!/bin/sh\nexec /usr/bin/unshare -Urm /bin/sh -c '{inside}'\n")
        (root / "session").chmod(0o755)
        (root / "sshd_config").write_text(
            f"Port {PORT}\nListenAddress 127.0.0.1\nHostKey {root}/host\nAuthorizedKeysFile {root}/authorized\n"
            "PermitRootLogin yes\nStrictModes no\nPasswordAuthentication no\nUsePAM no\nPidFile none\n"
            f"ForceCommand {root}/session\n"
        )
        self.sshd: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        argv = ["/usr/sbin/sshd", "-D", "-f", str(self.root / "sshd_config"), "-E", str(self.root / "sshd.log")]
        self.sshd = subprocess.Popen(argv)
        deadline = time.monotonic() + 20
        while "listening" not in self.log() and time.monotonic() < deadline:
            time.sleep(0.05)

    def log(self) -> str:
        file = self.root / "sshd.log"
        return file.read_text() if file.exists() else ""

    def stop(self) -> None:
        if self.sshd is not None:
            self.sshd.send_signal(signal.SIGTERM)
            self.sshd.wait(timeout=10)
            (self.root / "sshd.log").unlink()
            self.sshd = None

    @property
    def host_key(self) -> str:
        return base64.b64encode((self.root / "host.pub").read_bytes()).decode()

    def entry(self, **changes: str) -> str:
        fields = {"uri": URI, "systems": SYSTEM, "key": str(self.root / "key"), "jobs": "1", "features": "-", **changes}
        return "{uri} {systems} {key} {jobs} 1 {features} - {host_key}\n".format(**{"host_key": self.host_key, **fields})

    def store(self) -> list[str]:
        found = self.root / "nix/store"
        return [name for name in os.listdir(found) if "proof" in name] if found.exists() else []


@pytest.fixture(name="guest")
def fixture_guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[FakeGuest]:
    tmp_path.chmod(0o755)
    guest = FakeGuest(tmp_path)
    machines = MACHINES.read_bytes() if MACHINES.exists() else None
    MACHINES.write_text(guest.entry())
    ALIAS_FILE.write_text(
        f"Host {ALIAS}\n  HostName 127.0.0.1\n  HostKeyAlias {ALIAS}\n  Port {PORT}\n"
        f"  IdentityFile {guest.root}/key\n  IdentitiesOnly yes\n  ConnectTimeout 5\n"
    )
    monkeypatch.setattr(_verify, "own_boot_id", lambda: None)
    guest.start()
    try:
        yield guest
    finally:
        guest.stop()
        ALIAS_FILE.unlink()
        MACHINES.unlink()
        if machines is not None:
            MACHINES.write_bytes(machines)


def target(guest: FakeGuest, **changes: t.Any) -> Target:
    base = Target(uri=URI, key=str(guest.root / "key"), alias=ALIAS, port=PORT, public_host_key=guest.host_key)
    return base._replace(**changes)


def verify(guest: FakeGuest, timeout: float = 60, **changes: t.Any) -> _verify.Verified:
    return _verify.verify(target(guest, **changes), [SYSTEM], timeout)


def failure(guest: FakeGuest, timeout: float = 60, **changes: t.Any) -> str:
    with pytest.raises(StateError) as caught:
        verify(guest, timeout, **changes)
    return caught.value.message


def proofs_here() -> list[str]:
    return [name for name in os.listdir("/nix/store") if "linux-builder-proof" in name and not name.endswith(".lock")]


def test_a_build_is_proven_and_nothing_of_it_stays(guest: FakeGuest) -> None:
    found = verify(guest)
    assert found.warnings == []
    proof = found.builds[0]
    assert proof.kernel == Path("/proc/version").read_text().strip()
    assert proof.boot_id == found.boot_id == Path(_verify.BOOT_ID).read_text().strip()
    assert proof.builder == URI
    assert 0 < proof.seconds < 30
    assert proofs_here() == []
    assert guest.store() == []


def test_each_run_builds_anew(guest: FakeGuest) -> None:
    assert verify(guest).builds[0].store_path != verify(guest).builds[0].store_path


def test_a_build_on_this_very_host_is_no_proof(guest: FakeGuest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert "on this host itself" in failure(guest)
    assert proofs_here() == []


def test_without_an_alias_the_port_is_named(guest: FakeGuest) -> None:
    assert verify(guest, alias="another").boot_id


def test_features_are_proven_by_a_build_that_requires_them(guest: FakeGuest) -> None:
    MACHINES.write_text(guest.entry(features="has-this"))
    found = _verify.verify(target(guest), [SYSTEM], 60, features=["has-this"])
    assert [proof.features for proof in found.builds] == [(), ("has-this",)]
    assert proofs_here() == []
    assert guest.store() == []


def test_a_feature_that_only_the_entry_has_is_named(guest: FakeGuest) -> None:
    MACHINES.write_text(guest.entry(features="has-this,not-this"))
    with pytest.raises(StateError, match="Without has-this, not-this the build was made"):
        _verify.verify(target(guest), [SYSTEM], 60, features=["has-this", "not-this"])
    assert proofs_here() == []


def test_a_user_whom_nobody_trusts_builds_too(guest: FakeGuest) -> None:
    found = _verify.verify(target(guest), [SYSTEM], 60, user="alice")
    assert [proof.user for proof in found.builds] == ["root", "alice"]
    assert {proof.boot_id for proof in found.builds} == {found.boot_id}
    assert proofs_here() == []
    assert guest.store() == []


def test_the_phases_and_versions_are_told(guest: FakeGuest) -> None:
    found = verify(guest)
    phases = found.builds[0].phases
    assert all(isinstance(phases[name], float) for name in ("connect", "copy", "build", "fetch")), phases
    assert sum(seconds or 0 for seconds in phases.values()) <= found.builds[0].seconds
    assert found.versions["mac"] == found.versions["guest"] != ""


def test_a_guest_that_is_not_there(guest: FakeGuest) -> None:
    guest.stop()
    assert f"does not answer on 127.0.0.1:{PORT}" in failure(guest)


def test_a_guest_that_comes_up_late_is_waited_for(guest: FakeGuest) -> None:
    guest.stop()
    late = threading.Timer(3, guest.start)
    late.start()
    try:
        assert _verify.verify(target(guest), [SYSTEM], 60, boot_timeout=60).boot_id
    finally:
        late.join()


def test_a_guest_that_has_another_key_authorized(guest: FakeGuest) -> None:
    (guest.root / "authorized").write_bytes((guest.root / "stranger.pub").read_bytes())
    assert "another public half" in failure(guest)


def test_a_key_that_is_gone(guest: FakeGuest) -> None:
    (guest.root / "key").unlink()
    text = failure(guest)
    assert f"{guest.root}/key" in text
    assert "credentials" in text


def test_a_key_that_others_can_read(guest: FakeGuest) -> None:
    (guest.root / "key").chmod(0o644)
    assert "read by others" in failure(guest)


def test_a_guest_with_another_host_key(guest: FakeGuest) -> None:
    stranger = base64.b64encode((guest.root / "stranger.pub").read_bytes()).decode()
    MACHINES.write_text(guest.entry(host_key=stranger))
    # Our own ssh holds the VM to the key that it was told, and gets in.
    assert "names another key, user or host key" in failure(guest)
    assert "not the one that Nix was told" in failure(guest, public_host_key=stranger)


def test_our_own_connection_is_held_to_the_host_key_too(guest: FakeGuest) -> None:
    stranger = base64.b64encode((guest.root / "stranger.pub").read_bytes()).decode()
    text = failure(guest, public_host_key=stranger)
    assert "does not tell its boot id" in text
    assert proofs_here() == []


def test_no_entry_for_the_system(guest: FakeGuest) -> None:
    MACHINES.write_text(guest.entry(systems="i686-linux"))
    text = failure(guest)
    assert f"knows no builder for {SYSTEM}" in text
    assert "delegation" in text


def test_a_malformed_line(guest: FakeGuest) -> None:
    MACHINES.write_text(guest.entry(jobs="many"))
    assert "malformed" in failure(guest)


def test_no_alias_file(guest: FakeGuest) -> None:
    text = ALIAS_FILE.read_text()
    ALIAS_FILE.write_text("")
    try:
        assert "ssh_config.d" in failure(guest)
    finally:
        ALIAS_FILE.write_text(text)


def test_a_guest_without_nix(guest: FakeGuest) -> None:
    session = guest.root / "session"
    session.write_text("#!/bin/sh\necho 'sh: nix-daemon: command not found' >&2\nexit 127\n")
    assert "not Nix" in failure(guest)


def test_all_slots_taken(guest: FakeGuest) -> None:
    os.makedirs(CURRENT_LOAD, exist_ok=True)
    slot = os.path.join(CURRENT_LOAD, URI.replace("/", "_") + "-0")
    with open(slot, "wb") as stream, contextlib.ExitStack() as stack:
        stack.callback(os.unlink, slot)
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert "busy" in failure(guest, timeout=4)


def test_nothing_stays_of_a_build_that_did_not_happen(guest: FakeGuest) -> None:
    guest.stop()
    failure(guest)
    assert proofs_here() == []


def test_an_unknown_system_is_refused_before_anything_is_built(guest: FakeGuest) -> None:
    with pytest.raises(ConfigError):
        _verify.verify(target(guest), ['x"; y'], 5)
