# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _newsyslog
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_layout import Layout

LAYOUT = Layout("/var/lib/linux-builder", "/p", "/var/log/linux-builder.log", "org.nixmac.linux-builder")


def fields(layout: Layout) -> list[str]:
    """The entry as newsyslog.conf(5) tells to read it: comments go, `\\#` is a `#`, blanks separate."""
    lines = [re.split(r"(?<!\\)#", line)[0].replace("\\#", "#").split() for line in _newsyslog.text(layout, 1024, 5).splitlines()]
    (entry,) = (line for line in lines if line)
    return entry


def test_the_entry_has_all_nine_fields_in_their_order() -> None:
    log, owner, mode, count, size, when, flags, pid_file, number = fields(LAYOUT)
    assert (log, pid_file) == ("/var/log/linux-builder.log", "/var/lib/linux-builder/run/runner.pid")
    assert (owner, mode, count, size, when, number) == ("root:wheel", "644", "5", "1024", "*", "1")
    assert set(flags) == {"B", "J"}


def test_a_number_sign_in_a_path_begins_no_comment() -> None:
    entry = fields(Layout("/var/lib/b#2", "/p", "/var/log/b#2.log", "org.example.b"))
    assert (entry[0], entry[7], len(entry)) == ("/var/log/b#2.log", "/var/lib/b#2/run/runner.pid", 9)


def test_each_builder_has_an_entry_of_its_own() -> None:
    assert _newsyslog.path(LAYOUT) == "/etc/newsyslog.d/org.nixmac.linux-builder.conf"
