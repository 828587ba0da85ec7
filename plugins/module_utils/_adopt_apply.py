# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""Taking a builder over, step by step; each step looks for itself whether it is done already."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import time
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _adopt_disk, _adopt_mark, _files
from ansible_collections.nixmac.linux_builder.plugins.module_utils._adopt_find import KEY, Seeker
from ansible_collections.nixmac.linux_builder.plugins.module_utils._adopt_plan import Options, Plan
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_layout import ALIAS, SSH, USER, ssh_options
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_plan import root_owned
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._daemon_busy import locked_slots
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError, StateError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchctl import (
    IN_PROGRESS,
    NO_SERVICE,
    NO_SUCH_PROCESS,
    Launchctl,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils._manifest import Manifest

_POLL = 0.2  # seconds
_ASK_AGAIN = 10.0  # seconds between two requests to shut down: a guest that still boots hears only a later one
_UNLOADED = 60.0  # seconds that launchd gets to forget a job
_SHUTDOWN = "PATH=$PATH:/run/current-system/sw/bin:/usr/sbin:/sbin; exec shutdown now"


class Adoption:
    """One adoption, as planned."""

    def __init__(self, options: Options, plan: Plan, manifest: Manifest, runner: Runner, seeker: Seeker) -> None:
        self.options = options
        self.plan = plan
        self.manifest = manifest
        self.runner = runner
        self.seeker = seeker
        self.launchctl = Launchctl(runner)

    def run(self) -> None:
        """All steps in their order; StateError, with what to do, where one cannot be done."""
        if not self.plan.resumed:
            self.manifest.note_adoption(self.plan.record)
        self.stop()
        self.retire()
        self.bring_disk()
        self.install_keys()
        self.put_aside((*self.plan.loose, *self.plan.ssh))
        self.take_out_entries()
        record = self.manifest.read().adoption
        self.manifest.note_adoption({**record, "done": True})

    # -- the VM --------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Wait for builds, then shut the guest down and unload its job before launchd starts it again."""
        pid = self.plan.found.pid
        if pid is not None:
            self._drain()
            self._shut_down(pid)
        self._unload()
        self._wait_for_disk()

    def _drain(self) -> None:
        deadline = time.monotonic() + (0 if self.options.force else self.options.drain_timeout)
        while True:
            busy = [name for name in locked_slots() if f"{USER}@" in name]
            if not busy or self.options.force:
                return
            if time.monotonic() >= deadline:
                raise StateError(
                    f"The builder to adopt still builds after {self.options.drain_timeout:g} s ({', '.join(busy)}). Nothing was "
                    "changed. Run again later, or set linux_builder_force: true, which ends these builds."
                )
            time.sleep(1)

    def _shut_down(self, pid: int) -> None:
        """Orderly by ssh, as the manual says; by signal only with force. StateError when the VM stays."""
        deadline = time.monotonic() + self.options.stop_timeout
        asked, words = 0.0, ""
        while _lives(pid) and time.monotonic() < deadline:
            if not asked or time.monotonic() - asked > _ASK_AGAIN:
                words = self._ask() or words
                asked = time.monotonic()
            time.sleep(_POLL)
        if not _lives(pid):
            return
        if not self.options.force:
            raise StateError(
                f"The VM of process {pid} has not shut down within {self.options.stop_timeout:g} s"
                f"{f' ({words})' if words else ''}. Log in to it and type `shutdown now`, or set linux_builder_force: true, "
                "which stops it hard and may damage its disk. Then run again."
            )
        _kill(pid)

    def _ask(self) -> str:
        """Ask the guest to power off; ssh's words when it could not be asked."""
        words = ""
        for key in (self.options.client_key, os.path.join(self.plan.found.directory, KEY)):
            if not os.path.isfile(key):
                continue
            with tempfile.TemporaryDirectory() as directory:
                known = os.path.join(directory, "known_hosts")
                _files.write(known, f"{ALIAS} {self.options.public_host_key}\n".encode(), _files.Ownership(mode=0o600))
                argv = [SSH, *ssh_options(known, key, 10), "-p", str(self.plan.found.port), f"{USER}@127.0.0.1", "--", _SHUTDOWN]
                try:
                    done = self.runner.run(argv, timeout=30)
                except CommandError as exc:
                    words = exc.message
                    continue
            # The connection breaks while the guest goes down, so that the status tells little.
            if done.rc == 0 or "closed" in done.words:
                return ""
            words = done.words
        return words

    def _unload(self) -> None:
        label = self.plan.found.label
        if label is None:
            return
        target = f"system/{label}"
        if self.launchctl.print_service(target) is None:
            return
        self.launchctl.checked(self.launchctl.bootout(target), accept=(0, NO_SUCH_PROCESS, IN_PROGRESS, NO_SERVICE))
        deadline = time.monotonic() + _UNLOADED
        while self.launchctl.print_service(target) is not None:
            if time.monotonic() > deadline:
                raise StateError(f"{label}: launchd still has the job {_UNLOADED:g} s after it was booted out. Run again.")
            time.sleep(_POLL)

    def _wait_for_disk(self) -> None:
        """No VM may run on a disk that is about to be moved, whoever started it meanwhile."""
        move = self.plan.move
        if move is None:
            return
        deadline = time.monotonic() + _UNLOADED
        while True:
            running = [machine.pid for machine in self.seeker.machines() if machine.disk in (move["from"], move["to"])]
            if not running:
                return
            if time.monotonic() > deadline:
                raise StateError(
                    f"{move['from']}: process {running[0]} runs a VM on it again. Something starts it that is no launchd daemon: "
                    "stop that, then run again."
                )
            time.sleep(1)

    # -- what it leaves ------------------------------------------------------------------------------------------

    def retire(self) -> None:
        """The old job's property list, kept in the manifest."""
        if self.plan.found.plist is not None:
            self.put_aside((self.plan.found.plist,))

    def put_aside(self, paths: t.Sequence[str]) -> None:
        """Keep files in the manifest, then remove them, and the directory of keys when it is empty then."""
        there = [path for path in paths if _files.lstat(path) is not None]
        directories = {os.path.dirname(path) for path in there if path in self.plan.loose}
        if there:
            self.manifest.release("adopt", (*directories, *there))
        for path in there:
            _files.remove(path)
        for directory in directories:
            with contextlib.suppress(OSError):
                os.rmdir(directory)

    def bring_disk(self) -> None:
        """The disk in its new place, root's."""
        move = self.plan.move
        if move is None:
            return
        self.manifest.claim_tree("builder", self.options.working_directory)
        os.makedirs(self.options.working_directory, mode=0o755, exist_ok=True)
        uid, gid = root_owned(0o600).ids()
        _adopt_disk.move(move["from"], move["to"], uid, gid, 0o600)
        record = self.manifest.read().adoption
        self.manifest.note_adoption({**record, "disk": {**record["disk"], **_adopt_mark.mark(move["to"])}})

    def install_keys(self) -> None:
        """The client's key pair where the Nix daemon looks for it; the role credentials sees to owner and mode."""
        for source, target in self.plan.keys:
            content = _files.read(source).content
            if content is not None and _files.lstat(target) is None:
                self.manifest.claim("credentials", {target: content})
                _files.write(target, content, root_owned(0o644 if target.endswith(".pub") else 0o600))

    def take_out_entries(self) -> None:
        """The old builder's entries in shared files become comments."""
        for edit in self.plan.edits:
            _files.write(edit.snapshot.path, edit.content, _files.Ownership(), expected=edit.snapshot, keep_acl=True)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _kill(pid: int) -> None:
    """SIGTERM, which ends QEMU at once, and SIGKILL after 5 s."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + 5
        while _lives(pid) and time.monotonic() < deadline:
            time.sleep(_POLL)
