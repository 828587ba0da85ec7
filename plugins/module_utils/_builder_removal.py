# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""What state=absent removes of a builder: read what there is of it, and name it. Nothing here changes anything."""

from __future__ import annotations

import os
import re
import stat
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _builder_disk, _files, _newsyslog, _vz
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_layout import Layout
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_record import read_record
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import FileError

# What can lie in the working directory because of us. Anything else there is somebody's, and stays.
_OURS = (
    "builder.json",
    "change.json",
    "run-builder",
    "known_hosts",
    "keys",
    "run",
    "tmp",
    "nix-home",
    "next",
    "rotation",
    "verified.json",
)


class Removal(t.NamedTuple):
    """What state=absent removes: links and files (`paths`), trees, then directories if they are empty.

    foreign: names in the working directory that are not ours and stay.
    """

    paths: tuple[str, ...]
    trees: tuple[str, ...]
    empty_directories: tuple[str, ...]
    foreign: tuple[str, ...]

    @property
    def changed(self) -> bool:
        """Whether there is anything to remove."""
        return bool(self.paths or self.trees or self.empty_directories)

    @property
    def before(self) -> str:
        """Text for --diff: one path a line."""
        return "".join(f"{path}\n" for path in sorted((*self.paths, *self.trees, *self.empty_directories)))


def plan_removal(layout: Layout, keep_data: bool, spared: t.Container[str] = ()) -> Removal:
    """Read what there is of the builder and name it. keep_data: the data disk stays, and its directory with it.

    spared: paths that were there before the builder, and stay.
    """
    entries = _names(layout.working_directory)
    data = _builder_disk.names(layout)
    # Where somebody else's disk lay, that one may be among those that were moved aside since.
    former = [name for name in data if layout.disk in spared and _builder_disk.is_former(name)]
    kept = [name for name in entries if layout.path(name) in spared or name in former or (keep_data and name in data)]
    ours = [name for name in entries if (name in _OURS or _vz.is_ours(name) or name in data) and name not in kept]
    foreign = tuple(name for name in entries if name not in ours and name not in kept)
    stays = bool(foreign or kept) or layout.working_directory in spared
    paths = [layout.path(name) for name in ours if not _is_tree(layout.path(name))]
    singles = (layout.log_path, layout.previous, layout.profile, _newsyslog.path(layout))
    paths += [path for path in singles if _files.lstat(path) is not None]
    parents = read_record(layout).get("created_parents") if "builder.json" in entries else None
    emptied = [layout.working_directory] if _files.lstat(layout.working_directory) is not None and not stays else []
    if emptied and isinstance(parents, list):
        emptied += sorted((path for path in parents if isinstance(path, str) and _above(path, layout)), key=len, reverse=True)
        emptied += [_newsyslog.DIRECTORY] if _newsyslog.DIRECTORY in parents else []
    return Removal(
        paths=(
            *(path for path in paths if path not in spared),
            *(generation_links(layout.profile) if layout.profile not in spared else ()),
            *_newsyslog.rotated(layout.log_path, _names(os.path.dirname(layout.log_path))),
        ),
        trees=tuple(layout.path(name) for name in ours if _is_tree(layout.path(name))),
        empty_directories=tuple(emptied),
        foreign=foreign,
    )


def generation_links(profile: str) -> tuple[str, ...]:
    """The `<profile>-<n>-link` beside a profile, oldest first."""
    directory, name = os.path.split(profile)
    pattern = re.compile(re.escape(name) + r"-([0-9]+)-link$")
    matches = [match for match in map(pattern.match, _names(directory)) if match]
    return tuple(os.path.join(directory, match.group(0)) for match in sorted(matches, key=lambda match: int(match.group(1))))


def _above(path: str, layout: Layout) -> bool:
    return layout.working_directory.startswith(path.rstrip("/") + "/")


def _names(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as exc:
        raise FileError(f"{directory}: cannot be read: {exc.strerror}. Run as root (become: true).", path=directory) from exc


def _is_tree(path: str) -> bool:
    status = _files.lstat(path)
    return status is not None and stat.S_ISDIR(status.st_mode)
