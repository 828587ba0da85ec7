# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""Carrying out what was planned, in an order that a crash at any point leaves repairable by the next run."""

from __future__ import annotations

import contextlib
import os
import shutil
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _builder_plan as planning
from ansible_collections.nixmac.linux_builder.plugins.module_utils import _builder_source as source
from ansible_collections.nixmac.linux_builder.plugins.module_utils import _files, _lock
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_config import proxy_environment
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_layout import Layout
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_plan import Current, Plan, Staged
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_reference import Realised, parse_reference
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_removal import Removal, plan_removal
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_spec import CA_FILES, Spec, layout_from
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import ConfigError, FileError, StateError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchctl import Launchctl
from ansible_collections.nixmac.linux_builder.plugins.module_utils._manifest import Manifest
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nix import Nix, find_nix
from ansible_collections.nixmac.linux_builder.plugins.module_utils._progress import SILENT, Progress


def lock_of(profile: str) -> str:
    """The directory whose lock is held for work on a profile."""
    return os.path.dirname(profile)


def exclusive(profile: str, wait: float = _lock.WAIT) -> t.ContextManager[None]:
    """Hold what no two runs may do at once on one profile. StateError when another run does not end within `wait` s."""
    return _lock.held(lock_of(profile), wait, profile)


class Deployment:
    """Brings the builder's closure and files onto this Mac (state=present)."""

    def __init__(
        self, spec: Spec, runner: Runner, nix: t.Callable[[Runner], Nix] = find_nix, progress: Progress = SILENT
    ) -> None:
        self.spec = spec
        self.reference = parse_reference(spec.package)
        self.session = NixSession(spec, runner, nix, progress)

    def run(self, check_mode: bool) -> tuple[Plan, Current, Realised | None]:
        """Read, plan, and unless `check_mode` apply. The third is None where nothing was realised."""
        if check_mode:
            return self._run(check_mode)
        with exclusive(self.spec.layout.profile):
            return self._run(check_mode)

    def _run(self, check_mode: bool) -> tuple[Plan, Current, Realised | None]:
        try:
            current = planning.read_current(self.spec)
            realised = self.realise(current, check_mode)
            plan = planning.make_plan(self.spec, current, realised)
            if not check_mode and plan.changed and realised is not None:
                self.prepare(plan.parents)
                self.switch(plan, realised)
        finally:
            self.session.close()
        return plan, current, realised

    def realise(self, current: Current, check_mode: bool) -> Realised | None:
        """Build or fetch what was asked for, unless it is there. None in check mode where that is not known without."""
        locked = planning.recorded_lock(self.spec, current)
        if locked is None and (not check_mode or (self.spec.update and current.record)):
            # In check mode only a recorded builder is asked for: whether `update` would move it.
            locked = source.lock(self.session.nix, self.reference, self.session.environment)
        known = planning.known_realisation(self.spec, current, locked)
        if known is not None or check_mode or locked is None:
            return known
        if current.public_key is None:
            raise StateError(
                f"{self.spec.client_key}.pub: is missing, so the guest would let nobody in. "
                "Make the key pair first (role credentials, or module ssh_host_key)."
            )
        where = planning.recorded_where(current.record, self.spec)
        there = source.only_scripts_differ(current.record, locked, self.spec)
        return source.realise(self.session.nix, locked, self.spec, self.session.environment, where, closure_there=there)

    def stage(self, check_mode: bool) -> Staged:
        """Realise and root what `run` would switch to, and leave profile, files and VM alone."""
        if check_mode:
            return self._stage(check_mode)
        with exclusive(self.spec.layout.profile):
            return self._stage(check_mode)

    def _stage(self, check_mode: bool) -> Staged:
        try:
            current = planning.read_current(self.spec)
            realised = self.realise(current, check_mode)
            staged = planning.plan_stage(self.spec, current, realised)
            if staged.root and not check_mode and staged.store_path is not None:
                self.root_next(staged.store_path)
        finally:
            self.session.close()
        return staged

    def root_next(self, store_path: str) -> None:
        """Keep garbage collection from a VM that is not the profile's yet."""
        source.root(self.session.nix, self.spec.layout.staged, store_path, self.session.environment)

    def prepare(self, parents: t.Iterable[str]) -> None:
        """Make the builder's directories, with owner and mode. parents: those above them."""
        for path in parents:
            _make_directory(path, 0o755)
        for path, mode in self.spec.layout.directories:
            _make_directory(path, mode)

    def switch(self, plan: Plan, realised: Realised) -> None:
        """Make what was realised the profile's new generation, and write the files."""
        if plan.switch:
            self.set_profile(realised.store_path)
        # The record comes last: without it the next run does everything again.
        for change in sorted(plan.files, key=lambda change: change.path == self.spec.layout.record):
            _files.write(change.path, change.content, planning.root_owned(change.mode), expected=change.before)
        if os.path.islink(self.spec.layout.staged):
            _files.remove(self.spec.layout.staged)  # the profile roots it now

    def set_profile(self, store_path: str) -> None:
        """Make `store_path` the profile's newest generation."""
        source.set_profile(self.session.nix, self.spec.layout.profile, store_path, self.session.environment)


class NixSession:
    """Nix with a HOME of its own that vanishes at the end; found and made only when it is first needed.

    Nix would otherwise leave caches in root's home directory, or in that of the user who became root.
    """

    def __init__(self, spec: Spec, runner: Runner, find: t.Callable[[Runner], Nix], progress: Progress = SILENT) -> None:
        self._layout = spec.layout
        self._ca_file = spec.ca_file
        self._proxy = proxy_environment(spec)
        self._runner = runner
        self._find = find
        self._progress = progress
        self._nix: Nix | None = None
        self._home: str | None = None
        self._made: list[str] = []

    @property
    def nix(self) -> Nix:
        """The Mac's Nix."""
        if self._nix is None:
            self._nix = self._find(self._runner)
            self._nix.progress = self._progress
        return self._nix

    @property
    def built(self) -> list[str]:
        """What Nix built so far: `derivation on builder`, or the derivation alone where it was this Mac."""
        pairs = [] if self._nix is None else self._nix.built
        return [f"{derivation} on {builder}" if builder else derivation for derivation, builder in pairs]

    @property
    def environment(self) -> dict[str, str]:
        """What the Nix commands get beside the clean environment."""
        if self._home is None:
            self._home = self._make_home()
        environment = {"HOME": self._home, "XDG_CACHE_HOME": os.path.join(self._home, "cache"), **self._proxy}
        if os.path.exists(self._ca_file):
            environment["NIX_SSL_CERT_FILE"] = self._ca_file
        elif self._ca_file not in CA_FILES:
            raise ConfigError(f"ca_file: {self._ca_file} is not on this Mac. Put the CA certificates there first.")
        return environment

    def _make_home(self) -> str:
        # In the working directory, where the next run or state=absent finds what a killed run left.
        try:
            for path in (*planning.missing_parents(self._layout.working_directory), self._layout.working_directory):
                if not os.path.isdir(path):
                    os.mkdir(path, 0o755)
                    self._made.append(path)
            os.makedirs(self._layout.nix_home, mode=0o700, exist_ok=True)
        except OSError as exc:
            raise FileError(f"{exc.filename}: cannot be made: {exc.strerror}. Run as root (become: true).") from exc
        return self._layout.nix_home

    def close(self) -> None:
        """Remove the HOME, and the directories that were made for it if nothing else came into them."""
        if self._home is not None:
            shutil.rmtree(self._home, ignore_errors=True)
        for path in reversed(self._made):
            with contextlib.suppress(OSError):
                os.rmdir(path)


def _make_directory(path: str, mode: int) -> None:
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        pass
    except OSError as exc:
        raise FileError(f"{path}: cannot be made: {exc.strerror}. Run as root (become: true).", path=path) from exc
    _files.set_ownership(path, planning.root_owned(mode))


def remove(params: t.Mapping[str, t.Any], runner: Runner, turn: t.ContextManager[None] | None) -> Removal:
    """state=absent. StateError while the job is loaded or its VM runs: their files must not vanish under them.

    turn: what keeps other runs away meanwhile; None in check mode.
    """
    layout = layout_from(params)
    keep_data = bool(params["keep_data"])
    spared = Manifest().read().spared("builder")
    if turn is None:
        return plan_removal(layout, keep_data, spared)
    with turn:
        removal = plan_removal(layout, keep_data, spared)
        if removal.changed:
            _refuse_while_running(layout, runner)
            _remove(removal)
        return removal


def _remove(removal: Removal) -> None:
    for path in removal.paths:
        _files.remove(path)
    for path in removal.trees:
        try:
            shutil.rmtree(path)
        except OSError as exc:
            raise FileError(f"{path}: cannot be removed: {exc.strerror}.", path=path) from exc
    for path in removal.empty_directories:
        try:
            os.rmdir(path)
        except OSError:
            break  # somebody else's file came into it meanwhile; it is theirs now


def _refuse_while_running(layout: Layout, runner: Runner) -> None:
    job = Launchctl(runner).print_service(f"system/{layout.label}")
    if job is not None:
        raise StateError(
            f"{layout.label}: the launchd job is still loaded ({job.state or 'state unknown'}). "
            "Remove it first (launchd_service with state: absent, or role teardown)."
        )
    pid = running_vm(layout, runner)
    if pid is not None:
        raise StateError(f"{layout.disk}: the VM still runs as process {pid}. Shut it down first, then run again.")


def running_vm(layout: Layout, runner: Runner) -> int | None:
    """Process id of the VM on our disk, None when the recorded process is gone or is something else by now."""
    content = _files.read(os.path.join(layout.state_directory, "vm.pid"), limit=64).content or b""
    if not content.strip().isdigit():
        return None
    pid = int(content)
    done = runner.run(["/bin/ps", "-ww", "-o", "args=", "-p", str(pid)], timeout=10)
    # vzvm has not the disk on its command line, but the configuration beside it.
    ours = (layout.disk, os.path.realpath(layout.disk), layout.profile + "/bin/", layout.path("vzvm.json"))
    return pid if done.rc == 0 and any(word in done.stdout for word in ours) else None
