# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Slips as a user makes them, by the real ansible-playbook. This machine is no Mac: it is not even asked."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    ("playbook", "words", "said"),
    [
        (
            "site",
            "linux_builder_prot=1 linux_builder_disk_mib=-5 linux_builder_systems=arm64-linux",
            [
                "linux_builder_disk_mib: '-5' is negative",
                "linux_builder_prot: there is no such variable. Did you mean linux_builder_port?",
                "linux_builder_systems: 'arm64-linux' is no system that Nix builds Linux for. Did you mean aarch64-linux?",
                "Nothing was changed.",
            ],
        ),
        # Else the disk would be gone.
        ("teardown", "linux_builder_keep_dat=true", ["Did you mean linux_builder_keep_data?", "Nothing was changed."]),
        ("verify", "linux_builder_verify_usr=alice", ["Did you mean linux_builder_verify_user?"]),
        ("site", "linux_builder_port=many", ["linux_builder_port", "many"]),
        ("site", "linux_builder_host_key=permac", ["linux_builder_host_key", "stock, per_mac", "permac"]),
    ],
)
def test_a_slip_is_told_before_anything_runs(playbook: str, words: str, said: list[str]) -> None:
    command = [BIN / "ansible-playbook", f"nixmac.linux_builder.{playbook}", "-i", "mac-1.invalid,", "-c", "local", "-e", words]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2
    assert [text for text in said if text not in done.stdout + done.stderr] == []


@pytest.mark.parametrize(
    ("value", "code", "said"),
    [
        ("", 0, "ansible_python_interpreter: /usr/bin/python3"),
        ("linux_builder_bootstrap=nix", 0, "ansible_python_interpreter: /nix/var/nix/profiles/linux-builder-python/bin/python3"),
        ("linux_builder_bootstrap=brew", 2, "linux_builder_bootstrap: 'brew' is none of clt, nix."),
    ],
)
def test_bootstrap_takes_its_variable_from_the_inventory(tmp_path: Path, value: str, code: int, said: str) -> None:
    """Check mode: it looks for a Python as on a Mac, finds none of a Mac's here, and says what it would install."""
    (tmp_path / "inventory").write_text(f"[macs]\nmac-1.invalid\n[macs:vars]\n{value}\n")
    command = [BIN / "ansible-playbook", "nixmac.linux_builder.bootstrap", "-i", tmp_path / "inventory", "-c", "local", "--check"]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == code, done.stdout
    assert said in " ".join(done.stdout.split())


def test_the_export_is_written_where_one_stands(tmp_path: Path) -> None:
    """Not beside the playbook, which lies in the installed collection."""
    command = [BIN / "ansible-playbook", "nixmac.linux_builder.export_nix_darwin", "-i", "mac-1.invalid,"]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout
    assert "nix.distributedBuilds = true;" in (tmp_path / "linux-builder-mac-1.invalid.nix").read_text()
