# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The diagnosis: the table and its rules fit each other, order and dependence, time, and what each rule makes of facts."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import re
import types
import typing as t

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _diagnose, _diagnose_guest, _diagnose_run
from ansible_collections.nixmac.linux_builder.plugins.module_utils import _diagnose_rules_guest as guest_rules
from ansible_collections.nixmac.linux_builder.plugins.module_utils import _diagnose_rules_mac as mac_rules
from ansible_collections.nixmac.linux_builder.plugins.module_utils import _diagnose_rules_vm as vm_rules
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Completed, Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._diagnose_link import Finding
from ansible_collections.nixmac.linux_builder.plugins.module_utils._diagnose_mac import Mac, parse_ps, read_plist
from ansible_collections.nixmac.linux_builder.plugins.module_utils._diagnose_question import BoundedRunner, OutOfTime, Question
from ansible_collections.nixmac.linux_builder.plugins.module_utils._diagnose_table import LINKS
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError, ConfigError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._machines_effective import read as read_machines

PIN_LINE = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJBWcxb/Blaqt1auOtE+F8QUWrUotiC5qBJ+UuEWdVCb root@nixos\n"
PIN = base64.b64encode(PIN_LINE.encode()).decode()
ENTRY = f"ssh-ng://builder@linux-builder aarch64-linux /etc/nix/builder_ed25519 4 1 big-parallel - {PIN}"
GREETED = "debug1: Connection established.\ndebug1: Remote protocol version 2.0, remote software version OpenSSH_10.0\n"
SHOWN = "debug1: Server host key: ssh-ed25519 SHA256:abc\n"


# The table


def test_every_link_has_a_rule_and_every_rule_a_link() -> None:
    assert [link.name for link in LINKS] == list(_diagnose.RULES)
    assert len({link.name for link in LINKS}) == len(LINKS)


def test_a_link_needs_only_earlier_ones() -> None:
    seen: set[str] = set()
    for link in LINKS:
        assert set(link.needs) <= seen, link.name
        seen.add(link.name)


def test_every_cause_says_what_to_do() -> None:
    for link in LINKS:
        codes = [cause.code for cause in link.causes]
        assert codes
        assert len(set(codes)) == len(codes), link.name
        for cause in link.causes:
            assert cause.says.endswith("."), cause
            assert cause.fix, cause
            assert cause.fix.count("`") % 2 == 0, cause


def test_every_cause_that_a_rule_names_is_in_the_table() -> None:
    """The rules' sources name their causes as words; a wrong one would be a KeyError on somebody's Mac."""
    known = {cause.code for link in LINKS for cause in link.causes}
    for module in (mac_rules, vm_rules, guest_rules):
        with open(str(module.__file__), encoding="utf-8") as stream:
            codes = re.findall(r'Finding\(\s*"(\w+)"', stream.read())
        assert codes
        assert set(codes) <= known, module


# Order, dependence, time


def run(monkeypatch: pytest.MonkeyPatch, **found: t.Any) -> list[_diagnose.Result]:
    def rule(name: str) -> t.Callable[[Mac], Finding | None]:
        def look(_mac: Mac) -> Finding | None:
            result = found.get(name)
            if isinstance(result, Exception):
                raise result
            return result

        return look

    monkeypatch.setattr(_diagnose, "RULES", {link.name: rule(link.name) for link in LINKS})
    monkeypatch.setattr(Mac, "nix", None)
    return _diagnose.run(Question())


def states(results: list[_diagnose.Result]) -> dict[str, str]:
    return {result.link.name: result.state for result in results}


def test_a_sound_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    results = run(monkeypatch)
    assert set(states(results).values()) == {"ok"}
    assert _diagnose.culprit(results) is None
    assert _diagnose_run.report(results)[-1] == "No link is broken."
    assert len(_diagnose_run.report(results)) == len(LINKS) + 1


def test_what_depends_on_a_broken_link_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    results = run(monkeypatch, key=Finding("missing", "/k: gone", {"key": "/k"}), ssh=Finding("refused", "never"))
    found = states(results)
    assert found["key"] == "broken"
    assert {found[name] for name in ("ssh", "host_key", "login", "guest_nix", "clock", "offers")} == {"not_checked"}
    assert {found[name] for name in ("entry", "files", "alias", "job", "locks")} == {"ok"}
    first = _diagnose.first_broken(results)
    assert first is not None
    assert first.sentence.startswith("key: The private key is missing (/k: gone). ")


def test_a_broken_link_that_hides_nothing_lets_later_ones_be_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    found = states(run(monkeypatch, files=Finding("runner", "gone")))
    assert (found["files"], found["login"], found["guest_nix"]) == ("broken", "ok", "ok")
    assert states(run(monkeypatch, files=Finding("public_key", "other")))["login"] == "not_checked"


def test_a_weak_link_hides_nothing_and_comes_behind_a_broken_one(monkeypatch: pytest.MonkeyPatch) -> None:
    results = run(monkeypatch, virtualization=Finding("off", "0"), job=Finding("not_loaded", "no", {"plist": "/p"}))
    assert states(results)["virtualization"] == "weak"
    culprit = _diagnose.culprit(results)
    assert culprit is not None
    assert culprit.link.name == "job"
    assert culprit.fix == "`sudo launchctl bootstrap system /p`"
    results = run(monkeypatch, virtualization=Finding("off", "0"))
    assert _diagnose.first_broken(results) is None
    assert (_diagnose.culprit(results) or results[0]).link.name == "virtualization"


@pytest.mark.parametrize("error", [CommandError("lsof: cannot be started"), OSError(13, "Permission denied")])
def test_what_cannot_be_looked_at_is_no_broken_link(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    results = run(monkeypatch, port=error)
    assert states(results)["port"] == "not_checked"
    assert _diagnose.culprit(results) is None


def test_when_the_time_is_over_the_rest_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    results = run(monkeypatch, ssh=OutOfTime("ssh: was not started"))
    assert [result.evidence for result in results if result.link.name == "ssh"] == ["no time left"]


def test_a_program_gets_its_share_and_none_is_started_when_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    now, given_ = [0.0], []

    def run_(_self: Runner, argv: t.Sequence[str], *, timeout: float, **_options: t.Any) -> Completed:
        given_.append(timeout)
        now[0] += timeout
        return Completed(tuple(argv), 0, "", "")

    monkeypatch.setattr(Runner, "run", run_)
    runner = BoundedRunner(50, lambda: now[0])
    for _number in range(3):
        runner.run(["/bin/x"], timeout=600)
    assert given_ == [20, 20, 10]
    with pytest.raises(OutOfTime):
        runner.run(["/bin/x"], timeout=600)


def test_a_uri_that_is_no_ssh_store_is_the_askers_mistake() -> None:
    with pytest.raises(ConfigError, match="uri"):
        _diagnose.run(Question(uri="https://x"))


# The guest's answers


def session(stderr: str = "", rc: int | None = 255, stdout: str = "") -> _diagnose_guest.Session:
    return _diagnose_guest.read(Completed(("ssh",), rc or 0, stdout, stderr), 1000.0)._replace(rc=rc, ended=1004.0)


def sections(**lines: str) -> str:
    told = {
        "time": "1001",
        "user": "builder",
        "version": "nix-store (Nix) 2.34.8",
        "ping": "{}\nrc=0",
        "dns": "nameserver 1",
        **lines,
    }
    return "".join(f"::nixmac-{name}\n{text}\n" for name, text in told.items()) + "::nixmac-end\n"


def mac(told: _diagnose_guest.Session, entry: str = ENTRY) -> t.Any:
    question = Question()
    machines = read_machines(entry, lambda _path: None)
    return types.SimpleNamespace(
        question=question,
        session=told,
        machines=machines,
        entry=machines.of(question.uri),
        key=question.key,
        label=question.label,
    )


def first(told: _diagnose_guest.Session, entry: str = ENTRY) -> str:
    """`link.cause` of the first of the guest's links that does not pass; every later one is not asked."""
    for link in LINKS[[link.name for link in LINKS].index("ssh") :]:
        if link.name == "locks":
            continue
        found = _diagnose.RULES[link.name](mac(told, entry))
        if found is not None:
            link.cause(found.code)
            return f"{link.name}.{found.code}"
    return ""


@pytest.mark.parametrize(
    ("stderr", "rc", "expected"),
    [
        ("ssh: connect to host 127.0.0.1 port 31022: Connection refused\n", 255, "ssh.refused"),
        ("ssh: connect to host 10.0.0.1 port 31022: Operation timed out\n", 255, "ssh.failed"),
        ("debug1: Connection established.\nConnection timed out during banner exchange\n", 255, "ssh.no_answer"),
        ("debug1: Connection established.\nkex_exchange_identification: read: Connection reset by peer\n", 255, "ssh.closed"),
        ("debug1: Connection established.\ndebug1: kex_exchange_identification: banner line 0: Not allowed at this time\n"
         "kex_exchange_identification: Connection closed by remote host\n", 255, "ssh.locked_out"),  # fmt: skip
        (GREETED + SHOWN + "Host key verification failed.\n", 255, "host_key.other"),
        (GREETED + SHOWN + "builder@127.0.0.1: Permission denied (publickey).\n", 255, "login.key_refused"),
        (GREETED + SHOWN + "@ WARNING: UNPROTECTED PRIVATE KEY FILE! @\nbuilder@x: Permission denied (publickey).\n", 255,
         "login.key_unused"),  # fmt: skip
        (GREETED + SHOWN + "debug1: Sending command\n", 1, "login.no_shell"),
    ],
)  # fmt: skip
def test_what_ssh_says_names_the_link(stderr: str, rc: int, expected: str) -> None:
    assert first(session(stderr, rc)) == expected


def test_a_session_that_does_not_end_is_no_answer() -> None:
    assert first(session(rc=None)) == "ssh.no_answer"


def test_a_session_that_breaks_off_is_told_apart_from_a_login_that_fails() -> None:
    told = session(GREETED + SHOWN + "client_loop: send disconnect: Broken pipe\n", 255, "::nixmac-time\n1001\n")
    assert first(told) == "login.no_shell"


def test_without_a_pinned_key_an_unknown_one_is_named_so() -> None:
    stderr = GREETED + SHOWN + "No ED25519 host key is known for linux-builder and you have requested strict checking.\n"
    assert first(session(stderr), ENTRY.replace(PIN, "-")) == "host_key.unknown"


def test_both_host_keys_are_in_the_evidence() -> None:
    found = guest_rules.host_key(mac(session(GREETED + SHOWN + "Host key verification failed.\n")))
    assert found is not None
    blob = base64.b64decode(PIN_LINE.split()[1])
    pinned = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
    assert "shows ssh-ed25519 SHA256:abc" in found.evidence
    assert f"SHA256:{pinned}" in found.evidence
    assert found.values["command"].startswith("sudo ssh -i /etc/nix/builder_ed25519 -oUserKnownHostsFile=")


GIB = 1024 * 1024


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ({"ca": "/etc/ssl/certs/ca-certificates.crt"}, ""),
        ({"version": ""}, "guest_nix.missing"),
        ({"ping": "error: cannot connect to socket\nrc=1"}, "guest_nix.no_answer"),
        ({"ping": "rc=124"}, "guest_nix.no_answer"),
        ({"ping": '{"trusted":false,"url":"daemon","version":"2.34.8"}\nrc=0'}, "guest_trust.untrusted"),
        ({"ping": '{"trusted":0,"url":"daemon","version":"2.26.3"}\nrc=0'}, "guest_trust.untrusted"),
        ({"ping": "Store URL: daemon\nVersion: 2.26\nTrusted: 0\nrc=0"}, "guest_trust.untrusted"),
        ({"disk": f"/dev/vda {20 * GIB} 5 102400 99% /nix"}, "guest_disk.full"),
        ({"inodes": "/dev/vda 1310720 1310720 0 100% /nix"}, "guest_disk.full"),
        ({"mounts": "/dev/vda /nix ext4 ro,noatime 0 0"}, "guest_disk.read_only"),
        ({"mounts": "/dev/vda /nix/store ext4 ro,noatime 0 0"}, "guest_ca.missing"),
        ({"memory": "MemTotal: 3000000 kB\nMemAvailable: 100000 kB\noom_kill 0"}, "guest_memory.low"),
        ({"memory": "MemTotal: 3000000 kB\nMemAvailable: 900000 kB\noom_kill 3"}, "guest_memory.killed"),
        ({"time": "1500"}, "clock.skewed"),
        ({"time": "500"}, "clock.skewed"),
        ({"time": "1060", "ca": "x"}, ""),
        ({"time": "", "ca": "x"}, ""),
        ({"ca": "x", "dns": ""}, "guest_dns.no_nameserver"),
        ({"ca": "x", "config": "system = x86_64-linux\nsystem-features = big-parallel"}, "offers.system"),
        ({"ca": "x", "config": "system = aarch64-linux\nsystem-features = kvm"}, "offers.feature"),
        ({"ca": "x", "config": "system = x86_64-linux\nextra-platforms = aarch64-linux\nsystem-features = big-parallel"}, ""),
    ],
)
def test_what_the_guest_says_names_the_link(lines: dict[str, str], expected: str) -> None:
    found = first(session(GREETED, 0, sections(**lines)))
    assert found == (expected or ("guest_ca.missing" if "ca" not in lines else ""))


def test_names_that_the_guest_cannot_resolve_are_asked_of_the_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    told = session(GREETED, 0, sections(ca="x", hosts="ok a.example\nbad cache.example"))
    monkeypatch.setattr(guest_rules, "resolves", lambda host: host == "cache.example")
    assert first(told) == "guest_dns.no_answer"
    monkeypatch.setattr(guest_rules, "resolves", lambda _host: False)
    assert first(told) == "guest_dns.offline"


@settings(max_examples=80, deadline=None)
@example("bad ", "", 0)
@given(st.text(max_size=300), st.text(max_size=300), st.sampled_from([0, 1, 255, None]))
def test_no_answer_of_a_guest_raises(stderr: str, stdout: str, rc: int | None) -> None:
    first(session(stderr, rc, stdout))
    first(session(GREETED, 0, sections(ping=stdout, memory=stderr, time=stdout, disk=stderr, config=stdout, hosts=stderr)))


def test_the_clock_is_right_whenever_in_the_session_it_was_read() -> None:
    for told, skew in (("999", 0), ("1000", 0), ("1004", 0), ("1005", 1), ("998", -1), ("900", -99)):
        assert guest_rules.skew_of(session(GREETED, 0, sections(time=told))) == skew


# The daemon's ssh


def test_the_ssh_options_are_those_of_nix() -> None:
    argv = _diagnose_guest.argv(Question(), "/k", "/known")
    assert argv[:6] == ["/usr/bin/ssh", "builder@linux-builder", "-x", "-a", "-i", "/k"]
    assert "-oUserKnownHostsFile=/known" in argv
    assert "-oBatchMode=yes" in argv
    assert not any(word.startswith("-p") for word in argv)
    assert "-p2222" in _diagnose_guest.argv(Question(uri="ssh-ng://b@linux-builder:2222"), "/k", None)


# The Mac's side


def test_a_ps_of_macos_and_one_of_linux_are_read() -> None:
    found = parse_ps("    1     0 Ss   /sbin/launchd\n  77     1 T    /nix/store/x-qemu/bin/qemu-system-aarch64\nnonsense\n")
    assert found[77].is_vm
    assert found[77].state == "T"
    assert not found[1].is_vm


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"<plist>", "invalid"),
        (b"", "invalid"),
        (b'<?xml version="1.0"?><plist version="1.0"><dict><key>Label</key><string>other</string></dict></plist>', "invalid"),
        (b'<?xml version="1.0"?><plist version="1.0"><array/></plist>', "invalid"),
    ],
)
def test_a_property_list_that_launchd_would_not_take(
    monkeypatch: pytest.MonkeyPatch, tmp_path: t.Any, content: bytes, problem: str
) -> None:
    monkeypatch.setattr("ansible_collections.nixmac.linux_builder.plugins.module_utils._diagnose_mac.DAEMONS", str(tmp_path))
    assert not read_plist("x").there
    (tmp_path / "x.plist").write_bytes(content)
    assert read_plist("x").problem == problem


def test_a_line_of_nix_conf_that_may_be_a_secret_is_not_shown() -> None:
    shown = Completed(
        ("nix",), 1, "", "error: syntax error in configuration line 'access-tokens: ghp_secret' in '/etc/nix/nix.conf'"
    )
    found = mac_rules.nix_conf(t.cast(Mac, types.SimpleNamespace(shown=shown, stream=None)))
    assert found is not None
    assert "ghp_secret" not in found.evidence
    assert "/etc/nix/nix.conf" in found.evidence


def alias(stdout: str, rc: int = 0, **changes: t.Any) -> str:
    one = mac(session())
    one.question = dataclasses.replace(one.question, **changes)
    one.ssh_config = Completed(("ssh",), rc, stdout, "" if rc == 0 else "Bad configuration option: x")
    found = mac_rules.alias(one)
    return found.code if found else ""


def test_the_alias_is_judged_by_what_ssh_makes_of_it() -> None:
    good = "host linux-builder\nuser builder\nhostname 127.0.0.1\nport 31022\nhostkeyalias linux-builder\n"
    assert alias(good) == ""
    assert alias(good.replace("127.0.0.1", "localhost")) == ""
    assert alias(good.replace("127.0.0.1", "192.0.2.1")) == "address"
    assert alias(good.replace("31022", "22")) == "port"
    assert alias(good.replace("hostkeyalias linux-builder\n", "")) == "host_key_alias"
    assert alias("user root\nhostname linux-builder\nport 22\n") == "missing"
    assert alias("", 255) == "config"
    assert alias("", 255, uri="ssh-ng://builder@localhost") == ""


def entry(line: str, **asked: t.Any) -> str:
    one = mac(session(), line)
    one.question = dataclasses.replace(one.question, **asked)
    found = mac_rules.entry(one)
    return found.code if found else ""


def test_the_entry_is_held_to_what_is_asked_for() -> None:
    assert entry(ENTRY) == ""
    assert entry(ENTRY, systems=("aarch64-linux",), features=("big-parallel",)) == ""
    assert entry(ENTRY, systems=("x86_64-linux",)) == "system"
    assert entry(ENTRY, features=("kvm",)) == "feature"
    assert entry(ENTRY.replace(" 4 1 ", " 0 1 ")) == "no_jobs"
    assert entry("") == "missing"
    # A feature that a derivation has to require is one that it may require.
    assert entry(ENTRY.replace("big-parallel -", "- big-parallel"), features=("big-parallel",)) == ""
