# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""The entry that makes macOS rotate the builder's log: /etc/newsyslog.d/<label>.conf.

newsyslog(8) is started by macOS every half hour. It renames the log, makes a new one, and sends a signal to the process
whose number stands in the entry's file; the runner then writes into the new log.
"""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_layout import Layout

DIRECTORY = "/etc/newsyslog.d"
MODE = 0o644
SIGNAL = 1  # SIGHUP; a number, as not every newsyslog takes a name


def path(layout: Layout) -> str:
    """Where the entry lies; named after the job, so that two builders on one Mac have one each."""
    return f"{DIRECTORY}/{layout.label}.conf"


def text(layout: Layout, size_kib: int, count: int) -> str:
    """The entry. size_kib: from which size on the log is rotated. count: old logs that are kept.

    By size only: a log that is never written to is never rotated, so that the number of a process that is long gone
    (kill -9, then bootout) is never signalled. B: no line of newsyslog's own in the log. J: old ones are compressed.
    """
    log, pid_file = (name.replace("#", "\\#") for name in (layout.log_path, layout.runner_pid))
    fields = (log, "root:wheel", "644", str(count), str(size_kib), "*", "BJ", pid_file, str(SIGNAL))
    return (
        "# Written by nixmac.linux_builder.builder_vm; changes are lost at its next run.\n"
        "# logfilename owner:group mode count size when flags pid_file signal\n" + " ".join(fields) + "\n"
    )


def rotated(log_path: str, names: t.Iterable[str]) -> tuple[str, ...]:
    """Which of the `names` in the log's directory are old logs, as paths: `<log>.0`, `<log>.1.bz2` and so on."""
    directory, log = os.path.split(log_path)
    pattern = re.compile(re.escape(log) + r"\.[0-9]+(?:\.(?:bz2|gz))?")
    return tuple(os.path.join(directory, name) for name in sorted(names) if pattern.fullmatch(name))
