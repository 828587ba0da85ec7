# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What these tests do to a Mac beyond those of `default`: samples of ps, an impostor, a search for secrets."""

from __future__ import annotations

import contextlib
import re
import time
import typing as t

import macs

HOST_KEY = f"{macs.WORKING_DIRECTORY}/keys/ssh_host_ed25519_key"
KNOWN_HOSTS = f"{macs.WORKING_DIRECTORY}/known_hosts"
OWN = ("--extra-vars=linux_builder_host_key=per_mac",)
STOCK_PRIVATE = macs.ROOT / ".cache" / "lab" / "ssh" / "guest" / "ssh_host_ed25519_key"
PASSWORD = macs.ROOT / ".cache" / "lab" / "ssh" / "sudo-password"
SAMPLES = "/var/tmp/ps-samples"
IMPOSTOR = "/var/tmp/impostor"


def key_of(line: str) -> str:
    """`type base64` in a .pub line or known_hosts line."""
    match = re.search(r"(ssh-ed25519) ([A-Za-z0-9+/=]+)", line)
    assert match, line
    return f"{match[1]} {match[2]}"


def own_key(mac: macs.Mac) -> str:
    """The Mac's own host key for the guest."""
    return key_of(mac.read(f"{HOST_KEY}.pub"))


def shown_key(mac: macs.Mac, known_hosts: str = KNOWN_HOSTS) -> t.Any:
    """Log in to the guest with exactly that pinned key; rc is 0 if it is the guest's."""
    return log_in(mac, macs.KEY, known_hosts)


def log_in(mac: macs.Mac, key: str, known_hosts: str = KNOWN_HOSTS) -> t.Any:
    """Log in to the guest with that client key and that pinned key, and with nothing else that the Mac has."""
    only = (
        "BatchMode=yes",
        "IdentitiesOnly=yes",
        "GlobalKnownHostsFile=/dev/null",
        "StrictHostKeyChecking=yes",
        "ConnectTimeout=5",
    )
    options = [
        word for option in (*only, "HostKeyAlias=linux-builder", f"UserKnownHostsFile={known_hosts}") for word in ("-o", option)
    ]
    return mac.run("/usr/bin/ssh", "-F", "/dev/null", "-i", key, "-p", str(macs.PORT), *options, "builder@127.0.0.1", "true")


def pinned_key(mac: macs.Mac) -> str:
    """The host key in field 8 of the machines entry."""
    return key_of(mac.shell(f"awk '/^ssh-ng:/ {{ print $8 }}' {macs.MACHINES} | base64 -d"))


def stock_key() -> str:
    """The host key of the stock image, which here is the lab's."""
    return key_of((STOCK_PRIVATE.parent / "ssh_host_ed25519_key.pub").read_text())


def check_own(mac: macs.Mac) -> None:
    """The guest has a host key of the Mac's own, and only that one is pinned, for us and for the Nix daemon."""
    own = own_key(mac)
    assert own != stock_key()
    assert key_of(mac.read(KNOWN_HOSTS)) == own
    assert pinned_key(mac) == own
    assert shown_key(mac).rc == 0


def check_stock(mac: macs.Mac) -> None:
    """The stock key is the pinned one."""
    assert pinned_key(mac) == stock_key()
    assert key_of(mac.read(KNOWN_HOSTS)) == stock_key()


def build(mac: macs.Mac) -> t.Any:
    """A new Linux derivation through the daemon, as an ordinary user's would go."""
    name = f"probe-{time.time_ns()}"
    text = (
        f'derivation {{ name = "{name}"; system = "x86_64-linux"; builder = "/bin/sh"; '
        'args = [ "-c" "read -r v < /proc/version; echo $v > $out" ]; allowSubstitutes = false; }'
    )
    nix = ("/nix/var/nix/profiles/default/bin/nix", "--extra-experimental-features", "nix-command")
    options = ("--no-link", "--max-jobs", "0", "--option", "substitute", "false")
    return mac.run("/usr/bin/env", "NIX_REMOTE=daemon", *nix, "build", *options, "--expr", text)


@contextlib.contextmanager
def sampled_ps(stand_in: macs.StandIn) -> t.Iterator[None]:
    """Keep what ps shows on the Mac, several times a second, in SAMPLES."""
    loop = f"while [ ! -e {SAMPLES}.stop ]; do /bin/ps -axwwe -o args; sleep 0.2; done > {SAMPLES} 2>&1"
    stand_in.root("/bin/rm", "-f", f"{SAMPLES}.stop")
    stand_in.root("/bin/sh", "-c", f"nohup /bin/sh -c {macs.shlex.quote(loop)} >/dev/null 2>&1 </dev/null &")
    try:
        yield
    finally:
        stand_in.root("/usr/bin/touch", f"{SAMPLES}.stop")


@contextlib.contextmanager
def impostor(mac: macs.Mac, stand_in: macs.StandIn) -> t.Iterator[None]:
    """An sshd on the builder's port with the private key of the stock image, as any user of the Mac could run."""
    stand_in.root("/bin/sh", "-c", f"mkdir -p {IMPOSTOR} && umask 077 && cat > {IMPOSTOR}/key", stdin=STOCK_PRIVATE.read_text())
    mac.run("/bin/launchctl", "bootout", f"system/{macs.LABEL}")
    macs.poll("the VM is gone", lambda: not mac.listeners(macs.PORT), 90)
    # Not through Ansible: its connection would wait for what the daemon inherits.
    argv = f"/usr/sbin/sshd -f /dev/null -h {IMPOSTOR}/key -p {macs.PORT} -o ListenAddress=127.0.0.1"
    stand_in.root("/bin/sh", "-c", f"{argv} -o PidFile={IMPOSTOR}/pid -E {IMPOSTOR}/log </dev/null >/dev/null 2>&1")
    macs.poll("the impostor listens", lambda: mac.exists(f"{IMPOSTOR}/pid"), 20)
    try:
        yield
    finally:
        stand_in.root("/bin/sh", "-c", f"kill $(cat {IMPOSTOR}/pid); rm -rf {IMPOSTOR}")
        mac.run("/bin/rm", "-f", "/etc/ssh/ssh_known_hosts")


def secrets(mac: macs.Mac) -> list[str]:
    """A line from the middle of each private key's base64, which no public form has, and the sudo password."""
    found = [PASSWORD.read_text().strip()]
    for path in (macs.KEY, HOST_KEY):
        lines = mac.read(path).splitlines()
        found.append(lines[3][:60])
    return found
