# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import json
import os
import pwd
import re
import types

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _verify, _verify_build
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Completed, Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError, ConfigError, StateError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._verify_explain import last_words, likely_fix
from ansible_collections.nixmac.linux_builder.plugins.module_utils._verify_ssh import Guest, Target

TARGET = Target(uri="ssh-ng://builder@linux-builder", key="/etc/nix/builder_ed25519")
GUEST = "11111111-2222-3333-4444-555555555555"
OTHER = "99999999-2222-3333-4444-555555555555"
OWN = "00000000-2222-3333-4444-555555555555"
KERNEL = "Linux version 6.12.0 (nixbld@localhost) #1 SMP"
TOLD = f"{GUEST}\naarch64\nnix-store (Nix) 2.34.8\n"
OUT = "/nix/store/" + "a" * 32 + "-linux-builder-proof-0123456789abcdef"
DRV = "/nix/store/" + "b" * 32 + "-linux-builder-proof-0123456789abcdef.drv"
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJBWcxb root@vm"
URI = "ssh-ng://builder@linux-builder"
BUILT = "@nix " + json.dumps({"action": "start", "id": 1, "level": 3, "type": 105, "text": "", "fields": [DRV, URI, 1, 1]}) + "\n"


NIX = types.SimpleNamespace(path="/nix/bin/nix", version=lambda: types.SimpleNamespace(short="2.26.3"))


class Programs(Runner):
    """nix-build, nix-store and ssh; `build` and `guest` are (exit status, stdout, stderr)."""

    def __init__(self, build=(0, OUT + "\n", BUILT), guest=(0, TOLD, ""), delete=0):
        super().__init__()
        stays = (delete, "", "error: still alive" if delete else "")
        self.answers = {
            "nix-build": build,
            "sudo": build,
            "ssh": guest,
            "nix-store": stays,
            "nix-instantiate": (0, DRV + "\n", ""),
        }
        self.calls = []

    def run(self, argv, **options):
        self.started += 1
        self.calls.append((list(argv), options))
        answer = self.answers[os.path.basename(argv[0])]
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if isinstance(answer, Exception):
            raise answer
        return Completed(tuple(argv), *answer)

    def stream(self, argv, on_line, **options):
        """nix-build speaks internal-json."""
        done = self.run(argv, **options)
        for line in done.stderr.splitlines():
            on_line(line)
        return done

    def argvs(self, name):
        return [argv for argv, _options in self.calls if os.path.basename(argv[0]) == name]


@pytest.fixture(autouse=True)
def fixture_mac(monkeypatch):
    monkeypatch.setattr(_verify, "find_nix", lambda _runner: NIX)
    monkeypatch.setattr(_verify, "own_boot_id", lambda: None)
    monkeypatch.setattr(_verify_build, "parse_output", lambda _path: (KERNEL, GUEST, "unknown"))


def verify(programs, systems=("aarch64-linux",), target=TARGET, boot=0, **options):
    return _verify.verify(target, list(systems), 60, boot, programs, **options)


def failure(programs, target=TARGET):
    with pytest.raises(StateError) as caught:
        verify(programs, target=target)
    return caught.value.message


def test_a_build_in_the_guest_is_proven():
    found = verify(Programs())
    assert found.boot_id == GUEST
    assert found.warnings == []
    proof = found.builds[0].as_dict()
    assert proof.pop("seconds") >= 0
    assert proof == {
        "system": "aarch64-linux",
        "user": "root",
        "features": [],
        "phases": {"connect": None, "copy": None, "build": None, "fetch": None},
        "store_path": OUT,
        "kernel": KERNEL,
        "architecture": "unknown",
        "boot_id": GUEST,
        "builder": "ssh-ng://builder@linux-builder",
    }
    assert found.versions == {"mac": "2.26.3", "guest": "2.34.8"}


def test_it_builds_through_the_daemon_elsewhere_and_without_substitutes():
    programs = Programs()
    verify(programs)
    argv, options = programs.calls[0]
    assert options["env"] == {"NIX_REMOTE": "daemon", "NIX_USER_CONF_FILES": ""}
    text = " ".join(argv)
    assert "--max-jobs 0" in text
    assert "--option substitute false" in text
    assert "allowSubstitutes = false" in text
    assert "--rebuild" not in text


def test_each_build_has_a_name_of_its_own():
    programs = Programs()
    verify(programs, ["aarch64-linux", "x86_64-linux"])
    verify(programs)
    names = [argv[-1].split('name = "')[1].split('"')[0] for argv in programs.argvs("nix-build")]
    assert len(set(names)) == 3


def test_every_system_is_built_for():
    programs = Programs()
    assert [proof.system for proof in verify(programs, ["aarch64-linux", "x86_64-linux"]).builds] == [
        "aarch64-linux",
        "x86_64-linux",
    ]


def test_store_paths_are_deleted_on_both_sides():
    programs = Programs()
    verify(programs)
    assert programs.argvs("nix-store") == [["/nix/bin/nix-store", "--delete", OUT, DRV]]
    (argv,) = programs.argvs("ssh")
    assert f"nix-store --delete {OUT} >/dev/null 2>&1; nix-store --delete {DRV} " in argv[-1]


def test_store_paths_are_deleted_in_the_guest_when_it_does_not_tell_who_it_is():
    programs = Programs(guest=(255, "", "Permission denied (publickey)"))
    failure(programs)
    assert f"nix-store --delete {OUT}" in programs.argvs("ssh")[-1][-1]
    assert len(programs.argvs("ssh")) == 2


def test_store_paths_are_deleted_when_the_proof_fails():
    programs = Programs(guest=(0, OTHER + "\n", ""))
    failure(programs)
    assert programs.argvs("nix-store")


def test_what_cannot_be_deleted_is_a_warning():
    assert "still alive" in verify(Programs(delete=1)).warnings[0]


def test_nothing_is_asked_of_the_guest_when_no_machine_was_even_tried():
    programs = Programs(build=(1, "", "error: unable to start any build;"))
    failure(programs)
    assert programs.argvs("ssh") == []


SWALLOWED = f"{DRV}\ncannot build on 'ssh-ng://x': error: failed to start SSH connection to 'x'\nFailed to find a machine\n"


def test_what_ssh_said_to_the_daemon_is_found_out_by_asking_again():
    text = failure(Programs(build=(1, "", SWALLOWED), guest=(255, "", "builder@x: Permission denied (publickey).\n")))
    assert "ssh says: builder@x: Permission denied" in text
    assert "public half" in text


def test_an_ssh_that_works_for_us_and_not_for_nix_points_to_the_entry():
    assert "the entry in the machines file" in failure(Programs(build=(1, "", SWALLOWED), guest=(0, "nix-store 2\n", "")))


REFUSED = (255, "", "ssh: connect to host 127.0.0.1 port 31022: Connection refused\n")


@pytest.fixture(name="fast")
def fixture_fast(monkeypatch):
    monkeypatch.setattr(_verify_build, "_POLL", 0.001)


@pytest.mark.usefixtures("fast")
def test_a_vm_that_boots_is_waited_for():
    programs = Programs(
        build=[(1, "", SWALLOWED), (0, OUT + "\n", BUILT)], guest=[REFUSED, REFUSED, (0, "nix-store 2\n", ""), (0, TOLD, "")]
    )
    assert verify(programs, boot=60).boot_id == GUEST
    assert len(programs.argvs("nix-build")) == 2


@pytest.mark.usefixtures("fast")
def test_a_vm_whose_daemon_comes_later_than_its_sshd_is_tried_again():
    up = (0, "nix-store 2\n", "")
    programs = Programs(build=[(1, "", SWALLOWED), (1, "", SWALLOWED), (0, OUT + "\n", BUILT)], guest=[up, up, (0, TOLD, "")])
    assert verify(programs, boot=60).boot_id == GUEST


@pytest.mark.usefixtures("fast")
def test_a_vm_that_refuses_the_key_is_not_waited_for():
    programs = Programs(build=(1, "", SWALLOWED), guest=(255, "", "x: Permission denied (publickey).\nConnection closed\n"))
    with pytest.raises(StateError, match="public half"):
        verify(programs, boot=3600)
    assert len(programs.argvs("ssh")) == 1


@pytest.mark.usefixtures("fast")
def test_a_vm_that_never_comes_up_is_given_up_at_the_deadline():
    programs = Programs(build=(1, "", SWALLOWED), guest=REFUSED)
    with pytest.raises(StateError, match="does not answer"):
        verify(programs, boot=0.05)
    assert len(programs.argvs("nix-build")) == 1


@pytest.mark.usefixtures("fast")
def test_an_entry_that_does_not_fit_is_not_tried_for_ever():
    programs = Programs(build=(1, "", SWALLOWED), guest=(0, "nix-store 2\n", ""))
    with pytest.raises(StateError, match="the entry in the machines file"):
        verify(programs, boot=3600)
    assert len(programs.argvs("nix-build")) == 4


def test_an_output_that_proves_nothing_is_deleted(monkeypatch):
    def nonsense(_path):
        raise StateError("holds no Linux kernel")

    monkeypatch.setattr(_verify_build, "parse_output", nonsense)
    programs = Programs()
    failure(programs)
    assert programs.argvs("nix-store") == [["/nix/bin/nix-store", "--delete", OUT], ["/nix/bin/nix-store", "--delete", DRV]]


@pytest.mark.parametrize("build", [(1, "", SWALLOWED), CommandError("no end", timeout=60)])
def test_the_derivation_of_a_failed_build_is_deleted(build):
    programs = Programs(build=build)
    failure(programs)
    assert programs.argvs("nix-store") == [["/nix/bin/nix-store", "--delete", DRV]]


def test_another_builders_work_is_no_proof_and_is_named():
    built = BUILT.replace("ssh-ng://builder@linux-builder", "ssh://farm")
    text = failure(Programs(build=(0, OUT + "\n", built), guest=(0, OTHER + "\n", "")))
    assert "built on ssh://farm" in text
    assert "linux_builder_speed_factor" in text


def test_this_hosts_own_work_is_no_proof(monkeypatch):
    monkeypatch.setattr(_verify, "own_boot_id", lambda: GUEST)
    assert "on this host itself" in failure(Programs())


def test_a_build_that_takes_too_long_says_what_may_be():
    text = failure(Programs(build=CommandError("nix-build: no end after 60 s", timeout=60)))
    assert "within 60 s" in text
    assert "busy" in text


def test_no_nix_build_at_all_stays_that_error():
    with pytest.raises(CommandError, match="cannot be started"):
        verify(Programs(build=CommandError("nix-build: cannot be started")))


def test_success_without_a_store_path_is_no_success():
    assert "nothing was built" in failure(Programs(build=(0, "", "")))


def test_a_guest_that_refuses_the_key_is_explained():
    text = failure(Programs(guest=(255, "", "builder@127.0.0.1: Permission denied (publickey).\n")))
    assert "Permission denied" in text
    assert "credentials" in text


@pytest.mark.parametrize("answer", ["", "not a boot id\n", "more\n" + GUEST + "\n"])
def test_a_guest_that_talks_nonsense_is_an_error(answer):
    assert "does not tell its boot id" in failure(Programs(guest=(0, answer, "")))


# Features, users


def named(argv):
    return re.findall(r"requiredSystemFeatures = \[ (.*?)\s*\]", argv[-1])[0].replace('"', "").split()


def test_what_requires_all_features_is_built_too():
    programs = Programs()
    found = verify(programs, features=["kvm", "big-parallel"])
    assert [named(argv) for argv in programs.argvs("nix-build")] == [[], ["kvm", "big-parallel"]]
    assert [proof.as_dict()["features"] for proof in found.builds] == [[], ["kvm", "big-parallel"]]


def test_mandatory_features_are_always_required():
    programs = Programs()
    verify(programs, features=["kvm"], mandatory=["gpu"])
    assert [named(argv) for argv in programs.argvs("nix-build")] == [["gpu"], ["gpu", "kvm"]]
    verify(programs := Programs(), mandatory=["gpu"])
    assert [named(argv) for argv in programs.argvs("nix-build")] == [["gpu"]]


def test_a_feature_that_is_refused_is_named():
    programs = Programs(build=[(0, OUT + "\n", BUILT), (1, "", "error: Failed to find a machine for remote build!")])
    with pytest.raises(StateError, match="Without kvm the build was made") as caught:
        verify(programs, features=["kvm"])
    assert caught.value.details["features"] == ["kvm"]
    assert ["/nix/bin/nix-store", "--delete", OUT, DRV] in programs.argvs("nix-store")


def test_a_users_build_is_made_by_that_user_with_what_the_daemon_takes_from_anybody():
    programs = Programs()
    found = verify(programs, user=pwd.getpwuid(os.getuid()).pw_name)
    roots, theirs = programs.argvs("nix-build") + programs.argvs("sudo")
    assert theirs[:6] == ["/usr/bin/sudo", "-n", "-H", "-u", pwd.getpwuid(os.getuid()).pw_name, "/usr/bin/env"]
    assert "NIX_REMOTE=daemon" in theirs
    assert theirs[theirs.index("--max-jobs") + 1] == "0"
    assert "--option" in roots
    assert "--option" not in theirs
    assert [proof.user for proof in found.builds] == ["root", pwd.getpwuid(os.getuid()).pw_name]


def test_a_user_that_is_not_there_is_an_error():
    with pytest.raises(ConfigError, match="no user"):
        verify(Programs(), user="nobody-of-this-name")


def test_another_architecture_than_the_guests_is_no_proof(monkeypatch):
    monkeypatch.setattr(_verify_build, "parse_output", lambda _path: (KERNEL, GUEST, "x86_64"))
    assert "built on x86_64" in failure(Programs())


# The expression


@pytest.mark.parametrize("system", ["", "aarch64", 'x" ; builder = "', "a b-linux", "x-linux\n"])
def test_only_systems_get_into_the_expression(system):
    with pytest.raises(ConfigError, match="no Nix system"):
        _verify_build.expression(system, "name")


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=12))
def test_no_feature_breaks_out_of_its_string(feature):
    try:
        text = _verify_build.expression("x86_64-linux", "name", [feature])
    except ConfigError:
        return
    assert f'requiredSystemFeatures = [ "{feature}" ]' in text
    assert '"' not in feature


def test_the_script_uses_shell_builtins_only():
    words = _verify_build._SCRIPT.replace(";", " ; ").split(" ; ")
    parts = [part.replace("{", "").replace("}", "").split() for part in words]
    assert {part[0].partition("=")[0] for part in parts if part} <= {"read", "echo", "arch", "2>"}


def test_no_systems_is_an_error():
    with pytest.raises(ConfigError, match="systems"):
        verify(Programs(), [])


# The output


@pytest.fixture(name="parse")
def fixture_parse(monkeypatch, tmp_path):
    monkeypatch.undo()

    def parse(content):
        file = tmp_path / "out"
        if content is not None:
            file.write_bytes(content.encode())
        return _verify_build.parse_output(str(file))

    return parse


def test_kernel_and_boot_id_are_read(parse):
    assert parse(f"{KERNEL}\n{GUEST}\naarch64\n") == (KERNEL, GUEST, "aarch64")


@pytest.mark.parametrize(
    "content",
    ["", "\n\n", f"Darwin Kernel\n{GUEST}\n", f"{KERNEL}\n\n", f"{KERNEL}\n{GUEST}\n", f"{KERNEL}\n{GUEST}\nx\ny\n", "\0" * 9],
)
def test_any_other_output_is_no_proof(parse, content):
    with pytest.raises(StateError, match="no Linux kernel"):
        parse(content)


def test_an_output_that_is_gone_is_an_error(parse):
    with pytest.raises(StateError, match="cannot be read"):
        parse(None)


# ssh


def argv_of(target):
    programs = Programs()
    Guest(target, programs).facts()
    return programs.argvs("ssh")[0]


def test_the_alias_is_left_to_the_ssh_configuration():
    argv = argv_of(TARGET)
    assert argv[-3:] == ["builder@linux-builder", "--", argv[-1]]
    assert "-p" not in argv
    assert not any(word.startswith(("HostName", "HostKeyAlias")) for word in argv)
    assert "BatchMode=yes" in argv
    assert any(word.startswith("ConnectTimeout=") for word in argv)


def test_without_an_alias_address_and_port_are_named():
    argv = argv_of(TARGET._replace(uri="ssh-ng://builder@localhost", port=22))
    assert argv[argv.index("-p") + 1] == "22"
    assert {"HostName=127.0.0.1", "HostKeyAlias=localhost"} <= set(argv)


def test_a_port_in_the_uri_wins():
    argv = argv_of(TARGET._replace(uri="ssh-ng://builder@linux-builder:2222?compress=true"))
    assert argv[argv.index("-p") + 1] == "2222"


def test_the_host_key_is_held_to_the_one_that_nix_was_told():
    seen = []

    class Reader(Programs):
        def run(self, argv, **options):
            path = next(word.partition("=")[2] for word in argv if word.startswith("UserKnownHostsFile="))
            with open(path, encoding="ascii") as stream:
                seen.append((stream.read(), os.stat(path).st_mode & 0o777, path))
            return super().run(argv, **options)

    key = base64.b64encode((HOST_KEY + "\n").encode()).decode()
    programs = Reader()
    Guest(TARGET._replace(public_host_key=key), programs).facts()
    assert "StrictHostKeyChecking=yes" in programs.argvs("ssh")[0]
    assert seen[0][:2] == (f"linux-builder {HOST_KEY}\n", 0o600)
    assert not os.path.exists(seen[0][2])


@pytest.mark.parametrize("key", ["%%%", "AAA", "/w==", "ü"])
def test_a_host_key_that_is_no_base64_is_an_error(key):
    with pytest.raises(ConfigError, match="public_host_key"):
        Guest(TARGET._replace(public_host_key=key), Programs())


@pytest.mark.parametrize(
    "uri", ["", "linux-builder", "https://x", "ssh-ng://", "ssh-ng://a b", "ssh-ng://-oProxyCommand=x", "ssh-ng://u@-x"]
)
def test_a_uri_that_is_no_ssh_store_is_an_error(uri):
    with pytest.raises(ConfigError, match="uri"):
        Guest(TARGET._replace(uri=uri), Programs())


# Explanations


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        ("error: bad machine specification: failed to convert column #3 in a row", "malformed"),
        ("ssh: Could not resolve hostname linux-builder: nodename nor servname", "ssh_config.d"),
        ("Host key verification failed.\ncannot build on 'ssh-ng://x'\nFailed to find a machine for remote build!", "host key"),
        ("builder@linux-builder: Permission denied (publickey).\nFailed to find a machine for remote build!", "public half"),
        ("ssh: connect to host 127.0.0.1 port 31022: Connection refused", "launchctl print system/org.nixmac"),
        ("@ WARNING: UNPROTECTED PRIVATE KEY FILE! @\nPermission denied (publickey)", "read by others"),
        ("Not allowed at this time", "PerSourcePenalties"),
        ("error: cannot connect to socket at '/nix/var/nix/daemon-socket/socket': Connection refused", "Nix daemon"),
        (
            "cannot build on 'ssh-ng://x': error: cannot connect to socket at '/nix/var/nix/daemon-socket/socket'",
            "The VM's own Nix",
        ),
        ("error: writing to file: No space left on device", "disk is full"),
        ("error: unable to start any build; either increase '--max-jobs'", "delegation"),
        (
            "Cannot build 'x.drv'. Reason: local builds are disabled (max-jobs = 0)\nRequired system: 'aarch64-linux'",
            "aarch64-linux",
        ),
        ("something new", "/var/log/linux-builder.log"),
    ],
)
def test_words_of_nix_and_ssh_lead_to_a_fix(words, fix):
    assert fix in likely_fix(words, TARGET, "aarch64-linux")


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200))
def test_every_failure_gets_a_sentence(words):
    assert likely_fix(words, TARGET, "x86_64-linux").endswith((".", "LISTEN"))


def test_last_words_leave_out_warnings_and_lists():
    stderr = f"warning: x\nthis derivation will be built:\n  {DRV}\nerror:\n       Unable to start\n       any build;\n"
    assert last_words(Completed(("nix-build",), 1, "", stderr)) == "error: Unable to start any build;"


def test_last_words_are_short_and_never_empty():
    assert len(last_words(Completed(("x",), 1, "", "error " * 1000))) < 700
    assert "exit status 1" in last_words(Completed(("x",), 1, "", ""))
