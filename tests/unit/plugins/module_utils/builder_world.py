# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Mac for the tests of a change: real files, and a Nix, launchd and guest that keep their state between runs.

It refuses what must never happen (a switch or a disk step under a running VM, a step without its journal), and can
stop the run dead at any step.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import typing as t

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils import (
    _builder_change,
    _builder_change_plan,
    _builder_journal,
    _files,
    _newsyslog,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils import _builder_plan as planning
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_answer import Guest
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_change import Changer, Report
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_change_tools import Tools
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_drain import Hold
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_job import Job
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_journal import ROLL_BACK
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_layout import Layout
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_ready import Ready
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_removal import generation_links
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_spec import Spec
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Completed, Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import StateError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchctl_parse import Service
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchd_plist import decode, encode
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nix import Nix

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJBWcxb/Blaqt1auOtE+F8QUWrUotiC5qBJ+UuEWdVCb"


def own_files(monkeypatch: pytest.MonkeyPatch, root: pathlib.Path) -> None:
    """For each test with a World: files are the test's own instead of root's, and nothing is written into /etc."""
    monkeypatch.setattr(_newsyslog, "DIRECTORY", str(root / "newsyslog.d"))
    monkeypatch.setattr(planning, "root_owned", lambda mode: _files.Ownership(None, None, mode))


class Killed(BaseException):
    """The run was ended by something that asks nobody."""


class World(Runner):
    """The Mac. revision: what the flake is at. mute, barren: revisions whose guest never answers, or builds nothing."""

    def __init__(self, root: pathlib.Path) -> None:
        super().__init__()
        self.root = root
        self.revision = "1"
        self.mute: set[str] = set()
        self.barren: set[str] = set()
        self.busy = False
        self.kept_disk = False  # whether the disk of before is still there
        self.disk = ""  # what the disk step has to do
        self.reasons: list[str] = []
        self.service: Service | None = None
        self.vm: str | None = None  # store path of the VM that runs
        self.boots = 0
        self.steps: list[str] = []
        self.fuse = -1
        self.ticks = 0
        (root / "profiles").mkdir()
        (root / "daemons").mkdir()
        (root / "key.pub").write_text("ssh-ed25519 AAAA client\n")
        self.layout = Layout(f"{root}/lib/wd", f"{root}/profiles/lb", f"{root}/lb.log", "org.example.builder")

    def spec(self, **changes: t.Any) -> Spec:
        """What is asked for."""
        wanted: dict[str, t.Any] = {
            "layout": self.layout,
            "package": "path:/x#a",
            "update": True,
            "host_address": "127.0.0.1",
            "port": 31022,
            "accept_any_address": False,
            "cores": 2,
            "memory_mib": 3072,
            "disk_mib": None,
            "client_key": f"{self.root}/key",
            "host_key": HOST_KEY,
            "ca_file": "/etc/ssl/cert.pem",
            "stop_timeout": 60,
        }
        return Spec(**{**wanted, **changes})

    def tools(self) -> Tools:
        """This Mac's tools."""
        return Tools(
            runner=self,
            job=lambda layout, _runner: FakeJob(self, layout),
            find_nix=lambda runner: Nix(runner, "/nix"),
            drain=self.drain,
            ready=self.ready,
            prove=self.prove,
            disk=lambda _layout, _runner: FakeDisk(self),
            reasons=lambda _spec, _current, _runner: self.reasons,
            around=lambda _runner: contextlib.nullcontext(),
        )

    def change(self, check_mode: bool = False, **changes: t.Any) -> Report:
        """One run of state=running."""
        self.steps.clear()
        return Changer(self.spec(**changes), self.tools()).run(check_mode)

    # --- what happens, step by step ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def step(self, name: str, phases: t.Collection[str] = ()) -> t.Iterator[None]:
        """One step: it may be killed before it and after it. phases: one of which the journal has to name."""
        self.tick()
        if phases:
            journal = _builder_journal.read(self.layout)
            assert journal is not None, name
            assert journal.phase in phases, name
        self.steps.append(name)
        yield
        self.tick()

    def tick(self) -> None:
        """Burn the fuse."""
        self.ticks += 1
        if self.fuse == 0:
            raise Killed
        self.fuse -= 1

    def run(self, argv: t.Sequence[str], **_options: t.Any) -> Completed:
        """Nix."""
        self.started += 1
        assert argv[0] == "/nix", argv
        words = [word for word in argv if word in ("metadata", "show-config", "--expr", "--profile", "--out-link")]
        answer: tuple[int, str, str] = getattr(self, "do_" + words[0].strip("-").replace("-", "_"))(argv)
        return Completed(tuple(argv), *answer)

    def do_metadata(self, argv: t.Sequence[str]) -> tuple[int, str, str]:
        with self.step("lock"):
            return 0, json.dumps({"url": f"{argv[-1]}?rev={self.revision}"}), ""

    def do_show_config(self, argv: t.Sequence[str]) -> tuple[int, str, str]:
        return 0, json.dumps({"system": {"value": "x86_64-darwin"}}), ""

    def do_expr(self, argv: t.Sequence[str]) -> tuple[int, str, str]:
        with self.step("build", ("fetch", "build", *_builder_change_plan.PHASES, ROLL_BACK)):
            revision = argv[-1].partition("?rev=")[2].partition('"')[0]
            port = argv[-1].partition("host.port = ")[2].partition(";")[0]
            path = self.root / f"vm-{revision}-{port}"
            (path / "bin").mkdir(parents=True, exist_ok=True)
            (path / "bin/run-nixos-vm").write_text(f"hostfwd=tcp:127.0.0.1:{port}-:22")
        return 0, json.dumps([{"outputs": {"out": str(path)}}]), ""

    def do_out_link(self, argv: t.Sequence[str]) -> tuple[int, str, str]:
        with self.step("root"):
            _builder_change.point(argv[-2], argv[-1])
        return 0, "", ""

    def do_profile(self, argv: t.Sequence[str]) -> tuple[int, str, str]:
        profile, path = argv[-2:]
        assert self.service is None, "the profile was switched under a running VM"
        with self.step("profile", ("switch", "roll back")):
            links = generation_links(profile)
            if not links or os.readlink(links[-1]) != path:
                number = 1 + int(links[-1].rsplit("-", 2)[1]) if links else 1
                os.symlink(path, f"{profile}-{number}-link")
                links = (*links, f"{profile}-{number}-link")
            _builder_change.point(profile, os.path.basename(links[-1]))
        return 0, "", ""

    def drain(self, uri: str, timeout: float, force: bool) -> Hold:
        # A run that goes on with another's change leaves that one's phase in the journal.
        with self.step("drain", (*_builder_change_plan.PHASES, ROLL_BACK)):
            if self.busy and not force:
                raise StateError("builds still run in the VM")
        return Hold()

    def ready(self, guest: Guest, _runner: Runner, _timeout: float) -> Ready:
        with self.step("ready"):
            if self.vm is None or _revision(self.vm) in self.mute:
                raise StateError("the builder is not ready")
            assert _port(self.vm) == guest.port
        return Ready(f"boot-{self.boots}", 1.0)

    def prove(self, _nix: Nix, _spec: Spec, _environment: t.Mapping[str, str], boot_id: str) -> float:
        with self.step("prove", ("prove",)):
            assert self.vm is not None
            assert boot_id == f"boot-{self.boots}"
            if _revision(self.vm) in self.barren:
                raise StateError("the guest answers, but builds nothing")
        return 1.0

    # --- what is seen --------------------------------------------------------------------------------------------

    def serves(self) -> str | None:
        """Revision of the VM that runs, if all belongs together: profile, files, job."""
        if self.vm is None or self.service is None:
            return None
        assert planning.read_generation(self.layout.profile).store_path == self.vm
        assert planning.read_record(self.layout)["store_path"] == self.vm
        job = FakeJob(self, self.layout)
        assert decode("", job.read().content or b"") == self.loaded
        return _revision(self.vm)

    loaded: dict[str, t.Any] | None = None  # the definition that launchd holds


class FakeJob(Job):
    """The job in the world's launchd."""

    def __init__(self, world: World, layout: Layout) -> None:
        self._world = world
        self.path = f"{world.root}/daemons/{layout.label}.plist"

    def look(self) -> Service | None:
        self._world.started += 1
        return self._world.service

    def misowned(self, snapshot: _files.Snapshot) -> bool:
        return False

    def stop(self, timeout: float) -> None:
        with self._world.step("stop", ("stop", "roll back")):
            self._world.service = self._world.vm = self._world.loaded = None

    def start(self, definition: dict[str, t.Any], address: str, port: int, timeout: float) -> None:
        world = self._world
        content = encode(definition)
        if world.service is not None and self.read().content != content:
            world.service = world.vm = None
        if world.service is None:
            with world.step("write plist", ("start", "roll back")):
                _files.write(self.path, content, _files.Ownership(mode=0o644))
        with world.step("start", ("start", "roll back")):
            world.loaded = definition
            world.service = Service("system/x", path=self.path, state="running")
            world.vm = planning.read_generation(world.layout.profile).store_path
            world.boots += 1


class FakeDisk:
    """A disk step that has something to do as long as the world says so."""

    def __init__(self, world: World) -> None:
        self._world = world

    def plan(self, spec: Spec, old: str | None, new: str | None) -> str:
        return self._world.disk

    def apply(self) -> None:
        assert self._world.service is None, "the disk was touched under a running VM"
        self._world.kept_disk = True
        with self._world.step("disk", ("disk",)):
            self._world.disk = ""

    def settle(self, store_path: str) -> None:
        assert self._world.vm == store_path
        with self._world.step("settle disk"):
            self._world.kept_disk = False

    def roll_back(self) -> None:
        assert self._world.service is None, "the disk was touched under a running VM"
        with self._world.step("disk of before", (ROLL_BACK,)):
            self._world.kept_disk = False


def _revision(store_path: str) -> str:
    return store_path.rpartition("vm-")[2].partition("-")[0]


def _port(store_path: str) -> int:
    return int(store_path.rpartition("-")[2])
