# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _builder_causes as causes
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_causes import Symptoms

RUNS = "running, pid 5, 1 runs"


def said(minute: int, words: str, second: int = 0) -> str:
    """A line of the runner."""
    return f"2026-11-23T10:{minute:02}:{second:02}+0100 run-builder[{500 + minute}]: {words}\n"


def attempt(minute: int, console: str, status: int | None = 1) -> str:
    """What one start of the VM leaves in the log."""
    end = said(minute, f"the VM has ended with status {status}", 9) if status is not None else ""
    return said(minute, "starting the VM: -m 3072 -smp 2, ssh on 127.0.0.1 port 31022") + console + "\n" + end


def name(kind: str = "booting", ssh: str = "Connection refused", job: str = RUNS, log: str = "") -> str | None:
    row = causes.likely(Symptoms(kind, ssh, job, log))
    return row and row.name


PORT_TAKEN = "qemu-system-aarch64: -netdev user: Could not set up host forwarding rule 'tcp:127.0.0.1:31022-:22'"

# One line that others or QEMU, Linux and the runner print, for each row that looks at the log.
CONSOLE = [
    (PORT_TAKEN, "port-taken"),
    ("[vzvm] error: cannot listen on 127.0.0.1:31022: Address already in use", "port-taken-vz"),
    ("[vzvm] error: Rosetta is not installed. Install it with:", "rosetta-missing"),
    ("[vzvm] error: /wd/nixos.qcow2 is a QEMU qcow2 image, not a raw disk. It is most likely", "disk-of-qemu"),
    ("[vzvm] error: nested virtualization is not supported on this host", "no-nested"),
    ("[vzvm] error: initrd not found: /nix/store/x", "vzvm-refuses"),
    ("[vzvm] guest started", "vz-guest"),
    ("process 3 already runs the builder on /x; this one ends", "second-instance"),
    ('qemu-system-aarch64: Failed to get "write" lock\nIs another process using the image?', "disk-in-use"),
    ("mkfs.erofs: failed to write: No space left on device", "disk-full"),
    ("<E> erofs: \tCould not format the device : [Error 74] Bad message", "disk-full"),
    ("[   12.1] I/O error, dev vda, sector 2048 op 0x1:(WRITE) flags 0x0", "disk-full"),
    ("[   30.0] Out of memory: Killed process 311 (nix-daemon) total-vm:80000kB", "out-of-memory"),
    ("[    2.0] Kernel panic - not syncing: System is deadlocked on memory", "out-of-memory"),
    ("qemu-system-x86_64: cannot set up guest memory 'pc.ram': Cannot allocate memory", "out-of-memory"),
    ("[    1.0] Initramfs unpacking failed: write error", "out-of-memory"),
    ("Assertion failed: (ret == HV_SUCCESS), function hvf_arch_init_vcpu, file hvf.c", "qemu-sdk"),
    ("qemu-system-aarch64: Property 'max-arm-cpu.sme' not found", "qemu-old"),
    ("qemu-system-aarch64: Error: HV_UNSUPPORTED", "no-virtualisation"),
    ("qemu-system-aarch64: Error: HV_DENIED", "no-entitlement"),
    ("/p/bin/run-nixos-vm is missing: run the builder role again", "closure-gone"),
    ("/wd/keys/builder_ed25519.pub is missing: the guest would let nobody in", "no-keys"),
    ("Assertion failed: (bs), function bdrv_x, file block.c", "qemu-crash"),
    ("[    3.0] Kernel panic - not syncing: VFS: Unable to mount root fs", "guest-panic"),
    ("NIX_SSL_CERT_FILE (/x) is missing: the guest will have no CA certificates", "no-certificates"),
]


@pytest.mark.parametrize(("line", "expected"), CONSOLE)
def test_a_line_of_the_console_or_the_runner_names_the_cause(line: str, expected: str) -> None:
    assert name(log=attempt(1, line)) == expected


@pytest.mark.parametrize(
    ("symptoms", "expected"),
    [
        (Symptoms("wrong-host-key", "Host key verification failed.", RUNS, ""), "host-key-differs"),
        (Symptoms("key-refused", "builder@127.0.0.1: Permission denied (publickey).", RUNS, ""), "key-refused"),
        (Symptoms("booting", "kex_exchange_identification: Not allowed at this time", RUNS, ""), "locked-out"),
        (Symptoms("no-daemon", "", RUNS, ""), "guest-daemon"),
        (Symptoms("booting", "Connection refused", "not loaded; start it with launchd_service", ""), "not-loaded"),
        (Symptoms("booting", "Connection timed out", RUNS, attempt(1, "boot", None)), "slow"),
        (Symptoms("booting", "Connection refused", "spawn scheduled", attempt(1, "") * 3), "crash-loop"),
        (Symptoms("booting", "Connection refused", "spawn scheduled", attempt(1, "") * 2), "slow"),
    ],
)
def test_ssh_the_job_and_the_daemon_name_theirs(symptoms: Symptoms, expected: str) -> None:
    row = causes.likely(symptoms)
    assert row is not None
    assert row.name == expected


def test_every_row_is_reached_by_a_line_of_this_file() -> None:
    by_line = {expected for _line, expected in CONSOLE}
    assert by_line | {"host-key-differs", "key-refused", "locked-out", "guest-daemon", "not-loaded", "slow", "crash-loop"} == {
        row.name for row in causes.TABLE
    }


def test_a_crash_loop_is_told_by_its_reason_even_while_the_next_attempt_has_just_begun() -> None:
    log = attempt(1, PORT_TAKEN) + attempt(2, PORT_TAKEN) + attempt(3, PORT_TAKEN) + attempt(3, "", None)
    assert name(log=log) == "port-taken"


def test_what_the_last_attempt_says_comes_before_what_an_earlier_one_said() -> None:
    assert name(log=attempt(1, PORT_TAKEN) + attempt(2, "write: No space left on device")) == "disk-full"


def test_an_attempt_that_ends_before_it_starts_a_vm_is_an_attempt() -> None:
    assert (
        name(log=attempt(1, PORT_TAKEN) + said(2, "/p/bin/run-nixos-vm is missing: run the builder role again")) == "closure-gone"
    )


def test_an_attempt_of_long_ago_is_no_cause() -> None:
    assert name(log=attempt(1, PORT_TAKEN) + attempt(40, "boot", None)) == "slow"
    assert name(log=attempt(1, PORT_TAKEN) + said(40, "asked to stop: no VM runs")) == "slow"


def test_a_daemon_that_was_killed_for_memory_is_a_matter_of_memory() -> None:
    log = attempt(1, "Out of memory: Killed process 311 (nix-daemon)", None)
    assert name("no-daemon", "", log=log) == "out-of-memory"


def test_missing_certificates_are_named_only_where_nothing_else_is() -> None:
    warning = said(1, "NIX_SSL_CERT_FILE (/x) is missing: the guest will have no CA certificates")
    assert name(log=warning + attempt(1, "boot", None)) == "no-certificates"
    assert name("no-daemon", "", log=warning + attempt(1, "boot", None)) == "guest-daemon"


def test_words_name_the_port_and_say_what_to_do() -> None:
    for row in causes.TABLE:
        assert "{" not in row.says(31022)
        assert ("31022" in row.says(31022)) == (row.name in ("port-taken", "port-taken-vz", "host-key-differs"))
        re.compile(row.pattern)


def test_the_log_is_read_from_its_end_and_printable(tmp_path: pathlib.Path) -> None:
    log = tmp_path / "log"
    assert causes.read_log(str(log)) == ""
    assert causes.tail("") == []
    log.write_bytes(b"x" * 900000 + b"\n\x1b[1;32mgreen\x1b[0m \x07\xff\r\nlast\n")
    assert causes.tail(causes.read_log(str(log)), 2) == ["green \ufffd", "last"]
    assert len(causes.read_log(str(log))) < 300000
    assert causes.read_log(str(tmp_path)) == ""


@given(st.text(max_size=200))
def test_no_log_is_too_strange(text: str) -> None:
    assert name(log=text + "\n2026-99-99T10:00:00+0100 run-builder[1]: x") is not None
