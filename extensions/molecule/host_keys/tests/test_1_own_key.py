# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A fresh Mac gets a builder with a host key of its own in one run of site.yml."""

from __future__ import annotations

import keys
import macs
import pytest


@pytest.fixture(scope="module")
def first_run(stand_in: macs.StandIn) -> macs.Played:
    with keys.sampled_ps(stand_in):
        return macs.play("site", *keys.OWN, "-vvvv", "--diff")


def test_the_first_run_gives_the_guest_its_own_key_and_proves_a_build(first_run: macs.Played, mac: macs.Mac) -> None:
    assert first_run.rc == 0, first_run.output[-6000:]
    keys.check_own(mac)


def test_the_image_holds_no_host_key(first_run: macs.Played, mac: macs.Mac) -> None:
    closure = mac.shell(f"nix-store -qR {macs.PROFILE}").split()
    (script,) = [path for path in closure if path.endswith("-guest-configuration")]
    assert keys.own_key(mac).split()[1] not in mac.read(script)
    assert mac.guest("test", "-e", "/etc/ssh/ssh_host_ed25519_key").rc != 0


def test_users_of_the_guest_cannot_read_the_key(first_run: macs.Played, mac: macs.Mac) -> None:
    for path in ("/var/keys/ssh_host_ed25519_key", "/run/linux-builder-host-key/ssh_host_ed25519_key"):
        assert mac.guest("cat", path).rc != 0
    assert mac.listing(keys.HOST_KEY)[0] == "-rw-------"


def test_no_secret_is_in_the_store_the_logs_the_process_list_or_the_output(
    first_run: macs.Played, mac: macs.Mac, stand_in: macs.StandIn
) -> None:
    places = ["/nix/store", "/var/log", "/tmp", keys.SAMPLES, "/etc/nix/nix.conf", macs.MACHINES, macs.PLIST]
    assert int(stand_in.root("/bin/sh", "-c", f"wc -l < {keys.SAMPLES}")) > 1000
    for number, secret in enumerate(keys.secrets(mac)):
        assert secret not in first_run.output, f"secret {number} in the output"
        script = f"cat > /var/tmp/pattern; grep -rlaF -f /var/tmp/pattern {' '.join(places)}; rm /var/tmp/pattern"
        found = stand_in.root("/bin/sh", "-c", script, stdin=secret)
        assert not found, f"secret {number} in {found}"
    # The search itself finds what is there.
    secret = keys.secrets(mac)[1]
    assert macs.KEY in stand_in.root(
        "/bin/sh", "-c", "cat > /var/tmp/p; grep -rlaF -f /var/tmp/p /etc/nix; rm /var/tmp/p", stdin=secret
    )


def test_a_second_run_changes_nothing(first_run: macs.Played) -> None:
    played = macs.play("site", *keys.OWN)
    assert (played.rc, played.changed()) == (0, 0), played.output[-6000:]


def refused_before_login(mac: macs.Mac) -> None:
    """A build fails for want of the builder, and the daemon's ssh has met the impostor but has not gone on to log in."""
    mac.shell(f": > {keys.IMPOSTOR}/log")
    done = keys.build(mac)
    assert done.rc != 0
    assert "cannot build on 'ssh-ng://builder@linux-builder'" in done.stderr, done.stderr
    log = mac.read(f"{keys.IMPOSTOR}/log")
    assert "127.0.0.1" in log
    assert "user builder" not in log, log


def test_an_impostor_with_the_published_key_is_refused(first_run: macs.Played, mac: macs.Mac, stand_in: macs.StandIn) -> None:
    stock = keys.stock_key()
    with keys.impostor(mac, stand_in):
        # Who pins the published key believes the impostor: the ssh of that Mac goes on to log in.
        mac.shell(f"echo 'linux-builder {stock}' > {keys.IMPOSTOR}/stock")
        assert "Permission denied" in keys.shown_key(mac, f"{keys.IMPOSTOR}/stock").stderr
        assert "user builder" in mac.read(f"{keys.IMPOSTOR}/log")
        refused_before_login(mac)
        # A line that an administrator once wrote for the whole Mac does not vouch for it either.
        lines = f"'linux-builder {stock}' '[127.0.0.1]:{macs.PORT} {stock}' '* {stock}'"
        mac.shell(f"printf '%s\\n' {lines} > /etc/ssh/ssh_known_hosts")
        refused_before_login(mac)
    played = macs.play("site", *keys.OWN)
    assert played.rc == 0, played.output[-6000:]
    assert keys.build(mac).rc == 0
