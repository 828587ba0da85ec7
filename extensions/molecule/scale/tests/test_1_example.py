# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ansible.cfg that is shipped as an example drives the collection as it stands."""

from __future__ import annotations

import configparser

import scale

CONFIG = {"ANSIBLE_CONFIG": str(scale.EXAMPLE / "ansible.cfg")}


def test_the_example_sets_what_it_says() -> None:
    settings = configparser.ConfigParser(interpolation=None)
    settings.read(CONFIG["ANSIBLE_CONFIG"])
    shown = scale.run(["ansible-config", "dump", "--only-changed", "--type=all"], **CONFIG)
    assert shown.rc == 0, shown.output
    known = " ".join(shown.output.lower().split())
    names = {
        "forks": "DEFAULT_FORKS",
        "gathering": "DEFAULT_GATHERING",
        "inject_facts_as_vars": "INJECT_FACTS_AS_VARS",
        "interpreter_python": "INTERPRETER_PYTHON",
        "pipelining": "pipelining",
        "ssh_args": "ssh_args",
        "control_path_dir": "control_path_dir",
        "retries": "reconnection_retries",
        "inventory": "DEFAULT_HOST_LIST",
        "collections_path": "COLLECTIONS_PATHS",
    }
    written = {name for section in settings.sections() for name in settings[section]}
    assert written == set(names), "each line of the example is known here"
    # The collections path is this test's own, from its environment.
    missing = [name for name, setting in names.items() if f"{setting.lower()}(" not in known and name != "collections_path"]
    assert missing == [], shown.output


def test_a_first_run_gives_the_mac_a_builder() -> None:
    played = scale.play("site", scale.FIRST, **CONFIG)
    assert played.rc == 0, played.output[-6000:]
    assert scale.proved(played) == [scale.FIRST]


def test_a_second_run_changes_nothing() -> None:
    played = scale.play("site", scale.FIRST, **CONFIG)
    assert (played.rc, played.changed()) == (0, 0), played.output[-6000:]
