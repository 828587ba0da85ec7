# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each link broken, one at a time: the diagnosis names it first and nothing worse; fix as told, and a build is verified."""

from __future__ import annotations

import dataclasses
import typing as t

import diagnosis
import macs
import pytest
from diagnosis import Guest, diagnose, follow, guest, verify, wait_until_sound

__all__ = ["guest"]

NIX_CONF = "/etc/nix/nix.conf"
DAEMON = "org.nixos.nix-daemon"
DAEMON_PLIST = f"/Library/LaunchDaemons/{DAEMON}.plist"
RUNNER = f"{macs.WORKING_DIRECTORY}/run-builder"
VM_PID = f"{macs.WORKING_DIRECTORY}/run/vm.pid"
KEYS = f"{macs.WORKING_DIRECTORY}/keys"
CURRENT_LOAD = "/nix/var/nix/current-load"
OTHER_KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIJBWcxb/Blaqt1auOtE+F8QUWrUotiC5qBJ+UuEWdVCb"

# Keep and put back a file with its mode and owner, or that there was none.
KEEP = 'keep() { mkdir -p /var/tmp/kept && cp -a "$1" "/var/tmp/kept/$(echo "$1" | tr / _)"; }; '
BACK = 'back() { k="/var/tmp/kept/$(echo "$1" | tr / _)"; [ ! -e "$k" -a ! -L "$k" ] || { rm -rf "$1"; mv "$k" "$1"; }; }; '
# Take the builder down and wait for its end. A job that is down already stays so.
DOWN = (
    f"launchctl bootout system/{macs.LABEL} 2>/dev/null; n=0; "
    f"while launchctl print system/{macs.LABEL} >/dev/null 2>&1 && [ $n -lt 900 ]; do sleep 0.1; n=$((n+1)); done; "
)
# Hold locks as nothing of Nix would.
HOLD = (
    "import fcntl, os, sys, time\n"
    f"files = [open(os.path.join('{CURRENT_LOAD}', 'ssh-ng:__builder@linux-builder-%d' % n), 'w') for n in range(64)]\n"
    "for file in files: fcntl.flock(file, fcntl.LOCK_EX)\n"
    "open('/var/tmp/held', 'w').close()\n"
    "time.sleep(600)\n"
)
LISTEN = (
    "import socket, time\ns = socket.socket()\ns.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n"
    f"s.bind(('127.0.0.1', {macs.PORT}))\ns.listen(8)\nopen('/var/tmp/listening', 'w').close()\ntime.sleep(600)\n"
)
_SSH = f"ssh -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -p {macs.PORT}"
# Logins with a key that the guest does not know, until its sshd has enough; and waiting until it forgets.
LOCK_OUT = (
    "rm -f /var/tmp/stranger*; ssh-keygen -q -t ed25519 -N '' -f /var/tmp/stranger; n=0; "
    f"while ! {_SSH} -v -i /var/tmp/stranger builder@127.0.0.1 true 2>&1 | grep -q 'Not allowed' && [ $n -lt 30 ]; "
    "do n=$((n+1)); done"
)
LET_IN = (
    f"n=0; while ! {_SSH} -i {macs.KEY} builder@127.0.0.1 true 2>/dev/null && [ $n -lt 240 ]; do sleep 1; n=$((n+1)); done; "
    "rm -f /var/tmp/stranger*"
)


@dataclasses.dataclass(frozen=True)
class Fault:
    """broken, restored: scripts for root on the Mac, or in the guest (`inside`). fixed: follow the fix and verify.

    options: of builder_info. also: what else may be broken because of it.
    """

    name: str
    broken: str
    restored: str = ""
    inside: bool = False
    fixed: bool = False
    options: dict[str, t.Any] = dataclasses.field(default_factory=dict)

    @property
    def restores_nothing(self) -> bool:
        return not self.restored


def edited(path: str, command: str) -> tuple[str, str]:
    """(break, restore) for a file that a command changes in place; the command's last argument is added."""
    return f"{KEEP}keep {path}; {command} {path}", f"{BACK}back {path}"


def entry(field: int, value: str) -> tuple[str, str]:
    """(break, restore) for a field of the builder's machines entry."""
    return edited(macs.MACHINES, f"""sed -i -E 's|^(ssh-ng:\\S+( \\S+){{{field - 2}}}) \\S+|\\1 {value}|'""")


def gone(path: str) -> tuple[str, str]:
    """(break, restore) for a file that is moved away."""
    return f"{KEEP}keep {path}; rm -rf {path}", f"{BACK}back {path}"


def python(source: str, flag: str) -> str:
    """Start a Python program in the background and wait for the file that says it is at work."""
    quoted = macs.shlex.quote(source)
    return (
        f"rm -f {flag}; nohup /usr/bin/python3 -c {quoted} >/dev/null 2>&1 </dev/null & "
        f"echo $! > /var/tmp/fault.pid; n=0; while [ ! -e {flag} ] && [ $n -lt 300 ]; do sleep 0.1; n=$((n+1)); done; "
    )


KILL = "kill -9 $(cat /var/tmp/fault.pid) 2>/dev/null; true"

ON_THE_MAC = [
    Fault("macos.too_old", "", options={"minimum_macos": "99.0"}),
    Fault("virtualization.off", *edited("/etc/lab/mac.env", "sed -i 's/^MAC_HV_SUPPORT=.*/MAC_HV_SUPPORT=0/'")),
    Fault("nix.missing", "chmod a-x /usr/bin/nix", "chmod a+x /usr/bin/nix"),
    Fault("nix_conf.malformed", *edited(NIX_CONF, "sed -i '$a this is no line'")),
    Fault("nix_conf.malformed", *edited(NIX_CONF, "sed -i '$a include /etc/nix/none.conf'")),
    Fault("nix_conf.broken", *edited(NIX_CONF, "sed -i '$a cores = auto'")),
    Fault("builders.malformed", *entry(4, "many"), fixed=True),
    Fault("builders.not_reached", *edited(NIX_CONF, "sed -i '$a builders ='")),
    Fault("daemon_config.stale", *edited(NIX_CONF, "sed -i '$a max-jobs = 3'")),
    Fault("entry.missing", *edited(macs.MACHINES, "sed -i /^ssh-ng/d"), fixed=True),
    Fault("entry.system", *entry(2, "i686-linux"), fixed=True),
    Fault("entry.no_jobs", *entry(4, "0"), fixed=True),
    Fault("entry.feature", *entry(6, "benchmark"), fixed=True),
    Fault("trusted_users.missing", "", options={"trusted_users": ["alice"]}),
    Fault("key.missing", *gone(macs.KEY)),
    Fault("key.mode", f"chmod 644 {macs.KEY}", f"chmod 600 {macs.KEY}", fixed=True),
    Fault("key.owner", f"chown alice {macs.KEY}", f"chown root {macs.KEY}", fixed=True),
    Fault("key.damaged", *edited(macs.KEY, "sed -i 4d")),
    Fault("key.pub_other", *edited(f"{macs.KEY}.pub", f"sed -i 's,AAAA\\S*,{OTHER_KEY},'"), fixed=True),
    Fault("key.pub_missing", *gone(f"{macs.KEY}.pub"), fixed=True),
    Fault("key.passphrase", *edited(macs.KEY, "ssh-keygen -q -p -P '' -N secret -f")),
    Fault("key.no_file", f"{KEEP}keep {macs.KEY}; rm {macs.KEY}; mkdir {macs.KEY}", f"{BACK}back {macs.KEY}"),
    Fault("files.public_key", *edited(f"{KEYS}/builder_ed25519.pub", f"sed -i 's,AAAA\\S*,{OTHER_KEY},'"), fixed=True),
    Fault("files.runner", *gone(RUNNER), fixed=True),
    Fault("files.known_hosts", *gone(f"{macs.WORKING_DIRECTORY}/known_hosts"), fixed=True),
    Fault("files.closure", *gone(macs.PROFILE)),
    Fault("alias.missing", *gone(macs.SSH_ALIAS), fixed=True),
    Fault("alias.not_included", *edited("/etc/ssh/ssh_config", "sed -i '/^Include/d'")),
    Fault("alias.config", *edited(macs.SSH_ALIAS, "sed -i '$a NoSuchOption yes'")),
    Fault("alias.address", *edited(macs.SSH_ALIAS, "sed -i 's/HostName .*/HostName 192.0.2.1/'")),
    Fault("alias.port", *edited(macs.SSH_ALIAS, "sed -i 's/Port .*/Port 31099/'"), fixed=True),
    Fault("alias.host_key_alias", *edited(macs.SSH_ALIAS, "sed -i /HostKeyAlias/d")),
    Fault("host_key.other", *entry(8, "c3NoLWVkMjU1MTkg" + "QUFBQUMzTnphQzFsWkRJMU5URTVBQUFBSUpCV2N4Yi9CbGFxdDFhdU90RStGOFFVV3JVb3RpQzVxQkorVXVFV2RWQ2Igcm9vdEBuaXhvcwo="), fixed=True),  # fmt: skip  # noqa: E501
    Fault("host_key.unknown", *entry(8, "-")),
    Fault("offers.feature", *entry(6, "benchmark,big-parallel,gccarch-none")),
    Fault("offers.system", *entry(2, "x86_64-linux,riscv64-linux")),
    Fault("locks.stale", python(HOLD, "/var/tmp/held"), KILL, fixed=True),
    Fault("locks.unusable", f"mv {CURRENT_LOAD} {CURRENT_LOAD}.kept; touch {CURRENT_LOAD}",
          f"[ ! -d {CURRENT_LOAD}.kept ] || {{ rm -rf {CURRENT_LOAD}; mv {CURRENT_LOAD}.kept {CURRENT_LOAD}; }}"),  # fmt: skip
    Fault("nix_daemon.no_socket", "rm /nix/var/nix/daemon-socket/socket", f"launchctl kickstart -k system/{DAEMON}", fixed=True),
    Fault("nix_daemon.no_answer", f"kill -STOP $(launchctl print system/{DAEMON} | sed -n 's/^\\tpid = //p')",
          f"launchctl kickstart -k system/{DAEMON}", fixed=True),  # fmt: skip
    Fault("nix_daemon.disabled_later", f"launchctl disable system/{DAEMON}", f"launchctl enable system/{DAEMON}"),
    Fault("nix_daemon.not_loaded", f"launchctl bootout system/{DAEMON}",
          f"launchctl bootstrap system {DAEMON_PLIST}; true", fixed=True),  # fmt: skip
    Fault("nix_daemon.plist_invalid", f"{KEEP}keep {DAEMON_PLIST}; launchctl bootout system/{DAEMON}; "
          f"echo '<plist>' > {DAEMON_PLIST}",
          f"{BACK}back {DAEMON_PLIST}; launchctl bootstrap system {DAEMON_PLIST}; true"),  # fmt: skip
    Fault("nix_daemon.disabled", f"launchctl disable system/{DAEMON}; launchctl bootout system/{DAEMON}",
          f"launchctl enable system/{DAEMON}; launchctl bootstrap system {DAEMON_PLIST}; true", fixed=True),  # fmt: skip
    Fault("guest_ca.missing", *gone(f"{macs.WORKING_DIRECTORY}/tmp/certs/ca-certificates.crt")),
    Fault("process.stopped", f"kill -STOP $(cat {VM_PID})",
          f"kill -CONT $(cat {VM_PID})", fixed=True),  # fmt: skip
]  # fmt: skip

IN_THE_GUEST = [
    Fault("guest_dns.no_nameserver", *edited("/etc/resolv.conf", ": >"), inside=True),
    Fault("guest_dns.offline", *edited("/etc/nix/nix.conf", "sed -i 's,^substituters.*,substituters = https://cache.nixmac.invalid,'"),
          inside=True),  # fmt: skip
    Fault("guest_memory.low", "echo $(($(sed -n 's/^MemAvailable: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo) / 2048 - 40)) > "
          "/proc/sys/vm/nr_hugepages", "echo 0 > /proc/sys/vm/nr_hugepages", inside=True),  # fmt: skip
    Fault("guest_disk.full", "fallocate -l $(($(df -kP /nix/store | tail -n 1 | awk '{print $4}') - 100000))K /nix/fill",
          "rm -f /nix/fill", inside=True),  # fmt: skip
    Fault("guest_disk.read_only", "mount -o remount,ro,bind /nix", "mount -o remount,rw,bind /nix", inside=True),
    Fault("guest_trust.untrusted", "sed -i 's/^trusted-users.*/trusted-users = root/' /etc/nix/nix.conf; "
          "systemctl restart nix-daemon.service",
          "sed -i 's/^trusted-users.*/trusted-users = root builder/' /etc/nix/nix.conf; "
          "systemctl restart nix-daemon.service", inside=True),  # fmt: skip
    Fault("guest_nix.missing", "chmod a-x /usr/bin/nix", "chmod a+x /usr/bin/nix", inside=True),
    Fault("login.no_shell", "sed -i '/^builder:/s,:/bin/bash$,:/bin/false,' /etc/passwd",
          "sed -i '/^builder:/s,:/bin/false$,:/bin/bash,' /etc/passwd", inside=True),  # fmt: skip
    Fault("login.key_refused", "sed -i 's,^AuthorizedKeysFile.*,AuthorizedKeysFile /dev/null,' /etc/ssh/sshd_config; "
          "systemctl kill -s HUP ssh.service --kill-whom=main",
          "sed -i 's,^AuthorizedKeysFile.*,AuthorizedKeysFile /var/keys/%u_ed25519.pub,' /etc/ssh/sshd_config; "
          "systemctl kill -s HUP ssh.service --kill-whom=main", inside=True),  # fmt: skip
    Fault("ssh.no_answer", "systemctl kill -s STOP ssh.service --kill-whom=main",
          "systemctl kill -s CONT ssh.service --kill-whom=main", inside=True),  # fmt: skip
    Fault("ssh.closed", "systemctl stop ssh.service", "systemctl start ssh.service", inside=True),
    Fault("guest_nix.no_answer", "systemctl stop nix-daemon.socket nix-daemon.service",
          "systemctl start nix-daemon.socket", inside=True),  # fmt: skip
    Fault("ssh.locked_out", LOCK_OUT, LET_IN),
    # The last one: its fix is a new boot.
    Fault("clock.skewed", "date -s @$(($(date +%s) - 7200))", "date -s @$(($(date +%s) + 7200))", inside=True, fixed=True),
]  # fmt: skip

# Without a VM, in an order in which it has to boot as few times as can be.
DOWN_FAULTS = [
    Fault("job.not_loaded", DOWN),
    Fault("job.plist_invalid", f"{KEEP}{DOWN}keep {macs.PLIST}; echo '<plist>' > {macs.PLIST}", f"{BACK}back {macs.PLIST}"),
    Fault("job.plist_mode", f"{DOWN}chmod 666 {macs.PLIST}", f"chmod 644 {macs.PLIST}"),
    Fault("job.no_plist", f"{KEEP}{DOWN}keep {macs.PLIST}; rm {macs.PLIST}", f"{BACK}back {macs.PLIST}"),
    Fault("port.taken", DOWN + python(LISTEN, "/var/tmp/listening"), KILL),
    Fault("job.crash_loop", f"{KEEP}{DOWN}keep {RUNNER}; "
          f"printf '#!/bin/sh\\nexit 3\\n' > {RUNNER}; launchctl bootstrap system {macs.PLIST}; n=0; "
          f"while ! launchctl print system/{macs.LABEL} | grep -q 'last exit code = 3' && [ $n -lt 300 ]; do "
          "sleep 0.1; n=$((n+1)); done",
          f"{BACK}back {RUNNER}; {DOWN}"),  # fmt: skip
    Fault("process.none", f"{KEEP}{DOWN}keep {RUNNER}; "
          f"printf '#!/bin/sh\\nexec sleep 600\\n' > {RUNNER}; launchctl bootstrap system {macs.PLIST}",
          f"{BACK}back {RUNNER}; {DOWN}"),  # fmt: skip
    Fault("job.disabled", f"{DOWN}launchctl disable system/{macs.LABEL}", f"launchctl enable system/{macs.LABEL}; "
          f"launchctl bootstrap system {macs.PLIST}; true", fixed=True),  # fmt: skip
    Fault("job.disabled_later", f"launchctl disable system/{macs.LABEL}", f"launchctl enable system/{macs.LABEL}"),
]  # fmt: skip

ALL = [*ON_THE_MAC, *IN_THE_GUEST, *DOWN_FAULTS]


def named(fault: Fault) -> str:
    return fault.name


def on(fault: Fault, script: str, stand_in: macs.StandIn, root: Guest) -> None:
    """Run one of a fault's scripts where it belongs."""
    if script and fault.inside:
        root.root(f"{KEEP}{BACK}{script}")
    elif script:
        stand_in.root("/bin/sh", "-c", script)


@pytest.fixture(scope="session", autouse=True)
def sound(mac: macs.Mac) -> None:
    """Nothing here says anything on a Mac that has a fault of its own."""
    found = diagnose(mac)
    if found.first:
        pytest.exit("\n".join(["The Mac is not sound before the first fault:", *found.report]), returncode=1)


def test_a_converged_mac_is_sound(mac: macs.Mac) -> None:
    found = diagnose(mac)
    assert found.first == "", found.report
    assert {link["state"] for link in found.links.values()} == {"ok"}, found.report
    assert found.seconds < 60
    # builder_info's own, and about one for each link that is not a matter of files.
    assert found.processes <= 26, found.processes


@pytest.mark.parametrize("fault", ALL, ids=named)
def test_a_fault_is_named_and_nothing_worse(fault: Fault, mac: macs.Mac, stand_in: macs.StandIn, guest: Guest) -> None:
    try:
        on(fault, fault.broken, stand_in, guest)
        found = diagnose(mac, **fault.options)
        assert found.first == fault.name, "\n".join(found.report)
        assert found.others == [], "\n".join(found.report)
        assert found.seconds < 60
        link = found.links[fault.name.split(".")[0]]
        assert link["evidence"] or fault.name == "job.none"
        assert "{" not in link["fix"], link["fix"]
        if fault.fixed:
            follow(stand_in, link["fix"])
            wait_until_sound(mac)
            verify(mac)
    finally:
        if not fault.fixed or fault.name != "clock.skewed":
            on(fault, fault.restored, stand_in, guest)


def test_after_all_that_a_build_is_verified(mac: macs.Mac) -> None:
    wait_until_sound(mac)
    verify(mac)


def test_every_third_fault_is_fixed_as_told() -> None:
    assert len(ALL) >= 25
    assert sum(fault.fixed for fault in ALL) * 3 >= len(ALL)
    assert diagnosis.BOOT > 60
