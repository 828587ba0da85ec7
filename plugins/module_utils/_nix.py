# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""The `nix` program: found, asked for its version and settings, started with a known configuration."""

from __future__ import annotations

import functools
import json
import re
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _nix_note
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Completed, Runner, find_program
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._progress import SILENT, Progress

CANDIDATES = (
    "/nix/var/nix/profiles/default/bin/nix",
    "/run/current-system/sw/bin/nix",
    "/usr/local/bin/nix",
    "/usr/bin/nix",
)

# A directory without nix.conf. Nix ignores a missing nix.conf, so the directory need not exist.
EMPTY_CONF_DIR = "/var/empty/nixmac"

# Settings that only the process which evaluates, prints or prompts looks at. The daemon does neither, so a
# change of these needs no restart of it. A setting that is not named here counts as the daemon's.
CLIENT_SETTINGS = frozenset(
    """
    abort-on-warn accept-flake-config allow-dirty allow-dirty-locks allow-import-from-derivation
    allow-unsafe-native-code-during-evaluation bash-prompt bash-prompt-prefix bash-prompt-suffix
    commit-lock-file-summary commit-lockfile-summary debugger-on-trace debugger-on-warn
    eval-cache eval-cores eval-profile-file eval-profiler eval-profiler-frequency eval-system flake-registry ignore-try
    json-log-path keep-env-derivations lazy-locks lazy-trees log-format max-call-depth nix-path
    nix-shell-always-looks-for-shell-nix nix-shell-shebang-arguments-relative-to-script print-missing pure-eval
    repl-overlays restrict-eval show-trace tarball-ttl trace-function-calls trace-import-from-derivation trace-verbose
    upgrade-nix-store-path-url use-registries use-xdg-base-directories warn-dirty warn-large-path-threshold
    warn-short-path-literals
    """.split()
)

_VERSION = re.compile(r"^\S+ \((Nix|Lix, like Nix|Determinate Nix (\S+))\) (\d+)\.(\d+)(?:\.(\d+))?(\S*)")
_VARIANTS = {"Nix": "upstream", "Lix, like Nix": "lix"}
_FEATURES = ("--extra-experimental-features", "nix-command")
_SHORT = 60.0  # seconds, for commands that only read: a Mac that is swapping still answers


class NixVersion(t.NamedTuple):
    """What `nix --version` says; for Determinate `major.minor.patch` is the Nix it is based on."""

    variant: str  # upstream | determinate | lix
    major: int
    minor: int
    patch: int
    text: str  # the whole first line

    @property
    def numbers(self) -> tuple[int, int, int]:
        """(major, minor, patch), to compare."""
        return self.major, self.minor, self.patch

    @property
    def short(self) -> str:
        """The number as text: `2.26.3`."""
        return f"{self.major}.{self.minor}.{self.patch}"


def parse_version(output: str) -> NixVersion:
    """Read the first line of `nix --version`. CommandError when it is nothing that is known."""
    line = output.splitlines()[0] if output.strip() else ""
    match = _VERSION.match(line)
    if match is None:
        raise CommandError(f"nix --version: {line!r} is no version of Nix, Lix or Determinate Nix. Check the installation.")
    variant = _VARIANTS.get(match.group(1), "determinate")
    return NixVersion(variant, int(match.group(3)), int(match.group(4)), int(match.group(5) or 0), line)


class Ping(t.NamedTuple):
    """Answer of a store: whether it answered, its Nix' version (a proof of ssh-ng), whether it trusts us, words of an error."""

    ok: bool
    version: str | None
    trusted: bool | None
    error: str


class Setting(t.NamedTuple):
    """One setting as Nix describes it: its value, default (JSON types), other names."""

    name: str
    value: t.Any
    default: t.Any
    aliases: tuple[str, ...]


def isolated(conf_dir: str) -> dict[str, str]:
    """Environment in which Nix reads `conf_dir`/nix.conf and nothing of any user."""
    return {"NIX_CONF_DIR": conf_dir, "NIX_USER_CONF_FILES": ""}


def daemon_settings(effective: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The part of a configuration (setting -> value) that the daemon looks at."""
    return {name: value for name, value in effective.items() if name not in CLIENT_SETTINGS}


class Nix:
    """One `nix` program. Each method starts one process; `version` and `conf_dir`-less facts are asked for once."""

    def __init__(self, runner: Runner, path: str) -> None:
        self.runner = runner
        self.path = path
        self.progress: Progress = SILENT
        self.built: list[tuple[str, str]] = []  # (derivation, builder) of all `work`, builder "" for this machine
        self.copied: list[tuple[str, str]] = []  # (store path, store it came from) of all `work`
        self._answers: dict[str, t.Any] = {}

    def run(
        self,
        args: t.Sequence[str],
        *,
        timeout: float,
        env: t.Mapping[str, str] | None = None,
        experimental: bool = True,
        stdin: str | None = None,
    ) -> Completed:
        """Run `nix ARGS` (with the nix-command feature switched on unless `experimental` is False).

        timeout: seconds. env: added to the clean environment. A bad exit status is the caller's to judge.
        """
        features = _FEATURES if experimental else ()
        return self.runner.run([self.path, *features, *args], timeout=timeout, env=env, stdin=stdin)

    def work(
        self,
        args: t.Sequence[str],
        *,
        timeout: float,
        env: t.Mapping[str, str] | None = None,
        watch: t.Callable[[str], None] | None = None,
    ) -> Completed:
        """`run` for what may take long: tells `progress` how far Nix is. Standard error is its messages in plain words.

        watch: is given each message at once, and may raise to stop Nix. What was built and copied is added to
        `built` and `copied`. With nobody to tell, it is `run`.
        """
        if watch is None and self.progress is SILENT:
            return self.run(args, timeout=timeout, env=env)
        # Not at the top of the file: a Mac would compile it in each run in which nothing is built or fetched.
        from ansible_collections.nixmac.linux_builder.plugins.module_utils import _nix_log

        log = _nix_log.Log(self.progress, watch)
        try:
            done = self.runner.stream([self.path, *_FEATURES, *_nix_log.OPTIONS, *args], log.take, timeout=timeout, env=env)
        finally:
            self.built += log.built
            self.copied += log.copied
        return done._replace(stderr=log.text)

    def constant(self, name: str, ask: t.Callable[[], t.Any]) -> t.Any:
        """An answer (JSON types) that this executable always gives: from this object, from the note, or from `ask`."""
        if name not in self._answers:
            noted = _nix_note.read("nix", self._identity).get(name)
            self._answers[name] = ask() if noted is None else noted
        return self._answers[name]

    def noted(self, names: t.Iterable[str]) -> bool:
        """Whether the note holds these answers of this executable."""
        return set(names) <= _nix_note.read("nix", self._identity).keys()

    def note(self) -> None:
        """Write down what was answered so far."""
        _nix_note.write("nix", self._identity, {**_nix_note.read("nix", self._identity), **self._answers})

    @functools.cached_property
    def _identity(self) -> list[t.Any] | None:
        return _nix_note.identity(self.path)

    @functools.cached_property
    def _version(self) -> NixVersion:
        return parse_version(str(self.constant("version", self._ask_version)))

    def _ask_version(self) -> str:
        # One bad line in nix.conf makes even `--version` fail, hence the empty configuration.
        done = self.run(["--version"], timeout=_SHORT, env=isolated(EMPTY_CONF_DIR), experimental=False)
        if done.rc != 0:
            raise CommandError(f"{self.path} --version: {done.words or f'exit status {done.rc}'}. Check the Nix installation.")
        parse_version(done.stdout)
        return done.stdout.splitlines()[0]

    def version(self) -> NixVersion:
        """Version and variant; asked for once, whatever state nix.conf is in."""
        return self._version

    def show(self, conf_dir: str | None = None) -> Completed:
        """`show-config --json` (every Nix since 2.0 and Lix know this name): of /etc/nix, or of `conf_dir` alone."""
        env = {"NIX_USER_CONF_FILES": ""} if conf_dir is None else isolated(conf_dir)
        return self.run(["show-config", "--json"], timeout=_SHORT, env=env)

    def settings(self, conf_dir: str | None = None) -> dict[str, Setting]:
        """Every setting as a new process would read it, by name. CommandError, with Nix' words, if it reads none.

        conf_dir: directory of the nix.conf to read; None means the host's own. The files of users do not count.
        `experimental-features` always has `nix-command` in it, because this command needs it.
        """
        return parse_settings(self.show(conf_dir), self.path)

    def bare(self) -> dict[str, Setting]:
        """Every setting as it is without any configuration."""
        return settings_from(self.constant("bare", lambda: as_json(self.settings(EMPTY_CONF_DIR))))

    def effective(self, conf_dir: str | None = None) -> dict[str, t.Any]:
        """Setting -> value (JSON types) as a new process would read it; see `settings`."""
        return {name: setting.value for name, setting in self.settings(conf_dir).items()}

    def store_ping(self, store: str, timeout: float, env: t.Mapping[str, str] | None = None) -> Ping:
        """Ask the store `store` (a URI) whether it answers; needs the rights that its key needs (root)."""
        # `store info` does not exist in Lix and before 2.19; `--json` not before 2.14.
        as_json = self.version().numbers >= (2, 14, 0)
        done = self.run(["store", "ping", "--store", store, *(["--json"] if as_json else [])], timeout=timeout, env=env)
        if done.rc != 0:
            return Ping(False, None, None, done.words or f"exit status {done.rc}")
        try:
            answer = json.loads(done.stdout) if as_json else {}
        except ValueError:
            answer = {}
        trusted = answer.get("trusted")  # 0 and 1 in some versions
        return Ping(True, answer.get("version"), None if trusted is None else bool(trusted), "")


def parse_settings(done: Completed, path: str = "nix") -> dict[str, Setting]:
    """Read what `show-config --json` printed. CommandError, with Nix' words, when it failed."""
    if done.rc != 0:
        raise CommandError(f"{path}: cannot read its configuration: {complaint(done)}", nix_stderr=done.stderr.strip())
    try:
        table = json.loads(done.stdout)
    except ValueError as exc:
        raise CommandError(f"{path}: show-config --json printed no JSON: {exc}. Check the Nix installation.") from exc
    return {
        name: Setting(name, entry.get("value"), entry.get("defaultValue"), tuple(entry.get("aliases") or ()))
        for name, entry in table.items()
    }


def as_json(settings: t.Mapping[str, Setting]) -> list[list[t.Any]]:
    """Settings in JSON types, for `Nix.constant`."""
    return [[setting.name, setting.value, setting.default, list(setting.aliases)] for setting in settings.values()]


def settings_from(rows: t.Iterable[t.Sequence[t.Any]]) -> dict[str, Setting]:
    """What `as_json` made."""
    return {str(name): Setting(str(name), value, default, tuple(aliases)) for name, value, default, aliases in rows}


def complaint(done: Completed) -> str:
    """Nix' own words for a failure, without its warnings; or the exit status or signal."""
    lines = [line.strip() for line in done.stderr.splitlines()]
    errors = [line for line in lines if line and not line.startswith(("warning:", "GC Warning:"))]
    if errors:
        return " ".join(errors)
    return f"ended by signal {-done.rc}" if done.rc < 0 else f"exit status {done.rc}"


def find_nix(runner: Runner | None = None, path: str | None = None) -> Nix:
    """The Mac's Nix. CommandError, naming the places, when there is none."""
    return Nix(runner or Runner(), path or find_program("nix", *CANDIDATES))
