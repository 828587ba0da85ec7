# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import json
import os
import plistlib

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _info, _preflight
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Completed, Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError

LABEL = "org.nixmac.linux-builder"
SYSCTL = "hw.ncpu: 8\nhw.memsize: 17179869184\nhw.optional.arm64: 1\nkern.hv_support: 1\n"
SETTINGS = {
    "builders": {"value": "@/etc/nix/machines", "defaultValue": "@/etc/nix/machines", "aliases": []},
    "access-tokens": {"value": {"example.org": "s3cret"}, "defaultValue": {}, "aliases": []},
    "trusted-users": {"value": ["root"], "defaultValue": ["root"], "aliases": []},
}


def loaded(label, pid=None, state="running"):
    lines = [
        f"system/{label} = {{",
        f"\tpath = /Library/LaunchDaemons/{label}.plist",
        f"\tstate = {state}",
        "",
        "\tdomain = system",
    ]
    return Completed((), 0, "\n".join([*lines, "\truns = 1", *([f"\tpid = {pid}"] if pid else []), "}"]) + "\n", "")


class Programs(Runner):
    """A Mac's programs by base name; a job that is not in `jobs` is unknown to launchd."""

    def __init__(self, jobs=(), lsof="", ps="", version="nix (Nix) 2.26.3\n", settings=None):
        super().__init__()
        self.jobs = dict(jobs)
        self.lsof = lsof
        self.ps = ps
        self.version = version
        self.settings = SETTINGS if settings is None else settings
        self.calls = []
        self.ssh = ""

    def run(self, argv, **options):
        self.started += 1
        self.calls.append(argv)
        return getattr(self, "_" + os.path.basename(argv[0]))(argv)

    def _sysctl(self, argv):
        return Completed(tuple(argv), 0, SYSCTL, "")

    def _nix(self, argv):
        if "--version" in argv:
            return Completed(tuple(argv), 0 if self.version else 1, self.version, "dyld: missing library")
        if isinstance(self.settings, str):
            return Completed(tuple(argv), 1, "", self.settings)
        return Completed(tuple(argv), 0, json.dumps(self.settings), "")

    def _launchctl(self, argv):
        label = argv[2].partition("/")[2]
        if label in self.jobs:
            return self.jobs[label]
        return Completed(tuple(argv), 113, "", f'Bad request.\nCould not find service "{label}" in domain for system\n')

    def _lsof(self, argv):
        return Completed(tuple(argv), 0 if self.lsof else 1, self.lsof, "")

    def _ssh(self, argv):
        return Completed(tuple(argv), 0, self.ssh, "")

    def _ps(self, argv):
        return Completed(tuple(argv), 0, self.ps, "")


def put(root, path, content=""):
    file = root / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def link(root, path, target):
    file = root / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.symlink_to(target)


@pytest.fixture(name="root")
def fixture_root(tmp_path, monkeypatch):
    """A Mac with upstream Nix and its daemon, seen as root."""
    version = plistlib.dumps({"ProductVersion": "15.5", "ProductBuildVersion": "24F74"})
    put(tmp_path, "/System/Library/CoreServices/SystemVersion.plist", version)
    put(tmp_path, "/nix/var/nix/profiles/default/bin/nix").chmod(0o755)
    put(tmp_path, "/Library/LaunchDaemons/org.nixos.nix-daemon.plist")
    put(tmp_path, "/etc/nix/nix.conf", "build-users-group = nixbld\n")
    monkeypatch.setattr(_info.os, "geteuid", lambda: 0)
    return tmp_path


def read(root, programs=None, **question):
    programs = programs or Programs({"org.nixos.nix-daemon": loaded("org.nixos.nix-daemon", 383)})
    info = _info.read(_info.Question(**question), _info.Host(programs, str(root)))
    return info


def codes(info, **wanted):
    wanted.setdefault("reserve_mib", 0)
    wanted.setdefault("disk_mib", 0)
    return [problem.code for problem in _preflight.problems(info, _preflight.Wanted(**wanted))]


def test_a_mac_that_can_have_the_builder_costs_six_processes_and_has_no_problem(root):
    programs = Programs({"org.nixos.nix-daemon": loaded("org.nixos.nix-daemon", 383)})
    info = read(root, programs)
    assert codes(info) == []
    assert programs.started == 6
    assert info["macos"] == {"version": "15.5", "build": "24F74"}
    assert info["nix"]["version"] == "2.26.3"
    assert info["nix"]["variant"] == "upstream"
    assert info["daemon"] == {"label": "org.nixos.nix-daemon", "loaded": True, "pid": 383, "state": "running"}
    assert info["port"]["listening"] is False
    assert info["builder"]["loaded"] is False
    expected = {
        "system": "aarch64-linux",
        "systems": ["aarch64-linux"],
        "features": [],
        "cores": 4,
        "memory_mib": 4096,
        "max_jobs": 4,
    }
    assert _info.defaults(info) == expected


def test_the_result_is_plain_json_without_secrets(root):
    text = json.dumps(read(root))
    assert "s3cret" not in text
    assert "access-tokens" not in text


def test_a_bare_mac_is_read_without_an_error(root):
    (root / "nix/var/nix/profiles/default/bin/nix").unlink()
    (root / "Library/LaunchDaemons/org.nixos.nix-daemon.plist").unlink()
    programs = Programs()
    info = read(root, programs)
    assert codes(info) == ["nix_missing"]
    assert info["nix"]["path"] is None
    assert info["daemon"]["label"] is None
    assert programs.started == 3


def test_a_running_builder_of_ours_is_seen_with_its_generation(root):
    link(root, "/nix/var/nix/profiles/linux-builder", "linux-builder-3-link")
    link(root, "/nix/var/nix/profiles/linux-builder-3-link", "/nix/store/abc-vm")
    put(root, "/etc/nix/machines", "# old ssh-ng://builder@linux-builder\n ssh-ng://builder@linux-builder aarch64-linux - 4\n")
    lsof = "p812\ng811\nR811\ncqemu-system-aarch64\nLroot\nf12\nn127.0.0.1:31022\n"
    jobs = {"org.nixos.nix-daemon": loaded("org.nixos.nix-daemon", 383), LABEL: loaded(LABEL, 811)}
    info = read(root, Programs(jobs, lsof))
    assert codes(info) == []
    assert info["port"]["ours"] is True
    assert info["port"]["pid"] == 812
    builder = info["builder"]
    assert (builder["loaded"], builder["state"], builder["pid"]) == (True, "running", 811)
    assert (builder["generation"], builder["store_path"], builder["registered"]) == (3, "/nix/store/abc-vm", True)


def test_a_builder_with_a_host_key_of_its_own_is_seen(root):
    put(root, "/var/lib/linux-builder/builder.json", json.dumps({"overrides": {"host_key": "per_mac"}}))
    put(root, "/var/lib/linux-builder/keys/ssh_host_ed25519_key.pub", "ssh-ed25519 AAAA linux-builder\n")
    put(root, "/var/lib/linux-builder/rotation", "spring\n")
    builder = read(root)["builder"]
    assert builder["host_key"] == "per_mac"
    assert base64.b64decode(builder["public_host_key"]) == b"ssh-ed25519 AAAA linux-builder\n"
    assert builder["rotation"] == "spring"


@pytest.mark.parametrize(
    ("record", "host_key"), [('{"overrides": {"port": 22}}', "stock"), ("{", None), ("[]", None), (None, None)]
)
def test_whose_host_key_is_only_said_where_a_record_says_it(root, record, host_key):
    if record is not None:
        put(root, "/var/lib/linux-builder/builder.json", record)
    builder = read(root)["builder"]
    assert (builder["host_key"], builder["public_host_key"], builder["rotation"]) == (host_key, None, None)


@pytest.mark.parametrize("address", ["0.0.0.0", "192.168.1.2"])
def test_an_address_that_others_reach_needs_a_host_key_of_its_own(root, address):
    info = read(root)
    info["port"]["address"] = address
    assert "address_needs_own_key" in codes(info)
    assert "address_needs_own_key" not in codes(info, host_key="per_mac")


def test_a_listener_deep_below_the_job_is_ours(root):
    lsof = "p900\ng900\nR850\ncqemu-system-aarch64\nLroot\nf12\nn127.0.0.1:31022\n"
    jobs = {"org.nixos.nix-daemon": loaded("org.nixos.nix-daemon", 383), LABEL: loaded(LABEL, 811)}
    programs = Programs(jobs, lsof, ps="  850   811\n  900   850\n  811     1\n")
    info = read(root, programs)
    assert info["port"]["ours"] is True
    assert programs.calls[-1] == ["/bin/ps", "-ax", "-o", "pid=", "-o", "ppid="]


def test_a_stranger_on_the_port_is_a_problem_even_beside_our_job(root):
    lsof = "p812\ng811\nR811\ncqemu\nLroot\nf1\nn127.0.0.1:31022\np77\ng77\nR1\ncssh\nLjo\nf4\nn*:31022\n"
    jobs = {"org.nixos.nix-daemon": loaded("org.nixos.nix-daemon", 383), LABEL: loaded(LABEL, 811)}
    info = read(root, Programs(jobs, lsof, ps="77 1\n811 1\n812 811\n"))
    assert codes(info) == ["port_taken"]
    assert (info["port"]["pid"], info["port"]["command"], info["port"]["user"]) == (77, "ssh", "jo")


VERIFIED = {"format": 1, "time": "2026-11-23T00:00:00Z", "seconds": {}, "versions": {}, "features": []}
BOOT_ID = "0a1b2c3d-0000-4000-8000-0123456789ab"


@pytest.mark.parametrize(("noted", "asked", "lsof"), [(BOOT_ID, 1, 0), ("another", 1, 1), ("", 0, 1)])
def test_a_guest_in_the_boot_that_was_verified_has_the_port(root, noted, asked, lsof):
    """It answers there with the pinned key; then nobody need look who listens."""
    put(root, "/var/lib/linux-builder/verified.json", json.dumps({**VERIFIED, "boot_id": noted}))
    programs = Programs({"org.nixmac.linux-builder": loaded("org.nixmac.linux-builder", 500)})
    programs.lsof = "p777\ng777\nR1\ncother\nLjo\nf5\nn127.0.0.1:31022\n"
    programs.ssh = f"1700000000\n{BOOT_ID}\ndaemon\n"
    port = read(root, programs, key="/etc/nix/builder_ed25519")["port"]
    started = [argv[0] for argv in programs.calls]
    assert (started.count("/usr/bin/ssh"), started.count("/usr/sbin/lsof")) == (asked, lsof)
    assert (port["ours"], port["pid"]) == ((True, 500) if noted == BOOT_ID else (False, 777))


def test_without_the_client_key_the_guest_is_not_asked(root):
    put(root, "/var/lib/linux-builder/verified.json", json.dumps({**VERIFIED, "boot_id": BOOT_ID}))
    programs = Programs({"org.nixmac.linux-builder": loaded("org.nixmac.linux-builder", 500)})
    assert not read(root, programs)["port"]["ours"]
    assert "/usr/bin/ssh" not in [argv[0] for argv in programs.calls]


def test_a_listener_on_another_address_is_no_rival(root):
    lsof = "p77\ng77\nR1\ncssh\nLjo\nf4\nn192.168.1.4:31022\n"
    info = read(root, Programs({"org.nixos.nix-daemon": loaded("org.nixos.nix-daemon", 383)}, lsof))
    assert codes(info) == []
    assert info["port"]["listening"] is False


def message(info, code, **wanted):
    found = [problem.message for problem in _preflight.problems(info, _preflight.Wanted(**wanted)) if problem.code == code]
    assert len(found) == 1
    return found[0]


def test_port_22_is_explained_as_remote_login(root):
    lsof = "p1\ng1\nR0\nclaunchd\nLroot\nf8\nn*:22\nf9\nn*:22\n"
    jobs = {"org.nixos.nix-daemon": loaded("org.nixos.nix-daemon", 383), LABEL: loaded(LABEL, 811)}
    info = read(root, Programs(jobs, lsof, ps="811 1\n"), port=22)
    text = message(info, "port_taken")
    assert "Remote Login" in text
    assert "31022" in text


def test_a_builder_started_by_hand_is_named_as_such(root):
    lsof = "p900\ng900\nR850\ncqemu-system-aarch64\nLjo\nf12\nn*:31022\n"
    info = read(root, Programs({"org.nixos.nix-daemon": loaded("org.nixos.nix-daemon", 383)}, lsof))
    assert "started by hand" in message(info, "port_taken")


def by_hand(root, port):
    put(root, "/etc/nix/builder_ed25519.pub")
    command = f"qemu-system-aarch64 hostfwd=tcp::{port}-:22, mount_tag=keys file=/Users/jo/nixos.qcow2,id=drive1"
    lsof = f"p900\ng900\nR850\ncqemu-system-aarch64\nLjo\nf12\nn*:{port}\n" if port == 31022 else ""
    return Programs({"org.nixos.nix-daemon": loaded("org.nixos.nix-daemon", 383)}, lsof, ps=f"  900   850 {command}\n")


def test_a_builder_that_can_be_adopted_is_named_with_the_variable(root):
    info = read(root, by_hand(root, 31022))
    (found,) = info["adoptable"]
    assert (found["pid"], found["directory"], found["disk_used_mib"]) == (900, "/Users/jo", 0)
    (problem,) = _preflight.problems(info, _preflight.Wanted(disk_mib=0, reserve_mib=0))
    assert problem.adoption_solves
    assert "linux_builder_adopt: true" in problem.message


def test_a_builder_beside_ours_is_a_warning(root):
    info = read(root, by_hand(root, 22))
    assert codes(info) == []
    assert "linux_builder_adopt: true" in _preflight.warnings(info)[0]


def test_a_port_of_somebody_else_is_not_solved_by_adoption(root):
    programs = by_hand(root, 31022)
    programs.lsof = programs.lsof.replace("900", "901")
    (problem,) = _preflight.problems(read(root, programs), _preflight.Wanted(disk_mib=0, reserve_mib=0))
    assert not problem.adoption_solves


def test_what_nix_darwin_left_can_be_adopted(root):
    put(root, "/Library/LaunchDaemons/org.nixos.linux-builder.plist", plistlib.dumps({"Label": "org.nixos.linux-builder"}))
    put(root, "/var/lib/darwin-builder/nixos.qcow2", b"x" * 3 * 1024 * 1024)
    jobs = {
        "org.nixos.nix-daemon": loaded("org.nixos.nix-daemon", 383),
        "org.nixos.linux-builder": loaded("org.nixos.linux-builder"),
    }
    info = read(root, Programs(jobs))
    assert [(found["directory"], found["disk_used_mib"]) for found in info["adoptable"]] == [("/var/lib/darwin-builder", 3)]
    (problem,) = _preflight.problems(info, _preflight.Wanted(disk_mib=0, reserve_mib=0))
    assert (problem.code, problem.adoption_solves) == ("other_builder", True)


def test_an_adopted_disk_needs_no_further_space(root):
    info = dict(read(root), free_disk_mib=100, adoptable=[{"pid": None, "label": None, "disk_used_mib": 950}])
    for size, solved in ((1000, True), (1100, False)):
        (problem,) = _preflight.problems(info, _preflight.Wanted(disk_mib=size, reserve_mib=0))
        assert (problem.code, problem.adoption_solves) == ("disk_too_small", solved)


def test_an_adoption_that_was_interrupted_is_found_again(root):
    adoption = {"owner": "x", "directory": "/Users/jo", "disk": None, "port": 22, "plist": None, "label": None, "loaded": False}
    content = {"version": 1, "legacy": [], "entries": {}, "adoption": {**adoption, "done": False}}
    manifest = put(root, "/var/db/nixmac.linux_builder/manifest.json", json.dumps(content))
    assert [found["directory"] for found in read(root)["adoptable"]] == ["/Users/jo"]
    content["adoption"]["done"] = True
    manifest.write_text(json.dumps(content))
    assert read(root)["adoptable"] == []


def test_broken_nix_speaks_in_its_own_words(root):
    words = "error: syntax error in configuration line 'max-jobs=3' in '/etc/nix/nix.conf'\n"
    info = read(root, Programs({"org.nixos.nix-daemon": loaded("org.nixos.nix-daemon", 383)}, settings=words))
    assert "syntax error in configuration line 'max-jobs=3'" in message(info, "nix_broken")
    assert info["nix"]["version"] == "2.26.3"


def test_a_nix_that_does_not_start_is_broken(root):
    info = read(root, Programs({"org.nixos.nix-daemon": loaded("org.nixos.nix-daemon", 383)}, version=""))
    assert "dyld: missing library" in message(info, "nix_broken")


def test_nix_darwin_is_refused_and_its_option_named(root):
    (root / "etc/nix/nix.conf").unlink()
    link(root, "/etc/nix/nix.conf", "/etc/static/nix/nix.conf")
    info = read(root)
    assert info["nix_conf"]["managed_by"] == "nix-darwin"
    assert "nix.linux-builder" in message(info, "nix_conf_managed")


@pytest.mark.parametrize("target", ["/nix/store/x-nix.custom.conf", "/private/etc/static/nix/nix.custom.conf"])
def test_nix_darwin_on_determinate_is_refused(root, target):
    put(root, "/usr/local/bin/determinate-nixd")
    link(root, "/etc/nix/nix.custom.conf", target)
    assert "determinateNix" in message(read(root), "nix_conf_managed")


def test_a_chain_of_links_into_the_store_is_refused(root):
    (root / "etc/nix/nix.conf").unlink()
    link(root, "/etc/nix/nix.conf", "mine.conf")
    link(root, "/etc/nix/mine.conf", "/nix/store/x-nix.conf")
    assert read(root)["nix_conf"]["writable"] is False


def test_a_loop_of_links_ends(root):
    (root / "etc/nix/nix.conf").unlink()
    link(root, "/etc/nix/nix.conf", "nix.conf")
    assert read(root)["nix_conf"]["writable"] is True


@pytest.mark.parametrize(
    ("conf", "determinate", "path", "manager"),
    [
        ("max-jobs = 1\n", False, "/etc/nix/nix.conf", "none"),
        ("!include nix.custom.conf\n", False, "/etc/nix/nix.custom.conf", "nix-installer"),
        ("include /etc/nix/nix.custom.conf # ours\n", False, "/etc/nix/nix.custom.conf", "nix-installer"),
        ("# !include nix.custom.conf\n", False, "/etc/nix/nix.conf", "none"),
        ("", True, "/etc/nix/nix.custom.conf", "determinate"),
    ],
)
def test_settings_go_where_the_installation_lets_them(root, conf, determinate, path, manager):
    put(root, "/etc/nix/nix.conf", conf)
    if determinate:
        put(root, "/usr/local/bin/determinate-nixd")
    found = read(root)["nix_conf"]
    assert (found["path"], found["managed_by"], found["writable"]) == (path, manager, True)


@pytest.mark.parametrize(
    ("line", "variant", "version"),
    [
        ("nix (Determinate Nix 3.11.3) 2.31.2", "determinate", "2.31.2"),
        ("nix (Lix, like Nix) 2.92.0-dev-pre20250117-0d14c2b\nSystem type: aarch64-darwin", "lix", "2.92.0"),
        ("nix (Nix) 2.16.0pre20230512_916da45", "upstream", "2.16.0"),
    ],
)
def test_the_variant_of_nix_is_told(root, line, variant, version):
    info = read(root, Programs({"org.nixos.nix-daemon": loaded("org.nixos.nix-daemon", 1)}, version=line + "\n"))
    assert (info["nix"]["variant"], info["nix"]["version"]) == (variant, version)


def test_determinates_daemon_is_found_by_its_property_list(root):
    put(root, "/Library/LaunchDaemons/systems.determinate.nix-daemon.plist")
    label = "systems.determinate.nix-daemon"
    assert read(root, Programs({label: loaded(label, 4)}))["daemon"]["label"] == label


def test_a_daemon_that_is_not_loaded_is_a_problem_with_its_command(root):
    assert "launchctl bootstrap system" in message(read(root, Programs()), "nix_daemon_not_loaded")


def test_a_single_user_nix_is_a_problem(root):
    (root / "Library/LaunchDaemons/org.nixos.nix-daemon.plist").unlink()
    assert codes(read(root, Programs())) == ["nix_daemon_missing"]


def test_launchd_that_cannot_be_asked_is_a_warning_and_no_false_problem(root):
    class Mute(Programs):
        def _launchctl(self, argv):
            raise CommandError("/bin/launchctl: no end after 30 s, stopped.")

    info = read(root, Mute())
    assert codes(info) == []
    assert any("no end after 30 s" in warning for warning in _preflight.warnings(info))


def test_the_builder_of_nix_darwin_is_a_problem_only_while_loaded(root):
    put(root, "/Library/LaunchDaemons/org.nixos.linux-builder.plist")
    daemon = {"org.nixos.nix-daemon": loaded("org.nixos.nix-daemon", 383)}
    assert codes(read(root, Programs(daemon))) == []
    jobs = {**daemon, "org.nixos.linux-builder": loaded("org.nixos.linux-builder", 5)}
    assert "org.nixos.linux-builder" in message(read(root, Programs(jobs)), "other_builder")


def test_its_own_label_is_no_other_builder(root):
    put(root, "/Library/LaunchDaemons/org.nixos.linux-builder.plist")
    jobs = {
        "org.nixos.nix-daemon": loaded("org.nixos.nix-daemon", 383),
        "org.nixos.linux-builder": loaded("org.nixos.linux-builder", 5),
    }
    assert codes(read(root, Programs(jobs), label="org.nixos.linux-builder")) == []


@pytest.mark.parametrize(("version", "minimum", "bad"), [("12.3", "12.4", True), ("12.4", "12.4", False), ("12.7", "13.0", True)])
def test_an_old_macos_is_measured_against_what_the_pin_needs(root, version, minimum, bad):
    file = root / "System/Library/CoreServices/SystemVersion.plist"
    file.write_bytes(plistlib.dumps({"ProductVersion": version, "ProductBuildVersion": "21G115"}))
    assert codes(read(root), minimum_macos=minimum) == (["macos_too_old"] if bad else [])


def test_a_host_that_is_no_mac_is_told_so(root):
    (root / "System/Library/CoreServices/SystemVersion.plist").unlink()
    assert codes(read(root)) == ["not_macos"]


def test_no_root_is_a_problem(root, monkeypatch):
    monkeypatch.setattr(_info.os, "geteuid", lambda: 501)
    assert "become" in message(read(root), "not_root", disk_mib=0, reserve_mib=0)


def test_a_file_in_place_of_the_working_directory_is_a_problem(root):
    put(root, "/var/lib/linux-builder")
    info = read(root)
    assert info["builder"]["working_directory"]["kind"] == "file"
    assert "/var/lib/linux-builder: is no directory" in message(info, "working_directory_no_directory")


def test_a_dangling_link_in_place_of_the_working_directory_is_a_problem(root):
    link(root, "/var/lib/linux-builder", "nowhere")
    assert codes(read(root)) == ["working_directory_no_directory"]


def test_a_link_to_a_directory_is_a_working_directory(root):
    (root / "elsewhere").mkdir()
    link(root, "/var/lib/linux-builder", str(root / "elsewhere"))
    assert codes(read(root)) == []


def test_what_the_disk_already_takes_up_is_not_asked_for_again(root):
    info = dict(read(root), free_disk_mib=10000)
    assert codes(info, disk_mib=9000, reserve_mib=1000) == []
    assert codes(info, disk_mib=9001, reserve_mib=1000) == ["disk_too_small"]
    info["builder"] = dict(info["builder"], disk_used_mib=5000)
    assert codes(info, disk_mib=14000, reserve_mib=1000) == []
    assert "linux_builder_disk_mib" in message(info, "disk_too_small", disk_mib=14001, reserve_mib=1000)


def test_the_disk_counts_by_the_blocks_it_has_not_by_its_length(root):
    file = put(root, "/var/lib/linux-builder/nixos.qcow2", b"x" * 3 * 2**20)
    with open(file, "ab") as stream:
        stream.truncate(2**30)
    assert read(root)["builder"]["disk_used_mib"] in (3, 4)


def test_without_a_hypervisor_there_is_a_warning_and_no_problem(root):
    info = dict(read(root), virtualization=False)
    assert codes(info) == []
    assert "kern.hv_support" in _preflight.warnings(info)[0]


def test_an_unknown_hypervisor_is_not_warned_of(root):
    assert _preflight.warnings(dict(read(root), virtualization=None)) == []


def test_an_architecture_without_builder_is_a_problem(root):
    assert codes(dict(read(root), architecture="ppc", system=None)) == ["architecture_unsupported"]


def test_all_problems_are_named_at_once(root):
    info = dict(read(root, Programs()), root=False, macos={"version": "11.0", "build": ""}, free_disk_mib=1)
    assert codes(info, disk_mib=100) == ["not_root", "macos_too_old", "nix_daemon_not_loaded", "disk_too_small"]


def test_reading_changes_no_file(root):
    def state():
        return sorted((str(path), path.lstat().st_mtime_ns) for path in root.rglob("*"))

    before = state()
    read(root)
    assert state() == before


@pytest.mark.parametrize("text", ["", "p\nn:\n", "px\nn*:1\n", "n*:22\n", "\n\n", "p1\nn\n"])
def test_odd_output_of_lsof_raises_nothing(text):
    from ansible_collections.nixmac.linux_builder.plugins.module_utils._info_port import parse_lsof

    assert isinstance(parse_lsof(text), list)


def test_blanks_in_a_command_are_decoded():
    from ansible_collections.nixmac.linux_builder.plugins.module_utils._info_port import parse_lsof

    assert parse_lsof("p5\nR1\ncAdobe\\x20Re\nLjo\nn*:31022\n")[0].command == "Adobe Re"


def test_without_a_wanted_size_the_disk_that_is_there_counts(root):
    info = dict(read(root), free_disk_mib=2000)
    wanted = {"disk_mib": None, "reserve_mib": 1000}
    assert codes(info, **wanted) == ["disk_too_small"]
    info["builder"] = dict(info["builder"], disk_mib=6000, disk_used_mib=5000)
    assert codes(info, **wanted) == []
    info["builder"] = dict(info["builder"], disk_mib=6001)
    assert codes(info, **wanted) == ["disk_too_small"]
