# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _builder_source as source
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_guest import GuestConfig
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_reference import Realised, parse_reference
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Completed, Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError, ConfigError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nix import Nix
from ansible_collections.nixmac.linux_builder.tests.unit.plugins.module_utils.spec_sample import SPEC, with_

HASH = "0123456789abcdfghijklmnpqrsvwxyz"


class Scripted(Runner):
    """Answers in order and fails on any call that was not expected."""

    def __init__(self, *answers: tuple[str, int, str, str]) -> None:
        super().__init__()
        self.answers = list(answers)
        self.calls: list[list[str]] = []

    def run(self, argv: t.Sequence[str], **_options: t.Any) -> Completed:
        self.calls.append(list(argv))
        word, rc, out, err = self.answers.pop(0)
        assert word in argv
        return Completed(tuple(argv), rc, out, err)


@pytest.mark.parametrize(
    ("text", "flake", "attribute"),
    [
        ("github:NixOS/nixpkgs/abc#darwin.linux-builder", "github:NixOS/nixpkgs/abc", ("darwin", "linux-builder")),
        ("path:/opt/x", "path:/opt/x", ("default",)),
        ("path:/opt/x#", "path:/opt/x", ("default",)),
        ("git+file:///a?ref=b&dir=c#d", "git+file:///a?ref=b&dir=c", ("d",)),
        (f"/nix/store/{HASH}-nixos-vm", None, ()),
    ],
)
def test_references_are_split_into_flake_and_attribute(text: str, flake: str | None, attribute: tuple[str, ...]) -> None:
    reference = parse_reference(text)
    assert (reference.flake, reference.attribute) == (flake, attribute)
    assert reference.store_path == (None if flake else text)


@pytest.mark.parametrize(
    "text", ["#a", "f#a..b", "f#a.", "f#.a", "f#a;b", "f#a b", "/nix/store/x", f"/nix/store/{HASH}-a/bin/b", "/nix/store/"]
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="package"):
        parse_reference(text)


def test_a_flake_is_locked_by_its_own_url_and_keeps_its_attribute() -> None:
    runner = Scripted(("metadata", 0, json.dumps({"url": "github:NixOS/nixpkgs/0000?narHash=sha256-x"}), ""))
    locked = source.lock(Nix(runner, "/nix"), parse_reference("github:NixOS/nixpkgs/nixos-26.05#darwin.linux-builder"), {})
    assert locked == "github:NixOS/nixpkgs/0000?narHash=sha256-x#darwin.linux-builder"
    assert parse_reference(locked).attribute == ("darwin", "linux-builder")


def test_a_store_path_needs_no_lock_and_no_process() -> None:
    runner = Scripted()
    assert source.lock(Nix(runner, "/nix"), parse_reference(f"/nix/store/{HASH}-a"), {}) == f"/nix/store/{HASH}-a"


@pytest.mark.parametrize(
    "answer", [("metadata", 1, "", "error: no such thing"), ("metadata", 0, "no json", ""), ("metadata", 0, "{}", "")]
)
def test_a_flake_that_cannot_be_resolved_is_named(answer: tuple[str, int, str, str]) -> None:
    with pytest.raises(CommandError, match="github:a/b"):
        source.lock(Nix(Scripted(answer), "/nix"), parse_reference("github:a/b"), {})


def test_the_expression_forces_address_port_and_disk_and_quotes_what_it_is_given() -> None:
    text = source.expression('path:/a"${b}#darwin.linux-builder', "x86_64-darwin", with_(port=2222, disk_mib=4096))
    assert 'builtins.getFlake "path:/a\\"\\${b}"' in text
    assert 'names = [ "darwin" "linux-builder" ]' in text
    assert 'host.address = "127.0.0.1"' in text
    assert "host.port = 2222" in text
    assert "diskSize = lib.mkForce 4096;" in text
    assert "diskSize" not in source.expression("f#a", "s", SPEC)


def script(path: pathlib.Path, text: str) -> pathlib.Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def store(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A store elsewhere: the scripts' pattern is moved there."""
    import re

    pattern = re.escape(str(tmp_path).encode()) + rb"/[0-9a-z]{32}-[0-9A-Za-z+._?=-]+(?:/[0-9A-Za-z+._-]+)*"
    monkeypatch.setattr(source, "_IN_SCRIPT", re.compile(pattern))
    return tmp_path


FORWARD = 'exec qemu-system-aarch64 -netdev user,id=user.0,hostfwd=tcp:{}:{}-:22,"$QEMU_NET_OPTS" $QEMU_OPTS\n'


def test_a_vm_derivation_is_its_own_program(store: pathlib.Path) -> None:
    script(store / f"{HASH}-vm/bin/run-nixos-vm", FORWARD.format("127.0.0.1", 31022))
    assert source.find_program(f"{store}/{HASH}-vm") == source.Program(f"{store}/{HASH}-vm", "run-nixos-vm", "127.0.0.1", 31022)


def test_the_vm_of_an_old_create_builder_is_named_inside_it(store: pathlib.Path) -> None:
    script(store / f"{HASH}-vm/bin/run-other-vm", FORWARD.format("", 22))
    text = f'KEYS="$({store}/{HASH}-nix/bin/nix-store --add "$KEYS")" {store}/{HASH}-vm/bin/run-other-vm\n'
    script(store / f"{HASH}-create/bin/create-builder", text)
    assert source.find_program(f"{store}/{HASH}-create") == source.Program(f"{store}/{HASH}-vm", "run-other-vm", "", 22)


def test_the_vm_of_a_new_create_builder_is_found_through_run_builder(store: pathlib.Path) -> None:
    script(store / f"{HASH}-vm/bin/run-nixos-vm", "vzvm\n")
    script(store / f"{HASH}-run/bin/run-builder", f"KEYS=$(nix-store --add $KEYS) {store}/{HASH}-vm/bin/run-nixos-vm")
    script(store / f"{HASH}-keys/bin/add-keys", f"{store}/{HASH}-coreutils/bin/mkdir")
    script(store / f"{HASH}-create/bin/create-builder", f"{store}/{HASH}-keys/bin/add-keys\n{store}/{HASH}-run/bin/run-builder\n")
    assert source.find_program(f"{store}/{HASH}-create") == source.Program(f"{store}/{HASH}-vm", "run-nixos-vm", None, None)


def test_scripts_that_name_each_other_do_not_hold_the_search_for_ever(store: pathlib.Path) -> None:
    script(store / f"{HASH}-a/bin/create-builder", f"{store}/{HASH}-b/bin/run-builder")
    script(store / f"{HASH}-b/bin/run-builder", f"{store}/{HASH}-a/bin/create-builder")
    with pytest.raises(ConfigError, match="no VM start script"):
        source.find_program(f"{store}/{HASH}-a")


def test_two_vms_in_one_package_are_refused(store: pathlib.Path) -> None:
    script(store / f"{HASH}-a/bin/run-a-vm", "")
    script(store / f"{HASH}-a/bin/run-b-vm", "")
    with pytest.raises(ConfigError, match="more than one"):
        source.find_program(f"{store}/{HASH}-a")


def test_a_package_that_is_not_there_or_binary_is_refused(store: pathlib.Path) -> None:
    with pytest.raises(ConfigError, match="no VM start script"):
        source.find_program(f"{store}/{HASH}-missing")
    path = store / f"{HASH}-bin/bin/create-builder"
    path.parent.mkdir(parents=True)
    path.write_bytes(bytes(range(256)) * 100)
    with pytest.raises(ConfigError, match="no VM start script"):
        source.find_program(f"{store}/{HASH}-bin")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hostfwd=tcp::22-:22,", ("", 22)),
        ("hostfwd=tcp:127.0.0.1:31022-:22,", ("127.0.0.1", 31022)),
        ("hostfwd=tcp:0.0.0.0:5-10.0.2.15:22", ("0.0.0.0", 5)),
        ("hostfwd=tcp::8080-:80,hostfwd=tcp:127.0.0.1:1-:22", ("127.0.0.1", 1)),
        ("hostfwd=tcp::1-:2222", (None, None)),
        ("", (None, None)),
    ],
)
def test_the_forward_to_port_22_is_read_from_the_script(text: str, expected: tuple[str | None, int | None]) -> None:
    assert source.read_forward(text.encode()) == expected


@pytest.mark.parametrize(
    ("address", "port", "changes", "words"),
    [
        ("127.0.0.1", 22, {}, "Set port: 22"),
        ("", 31022, {}, "all interfaces"),
        ("192.168.1.1", 31022, {}, "192.168.1.1"),
        ("", 22, {"accept_any_address": True}, "Set port: 22"),
    ],
)
def test_a_vm_that_listens_elsewhere_is_refused_with_the_fix(
    address: str, port: int, changes: dict[str, t.Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        source.check_forward(source.Program("/nix/store/x", "run-nixos-vm", address, port), with_(**changes))


def test_a_vm_that_listens_as_asked_or_not_by_qemu_is_taken() -> None:
    source.check_forward(source.Program("/nix/store/x", "run-nixos-vm", "127.0.0.1", 31022), SPEC)
    source.check_forward(source.Program("/nix/store/x", "run-nixos-vm", None, None), SPEC)
    source.check_forward(source.Program("/nix/store/x", "run-nixos-vm", "", 31022), with_(accept_any_address=True))


def test_realising_a_flake_asks_nix_for_its_system_and_builds_once(store: pathlib.Path) -> None:
    script(store / f"{HASH}-vm/bin/run-nixos-vm", FORWARD.format("127.0.0.1", 31022))
    runner = Scripted(
        ("show-config", 0, json.dumps({"system": {"value": "x86_64-darwin"}}), ""),
        ("build", 0, json.dumps([{"drvPath": "/d", "outputs": {"out": f"{store}/{HASH}-vm"}}]), ""),
    )
    realised = source.realise(Nix(runner, "/nix"), "path:/x?narHash=y#a", SPEC, {})
    assert realised == Realised("path:/x?narHash=y#a", f"{store}/{HASH}-vm", "run-nixos-vm")
    assert '"x86_64-darwin"' in runner.calls[1][-1]
    assert "--no-link" in runner.calls[1]


SYSTEM = ("show-config", 0, json.dumps({"system": {"value": "x86_64-darwin"}}), "")


def built(store: pathlib.Path) -> tuple[str, int, str, str]:
    script(store / f"{HASH}-vm/bin/run-nixos-vm", FORWARD.format("127.0.0.1", 31022))
    return "build", 0, json.dumps([{"outputs": {"out": f"{store}/{HASH}-vm"}}]), ""


def planned(path: pathlib.Path, text: str) -> tuple[str, int, str, str]:
    """A dry run that has one derivation to build, whose file has this text."""
    path.write_text(text)
    return "--dry-run", 0, json.dumps([{"drvPath": str(path)}]), f"this derivation will be built:\n  {path}\n"


VERSION = ("--version", 0, "nix (Nix) 2.26.3", "")
LOCAL = 'Derive([],[],[],"x86_64-darwin","/bin/sh",[],[("preferLocalBuild","1")])'


@pytest.fixture
def derivation(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    import re

    monkeypatch.setattr(source, "_PLANNED", re.compile(r"^  (\S+\.drv)$", re.MULTILINE))
    return tmp_path / "vm.drv"


def test_where_only_scripts_differ_no_binary_cache_is_asked(store: pathlib.Path, derivation: pathlib.Path) -> None:
    runner = Scripted(SYSTEM, planned(derivation, LOCAL), VERSION, built(store))
    source.realise(
        Nix(runner, "/nix"), "path:/x#a", with_(guest=GuestConfig(substituters=("https://c",))), {}, closure_there=True
    )
    assert runner.calls[3][-1] == f"{derivation}^out"
    for argv in (runner.calls[1], runner.calls[3]):
        assert argv[argv.index("substitute") + 1] == "false"
        assert "extra-substituters" not in argv


@pytest.mark.parametrize(
    "text",
    [
        'Derive([],[],[],"x86_64-darwin","/bin/sh",[],[("name","compiler")])',
        LOCAL.replace("darwin", "linux"),
    ],
)
def test_where_more_is_missing_it_is_built_or_fetched(store: pathlib.Path, derivation: pathlib.Path, text: str) -> None:
    runner = Scripted(SYSTEM, planned(derivation, text), built(store))
    source.realise(Nix(runner, "/nix"), "path:/x#a", SPEC, {}, closure_there=True)
    assert "--dry-run" not in runner.calls[2]
    assert "substitute" not in runner.calls[2]


def test_a_configured_guest_is_built_by_the_running_builder_and_with_its_caches(store: pathlib.Path) -> None:
    runner = Scripted(SYSTEM, built(store))
    guest = GuestConfig(substituters=("https://c",), trusted_public_keys=("k:x",), config="{ }")
    source.realise(Nix(runner, "/nix"), "path:/x#a", with_(guest=guest), {}, ("127.0.0.1", 31023))
    argv = runner.calls[1]
    assert argv[argv.index("extra-substituters") + 1] == "https://c"
    assert argv[argv.index("extra-trusted-public-keys") + 1] == "k:x"
    assert argv[argv.index("builders") + 1].startswith("ssh-ng://builder@linux-builder x86_64-linux ")
    assert 'toFile "linux-builder-config.nix" "{ }"' in argv[-1]
    assert argv[argv.index("builders-use-substitutes") + 1] == "false"
    assert "builders" not in _stock_argv(store)


def test_a_guest_that_reaches_the_caches_fetches_by_itself(store: pathlib.Path) -> None:
    runner = Scripted(SYSTEM, built(store))
    source.realise(Nix(runner, "/nix"), "path:/x#a", with_(guest=GuestConfig(config="{ }")), {})
    assert runner.calls[1][runner.calls[1].index("builders-use-substitutes") + 1] == "true"


def _stock_argv(store: pathlib.Path) -> list[str]:
    runner = Scripted(SYSTEM, built(store))
    source.realise(Nix(runner, "/nix"), "path:/x#a", SPEC, {})
    assert "guest" not in SPEC.overrides
    return runner.calls[1]


def test_a_failed_build_of_a_guest_says_that_the_stock_builder_comes_first() -> None:
    words = f"error: a 'x86_64-linux' with features {{}} is required to build '/nix/store/{HASH}-etc.drv', but I am a 'x'"
    with pytest.raises(CommandError, match="etc.drv has to be built on x86_64-linux.*deploy the stock builder first"):
        source.realise(
            Nix(Scripted(SYSTEM, ("build", 1, "", words)), "/nix"), "path:/x#a", with_(guest=GuestConfig(config="{ }")), {}
        )


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({}, False),
        ({"locked": "l", "overrides": {"port": 1}}, True),
        ({"locked": "other", "overrides": {}}, False),
        ({"locked": "l", "overrides": {"guest": "0"}}, False),
        ({"locked": "l", "overrides": None}, False),
    ],
)
def test_only_the_same_source_and_guest_leave_nothing_but_scripts(record: dict[str, t.Any], expected: bool) -> None:
    assert source.only_scripts_differ(record, "l", SPEC) is expected


def test_a_store_path_takes_no_guest_options() -> None:
    with pytest.raises(ConfigError, match="takes no override"):
        source.realise(Nix(Scripted(), "/nix"), f"/nix/store/{HASH}-x", with_(guest=GuestConfig(config="{ }")), {})


def test_realising_a_store_path_evaluates_nothing() -> None:
    runner = Scripted(
        ("build", 1, "", f"error: path '/nix/store/{HASH}-x' is required, but there is no substituter that can build it")
    )
    with pytest.raises(CommandError, match="nix copy"):
        source.realise(Nix(runner, "/nix"), f"/nix/store/{HASH}-x", SPEC, {})
    assert "--expr" not in runner.calls[0]


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("error: NAR hash mismatch in input 'path:/x'", "update: true"),
        (
            "error: a 'aarch64-linux' with features {} is required to build '/nix/store/x.drv', but I am",
            "aarch64-linux, and nothing",
        ),
        ("error: the flake has no attribute a.b for x", "what follows the"),
        ("error: writing to file: No space left on device", "Free disk space"),
        ("error: unable to download 'https://cache.nixos.org/x.narinfo'", "network"),
    ],
)
def test_a_failed_build_says_what_to_do(words: str, hint: str) -> None:
    runner = Scripted(("show-config", 0, json.dumps({"system": {"value": "x86_64-darwin"}}), ""), ("build", 1, "", words))
    with pytest.raises(CommandError, match=hint) as caught:
        source.realise(Nix(runner, "/nix"), "path:/x#a", SPEC, {})
    assert "path:/x#a" in caught.value.message


def test_of_an_evaluation_trace_only_the_error_is_shown() -> None:
    words = (
        "warning: Git tree is dirty\nerror:\n       … while evaluating a branch condition\n         at «string»:38:5:\n"
        "           37|   overridden =\n           38|     if package ? override then\n             |     ^\n\n"
        "       (stack trace truncated; use '--show-trace' to show the full, detailed trace)\n\n"
        "       error: attribute 'x' missing\n"
    )
    runner = Scripted(("show-config", 0, json.dumps({"system": {"value": "x86_64-darwin"}}), ""), ("build", 1, "", words))
    with pytest.raises(CommandError) as caught:
        source.realise(Nix(runner, "/nix"), "path:/x#a", SPEC, {})
    assert caught.value.message == "package: path:/x#a cannot be realised: error: attribute 'x' missing. See the words of Nix."


def test_a_host_key_of_its_own_is_built_through_the_running_builder_with_its_pinned_key() -> None:
    spec = with_(per_mac=True)
    environments: list[t.Mapping[str, str]] = []

    class Remembering(Scripted):
        def run(self, argv: t.Sequence[str], **options: t.Any) -> Completed:
            environments.append(options.get("env") or {})
            return super().run(argv, **options)

    settings = json.dumps({"system": {"value": "aarch64-darwin"}})
    runner = Remembering(("show-config", 0, settings, ""), ("build", 1, "", "error: no"))
    with pytest.raises(CommandError):
        source.realise(Nix(runner, "/nix"), "path:/x#a", spec, {"HOME": "/h"}, ("127.0.0.1", 4711))
    words = runner.calls[-1]
    machine = words[words.index("builders") + 1].split()
    assert machine[:3] == ["ssh-ng://builder@linux-builder", "aarch64-linux", "/k"]
    options = environments[-1]["NIX_SSHOPTS"]
    assert "UserKnownHostsFile=/var/lib/b/known_hosts" in options
    assert "GlobalKnownHostsFile=/dev/null" in options
    assert "HostName=127.0.0.1 -p 4711" in options
    assert "linux-builder-host-key" in words[-1]


def test_the_stock_expression_has_nothing_of_the_guest() -> None:
    assert "hostKeys" not in source.expression("path:/x#a", "aarch64-darwin", SPEC)
    assert "hostKeys" in source.expression("path:/x#a", "aarch64-darwin", with_(per_mac=True))


def test_a_store_path_cannot_get_a_host_key_of_its_own() -> None:
    path = f"/nix/store/{HASH}-create-builder"
    with pytest.raises(ConfigError, match="takes no override"):
        source.realise(Nix(Scripted(), "/nix"), path, with_(per_mac=True), {})


def test_the_hypervisor_is_the_one_that_the_name_promises(store: pathlib.Path) -> None:
    qemu = script(store / f"{HASH}-qemu/bin/run-nixos-vm", "exec qemu-system-aarch64")
    vzvm = script(store / f"{HASH}-vzvm/bin/run-nixos-vm", 'exec vzvm "$imageDir/vzvm.json"')
    program = {path: source.Program(str(path.parents[1]), "run-nixos-vm", None, None) for path in (qemu, vzvm)}
    source.check_hypervisor(program[qemu], SPEC)
    source.check_hypervisor(program[vzvm], with_(vz=True))
    with pytest.raises(ConfigError, match="starts vzvm"):
        source.check_hypervisor(program[vzvm], SPEC)
    with pytest.raises(ConfigError, match="does not start vzvm"):
        source.check_hypervisor(program[qemu], with_(vz=True))


def test_the_options_of_vz_are_in_its_expression_alone() -> None:
    text = source.expression("path:/a#darwin.linux-builder-vz", "aarch64-darwin", with_(vz=True, cores=6, memory_mib=2048))
    assert "cores = lib.mkForce 6;" in text
    assert "memorySize = lib.mkForce 2048;" in text
    assert "memorySize" not in source.expression("path:/a#darwin.linux-builder", "aarch64-darwin", SPEC)
