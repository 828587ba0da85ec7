# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A guest whose clock is wrong: seen, left alone while it builds, restarted when it is idle. The file's tests share one VM.

Run by name: `tests/lab/lab pytest tests/real/full_clock.py`.
"""

from __future__ import annotations

import subprocess
import typing as t
from pathlib import Path

import pytest
from builder_under_test import Mac, wait_for

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _awake, _clock
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_answer import Guest
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Runner

BEHIND = 2 * 3600  # seconds; a Mac that slept over lunch


@pytest.fixture(name="mac", scope="module")
def fixture_mac(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Mac]:
    mac = Mac(tmp_path_factory.mktemp("clock"), "vm-clock", 31962)
    yield mac
    mac.close()


def skew(mac: Mac) -> _clock.Skew:
    result = _clock.measure(Guest(mac.layout, "127.0.0.1", mac.port, mac.key), Runner())
    assert result is not None
    return result


def test_a_guest_that_has_just_booted_has_the_macs_time(mac: Mac) -> None:
    """And a guest behind it is made of that one: its clock is set back at boot, as the Mac's sleep would."""
    mac.run(prove=False)
    assert skew(mac).least < 5
    runner = Path(mac.layout.runner)
    before = runner.read_text(encoding="utf-8")
    wrong = before.replace(
        "export KEYS", f'QEMU_OPTS="$QEMU_OPTS -rtc base=$(date -u -d @$(($(date +%s) - {BEHIND})) +%FT%T)"\nexport KEYS'
    )
    assert wrong != before
    boot_id = mac.run(state="ready").result["boot_id"]
    runner.write_text(wrong, encoding="utf-8")
    mac.launchctl.checked(mac.launchctl.kickstart(f"system/{mac.label}", kill=True))
    wait_for(lambda: mac.run(state="ready").result["boot_id"] != boot_id, 300)
    runner.write_text(before, encoding="utf-8")


def test_the_skew_is_measured(mac: Mac) -> None:
    measured = skew(mac)
    print(measured)
    assert abs(measured.seconds + BEHIND) < 60
    assert 0.5 <= measured.uncertainty < 60


def test_below_the_limit_or_without_one_nothing_happens(mac: Mac) -> None:
    for limit in (0, 3 * 3600):
        assert not mac.run(max_clock_skew=limit).changed


def test_a_guest_that_builds_is_left_alone(mac: Mac) -> None:
    with mac.building():
        report = mac.run()
    assert not report.changed
    assert skew(mac).least > 3600


def test_check_mode_says_that_it_would_be_restarted(mac: Mac) -> None:
    from ansible_collections.nixmac.linux_builder.plugins.module_utils import _builder

    report = _builder.execute(mac.params, True)
    assert report.changed
    assert "the guest's clock is 72" in str(report.after)
    assert skew(mac).least > 3600


def test_an_idle_guest_is_restarted_in_order_and_has_the_time(mac: Mac) -> None:
    mac.guest("echo unsynced > marker")
    begun: list[list[str]] = []

    class Watch:
        def phase(self, name: str) -> None:
            # caffeinate is beside it from the first phase on.
            begun.append(
                subprocess.run(["/bin/ps", "-eo", "args="], stdout=subprocess.PIPE, check=True).stdout.decode().split("\n")
            )

        def detail(self, done: int, total: int, unit: str) -> None:
            pass

    report = mac.run(Watch())
    assert report.result["restarted"]
    assert [why for why in report.result["why"] if "behind the Mac's, more than the 60 s of max_clock_skew" in why]
    assert "the guest has powered off" in mac.log()
    assert skew(mac).least < 5
    assert mac.guest("cat marker") == "unsynced"
    mac.settled()
    awake = [word for lines in begun for word in lines if "--pid=" in word or _awake.CAFFEINATE in word]
    assert len(awake) == len(begun)
