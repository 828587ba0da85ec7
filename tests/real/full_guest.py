# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A configured guest, built through the running builder and in effect: the stand-in's launchd, real QEMU, the lab's guest.

The tests of this file build on one another, in their order, because each boot takes a while under emulation. It is not
part of `make test`, but of `make test-full`: it boots the VM four times.
"""

from __future__ import annotations

import os
import shlex
import socket
import struct
import subprocess
import threading
import time
import typing as t

import pytest
from builder_under_test import Mac, wait_for

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _builder_plan, _nix_expression
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_layout import ssh_options
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError, LinuxBuilderError
from ansible_collections.nixmac.linux_builder.tests.real.company_network import Company, Signed, nix

PORT = 31932
AHEAD = 40  # seconds by which the lab's time server is ahead: seen in the guest, and less than a skew that restarts it
MODULE = """
{ lib, ... }: {
  environment.etc."lab-note".text = "built for Linux, in the guest";
  systemd.services.lab-note = {
    wantedBy = [ "multi-user.target" ];
    serviceConfig.Type = "oneshot";
    script = "echo $LAB_NOTE > /run/lab-note";
    environment.LAB_NOTE = "by a unit of the user's";
  };
}  # a comment at the end
"""


class TimeServer(threading.Thread):
    """SNTP on 127.0.0.1, port 123, which the guest sees as 10.0.2.2; its clock is AHEAD."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.asked = 0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 123))
        self.start()

    def run(self) -> None:
        while True:
            try:
                question, address = self.socket.recvfrom(512)
            except OSError:
                return
            self.asked += 1
            now = int((time.time() + AHEAD + 2208988800) * 2**32)
            # Leap 0, version 4, mode 4 (server); stratum 1; then delay and dispersion; who we are; the question's time.
            head = struct.pack("!BBBbII4s", 0o44, 1, 6, -20, 1, 1, b"LAB\0")
            self.socket.sendto(head + struct.pack("!Q8sQQ", now, question[40:48], now, now), address)


class Guest(Mac):
    """The builder of this file and what the tests ask its guest."""

    def setting(self, name: str) -> str:
        return self.guest(f"nix --extra-experimental-features nix-command config show {name}")

    def size(self) -> int:
        """Size of the guest's data disk's file system, in MiB."""
        return int(self.guest("df -BM --output=size /nix | tail -n 1").strip().rstrip("M"))


class Lab(t.NamedTuple):
    """The builder, the company's network around it, and what its guest shall be."""

    mac: Guest
    company: Company
    keys: Signed
    clock: TimeServer
    wanted: dict[str, t.Any]


@pytest.fixture(name="lab", scope="module")
def fixture_lab(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Lab]:
    directory = tmp_path_factory.mktemp("guest")
    mac, company, keys = Guest(directory, "guest", PORT), Company(directory / "company"), Signed(directory / "signed")
    clock = TimeServer()
    wanted = {
        "config": MODULE,
        "min_free_mib": 512,
        "max_free_mib": 768,
        "proxy": company.proxy.url,
        "no_proxy": [".lab.example"],
        "substituters": [company.url],
        "trusted_public_keys": [keys.public],
        "time_servers": ["10.0.2.2"],
        "ca_file": company.public,
        "disk_mib": 4096,
    }
    yield Lab(mac, company, keys, clock, wanted)
    company.close()
    clock.socket.close()
    mac.close()


def only_in_cache(lab: Lab, name: str) -> str:
    """Store path of something for Linux that only the company's cache has: made by the guest, signed, and deleted there."""
    making = 'read -r kernel _ < /proc/version; echo "$kernel $name" > "$out"'
    expression = f"""derivation {{
      name = {_nix_expression.string(name)}; system = "x86_64-linux"; builder = "/bin/sh";
      args = [ "-c" {_nix_expression.string(making)} ]; allowSubstitutes = false;
    }}"""
    build = "nix --extra-experimental-features nix-command build --offline --impure --no-link --print-out-paths"
    path = lab.mac.guest(f"{build} --expr {shlex.quote(expression)}")
    options = " ".join((*ssh_options(lab.mac.layout.known_hosts, lab.mac.key, 20), "-o", "HostName=127.0.0.1", "-p", str(PORT)))
    environment = {"NIX_SSHOPTS": options, "HOME": "/var/root", "PATH": "/usr/bin:/bin"}
    copy = ["/nix/var/nix/profiles/default/bin/nix", "--extra-experimental-features", "nix-command", "copy", "--no-check-sigs"]
    subprocess.run([*copy, "--from", "ssh-ng://builder@linux-builder", path], env=environment, check=True, timeout=120)
    lab.keys.push(path, lab.company.files)
    nix("store", "delete", path)
    lab.mac.guest(f"nix --extra-experimental-features nix-command store delete {path}")
    assert lab.mac.ask(f"test -e {path}").returncode != 0
    return path


def fetch(lab: Lab, path: str) -> subprocess.CompletedProcess[str]:
    """Let the guest's Nix daemon substitute a path."""
    return lab.mac.ask(f"nix --extra-experimental-features nix-command build --no-link {path}")


def test_where_no_builder_runs_the_message_says_what_needs_linux_and_what_comes_first(lab: Lab) -> None:
    with pytest.raises(CommandError, match="guest-configuration.drv has to be built on x86_64-linux") as caught:
        lab.mac.run(config=MODULE)
    assert "deploy the stock builder first" in caught.value.message
    assert f"127.0.0.1 port {PORT} does not answer" in caught.value.message
    assert not os.path.lexists(lab.mac.params["profile"])


def test_the_stock_guest_comes_first_with_options_that_are_the_macs_alone(lab: Lab) -> None:
    report = lab.mac.run(**{**lab.wanted, "disk_mib": 3072, "stock_guest": True})
    assert not os.path.exists(f"{report.result['store_path']}/system/guest-configuration")
    assert lab.mac.setting("min-free") == "1073741824"
    assert lab.mac.setting("substituters") == ""
    assert lab.mac.ask("test -e /etc/lab-note").returncode != 0
    assert 2500 < lab.mac.size() < 3072


def test_a_configured_guest_is_built_by_the_running_one_and_replaces_it(lab: Lab) -> None:
    before = lab.mac.boot_id()
    report = lab.mac.run(**lab.wanted)
    built = os.path.realpath(f"{report.result['store_path']}/system/guest-configuration")
    assert lab.mac.guest(f"test -e {built} && echo there") == "there"  # its own store has it: it was built there
    assert lab.mac.boot_id() != before
    assert lab.mac.guest("cat /etc/lab-note") == "built for Linux, in the guest"
    assert lab.mac.guest("cat /run/lab-note") == "by a unit of the user's"


def test_the_settings_of_its_nix_are_in_effect(lab: Lab) -> None:
    assert lab.mac.setting("min-free") == str(512 * 1024 * 1024)
    assert lab.mac.setting("max-free") == str(768 * 1024 * 1024)
    assert lab.mac.setting("substituters") == lab.company.url
    assert lab.keys.public in lab.mac.setting("trusted-public-keys")
    assert lab.mac.setting("fsync-store-paths") == "true"


def test_its_nix_daemon_has_the_proxy_under_the_address_that_the_guest_sees(lab: Lab) -> None:
    words = lab.mac.guest("systemctl show nix-daemon --property Environment").partition("=")[2].split()
    seen = f"http://10.0.2.2:{lab.company.proxy.port}"
    assert {f"http_proxy={seen}", f"https_proxy={seen}", "no_proxy=127.0.0.1,localhost,.lab.example"} <= set(words)


def test_its_clock_is_that_of_the_time_server(lab: Lab) -> None:
    wait_for(lambda: lab.clock.asked > 0)
    wait_for(lambda: int(lab.mac.guest("date +%s")) - time.time() > AHEAD - 15)
    assert int(lab.mac.guest("date +%s")) - time.time() < AHEAD + 15


def test_its_file_system_has_grown_with_its_disk_and_kept_its_store(lab: Lab) -> None:
    assert 3500 < lab.mac.size() < 4096
    lab.mac.guest("nix-store --verify --check-contents")


def test_a_second_run_changes_nothing(lab: Lab) -> None:
    before = lab.mac.boot_id()
    assert not lab.mac.run(**lab.wanted).changed
    assert lab.mac.boot_id() == before


def test_without_the_companys_authority_the_guest_substitutes_nothing_and_says_why(lab: Lab) -> None:
    path = only_in_cache(lab, "for-the-refused")
    done = fetch(lab, path)
    assert done.returncode != 0
    assert "certificate" in done.stderr
    assert any(line.startswith(f"broken {lab.company.host} ") for line in lab.company.proxy.log)


def test_with_it_the_guest_substitutes_through_the_proxy_after_a_restart_without_a_build(lab: Lab) -> None:
    generation = _builder_plan.read_generation(lab.mac.params["profile"])
    path = only_in_cache(lab, "for-the-trusted")
    lab.wanted["ca_file"] = lab.company.bundle
    assert lab.mac.run(**lab.wanted).changed
    assert _builder_plan.read_generation(lab.mac.params["profile"]) == generation
    lab.company.proxy.log.clear()
    done = fetch(lab, path)
    assert done.returncode == 0, done.stderr
    assert lab.mac.guest(f"cat {path}") == "Linux for-the-trusted"
    assert any(line.endswith(".narinfo") and lab.company.host in line for line in lab.company.proxy.log)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("{ environment.etc = ", "Correct the NixOS module in config"),
        ('{ environment.etx."a".text = ""; }', "The option `environment.etx"),
        ("{ nix.settings.min-free = 5; }", "nix.settings.min-free"),
    ],
)
def test_a_module_that_is_wrong_stops_nothing(lab: Lab, config: str, words: str) -> None:
    before = lab.mac.boot_id()
    with pytest.raises(LinuxBuilderError) as caught:
        lab.mac.run(**{**lab.wanted, "config": config})
    assert words in caught.value.message
    assert lab.mac.boot_id() == before


def test_without_options_the_stock_guest_comes_back_and_nothing_is_built_for_it(lab: Lab) -> None:
    report = lab.mac.run(disk_mib=None)
    assert report.changed
    assert not os.path.exists(f"{report.result['store_path']}/system/guest-configuration")
    assert lab.mac.ask("test -e /etc/lab-note").returncode != 0
    assert lab.mac.setting("min-free") == "1073741824"
    assert 3500 < lab.mac.size() < 4096
