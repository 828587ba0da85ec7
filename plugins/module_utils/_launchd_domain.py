# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""launchd's domains: which target, which directory, whose file."""

from __future__ import annotations

import grp
import os
import pwd
import re
import stat
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import ConfigError, FileError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._files import Ownership, lstat, set_ownership

_NUMBERED = re.compile(r"(gui|user)/([0-9]{1,10})")


class Roots(t.NamedTuple):
    """Where macOS keeps property lists; other roots serve the tests."""

    library: str = "/Library"
    system: str = "/System/Library"


class Domain(t.NamedTuple):
    """A launchd domain and its property lists.

    target: `system`, `gui/<uid>` or `user/<uid>`. directories: where property lists of the domain may lie;
    a new one goes into the first. ownership: what launchd wants a file of the domain to have.
    """

    target: str
    uid: int
    directories: tuple[str, ...]
    ownership: Ownership

    @property
    def per_user(self) -> bool:
        """Whether this is a user's domain, which may not exist while nobody is logged in."""
        return self.target != "system"

    @property
    def overrides_target(self) -> str:
        """A domain with the same override database that exists without a login at the screen."""
        return f"user/{self.uid}" if self.per_user else self.target

    def service(self, label: str) -> str:
        """The target of a job."""
        return f"{self.target}/{label}"


def resolve_domain(text: str, roots: Roots) -> Domain:
    """`system`, `gui/<uid>`, `user/<uid>`, or a user's name (her gui domain). ConfigError for anything else."""
    if text == "system":
        account = _account(lambda: pwd.getpwuid(0), "uid 0")
        directories = tuple(os.path.join(root, "LaunchDaemons") for root in (roots.library, roots.system))
        return Domain("system", 0, directories, _ownership(account))
    match = _NUMBERED.fullmatch(text)
    if match is not None:
        uid = int(match.group(2))
        return _user_domain(match.group(1), _account(lambda: pwd.getpwuid(uid), f"uid {uid}"), roots)
    if not text or "/" in text:
        raise ConfigError(f"domain: {text!r} is none. Give system, gui/<uid>, user/<uid>, or a user's name.")
    return _user_domain("gui", _account(lambda: pwd.getpwnam(text), f"user {text!r}"), roots)


def _account(lookup: t.Callable[[], pwd.struct_passwd], what: str) -> pwd.struct_passwd:
    try:
        return lookup()
    except (KeyError, OverflowError, ValueError) as exc:
        raise ConfigError(f"domain: {what} does not exist on this host. Create the account, or name another.") from exc


def _user_domain(kind: str, account: pwd.struct_passwd, roots: Roots) -> Domain:
    own = os.path.join(account.pw_dir, "Library", "LaunchAgents")
    shared = tuple(os.path.join(root, "LaunchAgents") for root in (roots.library, roots.system))
    return Domain(f"{kind}/{account.pw_uid}", account.pw_uid, (own, *shared), _ownership(account))


def _ownership(account: pwd.struct_passwd) -> Ownership:
    # The group is looked up because gid 0 is `wheel` on a Mac and `root` elsewhere.
    return Ownership(account.pw_name, _group_name(account.pw_gid), 0o644)


def _group_name(gid: int) -> str | None:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return None


def prepare_directory(domain: Domain, path: str) -> None:
    """Make the directory of a user's property list where it is missing, and check whose it is.

    launchd does not load a file from a directory of somebody else, and root must not follow a link that the
    user laid. FileError says what to correct.
    """
    directory = os.path.dirname(path)
    if not domain.per_user or directory != domain.directories[0]:
        if not os.path.isdir(directory):
            raise FileError(f"{directory}: does not exist. Create it, or leave O(path) out.", path=path)
        return
    for each in (os.path.dirname(directory), directory):
        if lstat(each) is None:
            try:
                os.mkdir(each, 0o700)
            except OSError as exc:
                raise FileError(f"{each}: cannot be made: {exc.strerror}. Is the home directory there?", path=each) from exc
            set_ownership(each, domain.ownership._replace(mode=0o700))
        status = os.stat(each)
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != domain.uid:
            raise FileError(f"{each}: is not a directory of uid {domain.uid}. Correct it first (chown).", path=each)
