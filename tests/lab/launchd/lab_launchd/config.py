# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Configuration and places of one stand-in: the macOS era, GUI sessions, faults, root prefix."""

from __future__ import annotations

import json
import os
import typing as t

CONFIG = "etc/lab/launchd.json"
STATE = "var/db/com.apple.xpc.launchd"
SOCKET = "var/run/lab-launchd.sock"
LOG = "var/log/com.apple.xpc.launchd/launchd.log"


class Config:
    """What /etc/lab/launchd.json says. Unknown keys are ignored; a broken file counts as empty.

    era: 10 (10.15 and older), 11, 12, 13, 14, 15, 26, 27. gui_sessions: uids logged in at the screen.
    gui_not_ready: uids whose login is not there *yet* (print answers 125 instead of 112).
    aqua_callers: uids whose own session counts as Aqua (default: Background, as over SSH).
    kickstart_beats_throttle: disputed on real Macs, default true.
    run_dirs: directories made at boot below /var/run. clear_at_boot: directories emptied at boot.
    faults: list of {"name": ..., ...}, see faults.py.
    """

    def __init__(self, data: dict[str, t.Any] | None = None) -> None:
        data = data or {}
        self.era = int(data.get("era", 15))
        self.gui_sessions = [int(uid) for uid in data.get("gui_sessions", [])]
        self.gui_not_ready = [int(uid) for uid in data.get("gui_not_ready", [])]
        self.aqua_callers = [int(uid) for uid in data.get("aqua_callers", [])]
        self.kickstart_beats_throttle = bool(data.get("kickstart_beats_throttle", True))
        self.run_dirs = list(data.get("run_dirs", ["sshd"]))
        self.clear_at_boot = list(data.get("clear_at_boot", []))
        self.faults = list(data.get("faults", []))


class Places:
    """Where things lie, below a root prefix (`/` in a container)."""

    def __init__(self, root: str = "/", socket_path: str | None = None) -> None:
        self.root = root
        self.config = os.path.join(root, CONFIG)
        self.state = os.path.join(root, STATE)
        self.run = os.path.join(root, "var/run")
        self.log = os.path.join(root, LOG)
        self.socket = socket_path or os.path.join(root, SOCKET)
        self.system_daemons = os.path.join(root, "System/Library/LaunchDaemons")
        self.daemons = os.path.join(root, "Library/LaunchDaemons")
        self.agents = os.path.join(root, "Library/LaunchAgents")
        self.system_library = os.path.join(root, "System/Library")

    def overrides(self, uid: int | None) -> str:
        """disabled.plist of the system (None) or of one user, shared by gui/<uid> and user/<uid>."""
        name = "disabled.plist" if uid is None else f"disabled.{uid}.plist"
        return os.path.join(self.state, name)

    def read_config(self) -> tuple[Config, str]:
        """The configuration and a problem text (empty if fine)."""
        try:
            with open(self.config, encoding="utf-8") as handle:
                return Config(json.load(handle)), ""
        except FileNotFoundError:
            return Config(), ""
        except (OSError, ValueError, TypeError, AttributeError) as error:
            return Config(), f"{self.config} ignored: {error}"
