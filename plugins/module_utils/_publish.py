# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""The builder's closure, signed, in the fleet's store: what is missing there, and bringing it there."""

from __future__ import annotations

import json
import os
import stat
import tempfile
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _files
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_cache import check_key, check_url
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_cache_take import IMPATIENT, environment
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_record import read_generation
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Completed, Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError, ConfigError, FileError, StateError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nix import Nix, complaint, find_nix
from ansible_collections.nixmac.linux_builder.plugins.module_utils._outcome import Outcome
from ansible_collections.nixmac.linux_builder.plugins.module_utils._progress import SILENT, Progress

_QUERY_TIMEOUT = 600.0  # seconds: some hundred small files of a store far away
# Nix remembers for an hour what a store lacks; here the push comes in between.
_FRESH = ("--option", "narinfo-cache-negative-ttl", "0", "--option", "narinfo-cache-positive-ttl", "0")
_PUSH_TIMEOUT = 3 * 3600.0  # seconds: some GiB upwards


class Plan(t.NamedTuple):
    """What to do. closure: all paths of it. copied, signed: those that the store lacks, and has without our signature."""

    store_path: str
    closure: tuple[str, ...]
    copied: tuple[str, ...]
    signed: tuple[str, ...]

    @property
    def changed(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.copied or self.signed)


def plan(store_path: str, closure: t.Collection[str], there: t.Mapping[str, t.Collection[str]], key_name: str) -> Plan:
    """Compare. there: path -> its signatures in the store, for those of the closure that the store has."""
    paths = tuple(sorted(closure))
    return Plan(
        store_path,
        paths,
        copied=tuple(path for path in paths if path not in there),
        signed=tuple(
            path for path in paths if path in there and not any(sig.partition(":")[0] == key_name for sig in there[path])
        ),
    )


def execute(params: dict[str, t.Any], check_mode: bool, progress: Progress = SILENT) -> Outcome:
    """Have the profile's closure in the store. Raises the collection's errors."""
    if os.geteuid() != 0:
        raise StateError("builder_image: needs root, because the private key is root's. Set become: true.")
    generation = read_generation(params["profile"])
    if generation.store_path is None or not generation.valid:
        raise StateError(
            f"{params['profile']}: has no builder to publish. Run the playbook nixmac.linux_builder.site here first."
        )
    with tempfile.TemporaryDirectory(prefix="linux-builder-") as home:
        env = environment({"HOME": home, "XDG_CACHE_HOME": f"{home}/cache"})
        press = Press(find_nix(Runner()), check_url(params["cache"].strip()), params["private_key"], env)
        if params["cache_public_key"] and check_key(params["cache_public_key"].strip()) != press.public_key:
            raise ConfigError(
                f"cache_public_key: is not the public half of {params['private_key']} ({press.public_key}), so no Mac would take "
                "what is signed with it. Give the one or the other."
            )
        wanted = press.look(generation.store_path)
        if wanted.changed and not check_mode:
            press.publish(wanted, progress)
        return Outcome(
            changed=wanted.changed,
            result={
                "store_path": wanted.store_path,
                "public_key": press.public_key,
                "paths": len(wanted.closure),
                "copied": list(wanted.copied),
                "signed": list(wanted.signed),
            },
            before="".join(f"{path} without signature\n" for path in wanted.signed),
            after="".join(f"{path}\n" for path in (*wanted.copied, *wanted.signed)),
            header=press.url,
        )


class Press:
    """Signs and pushes with one key to one store."""

    def __init__(self, nix: Nix, url: str, private_key: str, env: t.Mapping[str, str]) -> None:
        self._nix = nix
        self.url = url
        self._key_file = private_key
        self._env = env
        self.public_key = self._read_key()

    def look(self, store_path: str) -> Plan:
        """What the store lacks of the closure. Starts two Nix commands."""
        done = self._run(["path-info", "--recursive", "--json", store_path], "the closure cannot be read")
        closure = read_paths(done.stdout)
        return plan(store_path, closure, self._there(sorted(closure)), self.public_key.partition(":")[0])

    def publish(self, wanted: Plan, progress: Progress) -> None:
        """Sign here, copy what is missing, sign there what was there already, and look again."""
        self._nix.progress = _Push(progress)
        self._nix.progress.phase("push")
        sign = ["store", "sign", "--key-file", self._key_file]
        self._run([*sign, "--recursive", wanted.store_path], "the closure cannot be signed")
        if wanted.copied:
            done = self._nix.work(
                ["copy", "--to", self.url, *IMPATIENT, wanted.store_path],
                timeout=_PUSH_TIMEOUT,
                env=self._env,
            )
            self._check(done, f"{wanted.store_path} cannot be copied there")
        if wanted.signed:
            self._run([*sign, "--store", self.url, *_FRESH, *wanted.signed], "what is there cannot be signed")
        left = plan(wanted.store_path, wanted.closure, self._there(wanted.closure), self.public_key.partition(":")[0])
        if left.changed:
            example = (*left.copied, *left.signed)[0]
            raise CommandError(
                f"{self.url}: after the push still lacks {len(left.copied)} paths and {len(left.signed)} signatures, for example "
                f"of {example}. Does something remove them there? Run again."
            )

    def _there(self, paths: t.Sequence[str]) -> dict[str, list[str]]:
        """Path -> signatures, of those that the store has."""
        if self.url.startswith("file://") and not os.path.exists(self.url.partition("?")[0][len("file://") :]):
            return {}  # Nix would make the directory
        done = self._ask(paths)
        if done.rc != 0 and "is not valid" in done.stderr:
            # This Nix does not say which ones the store lacks.
            answers = [answer for answer in (self._ask([path]) for path in paths) if answer.rc == 0]
            return {path: signatures for answer in answers for path, signatures in read_paths(answer.stdout).items()}
        self._check(done, "cannot be asked what it has")
        return read_paths(done.stdout)

    def _ask(self, paths: t.Sequence[str]) -> Completed:
        args = ["path-info", "--json", "--store", self.url, *IMPATIENT, *_FRESH, *paths]
        return self._nix.run(args, timeout=_QUERY_TIMEOUT, env=self._env)

    def _read_key(self) -> str:
        snapshot = _files.read(self._key_file, limit=4096)
        if snapshot.content is None or snapshot.status is None:
            raise FileError(
                f"{self._key_file}: is missing. Make it as root with `nix key generate-secret --key-name <name>`, mode 0600."
            )
        if stat.S_IMODE(snapshot.status.st_mode) & 0o077:
            raise FileError(f"{self._key_file}: others can read the private key. Set mode 0600, or make a new pair if they did.")
        done = self._nix.run(
            ["key", "convert-secret-to-public"], timeout=60, env=self._env, stdin=snapshot.content.decode(errors="replace")
        )
        if done.rc != 0:  # not its words: they could show a part of what was read
            raise ConfigError(f"{self._key_file}: is no private key of Nix. Make one with `nix key generate-secret`.")
        return done.stdout.strip()

    def _run(self, args: t.Sequence[str], what: str) -> Completed:
        done = self._nix.run(args, timeout=_QUERY_TIMEOUT, env=self._env)
        self._check(done, what)
        return done

    def _check(self, done: Completed, what: str) -> None:
        if done.rc != 0:
            raise CommandError(
                f"{self.url}: {what}: {complaint(done).rstrip('.')}. Check cache, its credentials and the network."
            )


class _Push:
    """Nix calls every copy a fetch; this one goes the other way."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def phase(self, name: str) -> None:
        self._progress.phase("push")

    def detail(self, done: int, total: int, unit: str) -> None:
        self._progress.detail(done, total, unit)


def read_paths(printed: str) -> dict[str, list[str]]:
    """Path -> signatures from `path-info --json`, of the paths that the store has. CommandError when it is no such thing.

    An object by path since 2.19 (null for what is not there), before a list (with `valid: false`).
    """
    try:
        table = json.loads(printed)
        entries = table.items() if isinstance(table, dict) else [(entry["path"], entry) for entry in table]
        return {
            str(path): [str(signature) for signature in entry.get("signatures", [])]
            for path, entry in entries
            if entry is not None and entry.get("valid", True)
        }
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        raise CommandError("nix path-info --json printed nothing usable. Check the Nix version.") from exc
