# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""What the roles would change on this Mac: their modules' own plans, made in one process and carried out by nobody.

From the roles' variables the options of each module are made as the role's tasks make them; the module's own code then
runs as in check mode. So there is one truth about what is right, and this file has only the way to it.
"""

from __future__ import annotations

import difflib
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import (
    _builder_look,
    _due,
    _files,
    _machines_apply,
    _manifest,
    _nixconf,
    _sshkey_look,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils._command import Runner
from ansible_collections.nixmac.linux_builder.plugins.module_utils._daemon import Daemon, Report
from ansible_collections.nixmac.linux_builder.plugins.module_utils._daemon import Options as DaemonOptions
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import LinuxBuilderError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nixconf_mask import Masker
from ansible_collections.nixmac.linux_builder.plugins.module_utils._variables import as_list, plain

PREFIX = "linux_builder_"

# Only an adoption before it can give this role something to do.
_ALONE = "trusted_users"
_FOLLOWS = "a role before it has something to do"
_MOST_LINES = 20
_WIDEST = 200

# Option of builder_vm -> the role's variable, where that is not the option's name.
_RENAMED = {"client_key": "key_path", "timeout": "ready_timeout"}
_ZERO_IS_NONE = frozenset(("cores", "memory_mib", "disk_mib", "min_free_mib", "max_free_mib"))
# Variables that are lists, whatever form they come in.
LISTS = frozenset(
    (
        "systems",
        "supported_features",
        "mandatory_features",
        "trusted_users",
        "no_proxy",
        "substituters",
        "trusted_public_keys",
        "time_servers",
    )
)


class Options(dict):  # type: ignore[type-arg]
    """A module's options as AnsibleModule hands them over: what was not given is None."""

    def __missing__(self, key: str) -> None:
        return None


class Change(t.NamedTuple):
    """What one module's plan says: whether it changes something, and the texts of its diff, free of secrets.

    due: why the module has to run although it changes nothing, in a few words; empty where it need not.
    """

    changed: bool
    before: str = ""
    after: str = ""
    due: str = ""


class Wanted:
    """The roles' variables without their prefix, and what the probe found out about the Mac.

    info, defaults: as builder_info returns them. exposed: messages about private keys that others can read.
    """

    def __init__(
        self,
        variables: t.Mapping[str, t.Any],
        info: t.Mapping[str, t.Any],
        defaults: t.Mapping[str, t.Any],
        exposed: t.Sequence[str] = (),
    ) -> None:
        given = {name.removeprefix(PREFIX): value for name, value in variables.items()}
        self.given = {name: as_list(value) if name in LISTS else plain(value) for name, value in given.items()}
        self.info = info
        self.defaults = defaults
        self.exposed = exposed
        self._daemon: Report | None = None

    def __getitem__(self, name: str) -> t.Any:
        return self.given.get(name)

    @property
    def manual(self) -> bool:
        """Whether the builder is registered in the form of the nixpkgs manual."""
        return bool(self["form"] == "manual")

    @property
    def port(self) -> int:
        """Where the guest's ssh is forwarded to."""
        return 22 if self.manual else int(self["port"])

    @property
    def pin(self) -> str:
        """The host key, base64 of its line; empty where the Mac has yet to make one."""
        if self["host_key"] != "per_mac":
            return str(self["public_host_key"])
        return self.info["builder"].get("public_host_key") or ""

    def daemon(self, runner: Runner) -> Report:
        """What the Nix daemon needs, looked at once."""
        if self._daemon is None:
            self._daemon = Daemon(DaemonOptions(), runner).run(True)
        return self._daemon

    @property
    def systems(self) -> list[str]:
        """What the builder builds for."""
        return list(self["systems"] or self.defaults["systems"])

    @property
    def features(self) -> list[str]:
        """What the builder offers: what was named, and what the Mac itself brings."""
        return list(dict.fromkeys([*self["supported_features"], *self.defaults["features"]]))

    @property
    def max_jobs(self) -> int:
        """Builds at once."""
        return int(self["max_jobs"] or self["cores"] or self.defaults["max_jobs"])


def drift(wanted: Wanted, runner: Runner, first_due: bool = False) -> list[dict[str, t.Any]]:
    """What each role would change: [{area, changed, changes, error, due}].

    area: the role's name. changed: null where `error` says why it cannot be told. changes: lines of the diffs.
    due: why the role has to run, in words; null where it would do nothing at all.
    first_due: no look at the roles that are due because one before them is (see `due`): their `changed` is null.
    """
    areas: tuple[tuple[str, t.Callable[[Wanted, Runner], t.Iterable[Change]]], ...] = (
        ("adopt", _adopt),
        ("credentials", _credentials),
        ("trusted_users", _trusted_users),
        ("builder", _builder_area),
        ("delegation", _delegation),
    )
    found: list[dict[str, t.Any]] = []
    for name, plans in areas:
        follows = first_due and name != _ALONE and any(area["due"] for area in found if area["area"] != _ALONE)
        found.append(_answer(name, None, due=_FOLLOWS) if follows else _area(name, plans, wanted, runner))
    return found


def _answer(name: str, changed: bool | None, **more: t.Any) -> dict[str, t.Any]:
    return {"area": name, "changed": changed, "changes": [], "error": None, "due": None, **more}


def _area(name: str, plans: t.Callable[[Wanted, Runner], t.Iterable[Change]], wanted: Wanted, runner: Runner) -> dict[str, t.Any]:
    try:
        plan = list(plans(wanted, runner))
    except (LinuxBuilderError, OSError) as exc:
        # The role says it again where it matters, in its module's own words.
        words = exc.message if isinstance(exc, LinuxBuilderError) else f"{exc.filename or 'the system'}: {exc.strerror or exc}."
        return _answer(name, None, error=words, due="it cannot be told what it would do")
    changes = [change for change in plan if change.changed]
    lines = [line for change in changes for line in difference(change)]
    why = ["it changes something"] if changes else [change.due for change in plan if change.due]
    return _answer(name, bool(changes), changes=lines[:_MOST_LINES], due=why[0] if why else None)


def due(found: t.Sequence[t.Mapping[str, t.Any]]) -> list[str]:
    """Names of the areas whose roles have to run: from the first that has something to do, as the later ones build on it.

    But for the trusted users: of what comes before them, only an adoption touches Nix' configuration.
    """
    names = [str(area["area"]) for area in found]
    first = next((number for number, area in enumerate(found) if area["due"]), len(names))
    alone = {str(area["area"]) for area in found if area["area"] == _ALONE and not area["due"]}
    return [name for name in names[first:] if name not in alone or names[first] == "adopt"]


def difference(change: Change) -> list[str]:
    """The lines that differ, with - or + in front."""
    lines = difflib.unified_diff(change.before.splitlines(), change.after.splitlines(), n=0, lineterm="")
    kept = [line for line in lines if not line.startswith(("---", "+++", "@@"))]
    return [Masker().clean(f"{line[0]} {line[1:].strip()}")[:_WIDEST] for line in kept]


# --- the areas ---------------------------------------------------------------------------------------------------


def _adopt(wanted: Wanted, _runner: Runner) -> t.Iterator[Change]:
    if wanted["adopt"]:
        for builder in wanted.info["adoptable"]:
            yield Change(True, f"builder in {builder['directory']}: {builder['owner']}", "builder: taken over")


def _key_pair(path: str, comment: str, group: str) -> Change:
    options = Options(
        path=path,
        state="present",
        comment=comment,
        owner="root",
        group=group,
        mode="0600",
        regenerate="if_invalid",
        remove_backups=False,
    )
    report = _sshkey_look.foretell(options)
    return Change(report.changed, report.before, report.after, _due.remarks(report.warnings))


def _credentials(wanted: Wanted, _runner: Runner) -> t.Iterator[Change]:
    key = wanted["key_path"]
    yield _key_pair(key, "builder@localhost", "nixbld")
    yield Change(False, due=_due.unclaimed("credentials", (key, f"{key}.pub")))
    yield from (Change(True, message) for message in wanted.exposed)


def _nix_conf(wanted: Wanted, **request: t.Any) -> Change:
    options = Options(path=wanted["nix_conf_path"] or None, owner=_machines_apply.DEFAULT_OWNER, validate=True, **request)
    done = _nixconf.run(options, True)
    return Change(done.changed, done.before or "", done.after or "", _due.remarks(done.warnings))


def _trusted_users(wanted: Wanted, _runner: Runner) -> t.Iterator[Change]:
    users = wanted["trusted_users"]
    yield _nix_conf(wanted, append={"trusted-users": users} if users else {}, absent=[] if users else ["trusted-users"])
    # What the Nix daemon needs is delegation's to tell; a run without that role enters this one in its place.


def _builder_area(wanted: Wanted, runner: Runner) -> t.Iterator[Change]:
    there = wanted.info["builder"]["host_key"]
    per_mac = wanted["host_key"] == "per_mac"
    if there is not None and (there == "per_mac") is not per_mac:
        yield Change(True, f"host key: {there}", f"host key: {wanted['host_key']}")
    if per_mac and not wanted.pin:
        # How the builder would look then is not known before the key is made.
        yield Change(there is None, "builder: none", "builder: with a host key of its own", "its host key is yet to be made")
        return
    if per_mac:
        yield _key_pair(f"{wanted['working_directory']}/keys/ssh_host_ed25519_key", "linux-builder", "wheel")
    options = builder_options(wanted)
    done = _builder_look.running(options, runner)
    yield Change(done.changed, done.before or "", done.after or "", _due.remarks(done.warnings))
    if not done.changed:
        yield Change(False, due=_due.builder({**options, "update": wanted["package_update"]}, runner))


def builder_options(wanted: Wanted) -> Options:
    """Options of builder_vm as the role builder gives them: an empty variable, and 0 of some, stands for an option left out."""
    given = {name: value for name, value in wanted.given.items() if value != "" and (value != 0 or name not in _ZERO_IS_NONE)}
    renamed = {option: wanted[variable] for option, variable in _RENAMED.items()}
    host = "localhost" if wanted.manual else wanted["alias"]
    return Options(
        {
            **given,
            **renamed,
            "state": "running",
            "update": False,
            "port": wanted.port,
            "public_host_key": wanted.pin,
            "uri": f"ssh-ng://builder@{host}",
        }
    )


def _delegation(wanted: Wanted, runner: Runner) -> t.Iterator[Change]:
    entry = _machines_apply.run(_machine(wanted), True)
    yield Change(entry.changed, entry.before or "", entry.after or "", _due.remarks(entry.warnings))
    yield _ssh_alias(wanted)
    if not wanted.manual:
        yield Change(False, due=_due.unclaimed("delegation", (_machines_apply.MACHINES, _manifest.ALIAS)))
    always = {"builders-use-substitutes": True, "build-poll-interval": wanted["build_poll_interval"]}
    sometimes = {"builders": _builders_line(wanted, entry.result), "ssl-cert-file": _authorities(wanted)}
    given = {name: value for name, value in sometimes.items() if value}
    yield _nix_conf(wanted, settings={**always, **given}, absent=[name for name in sometimes if name not in given])
    report = wanted.daemon(runner)
    yield Change(report.decision.required, f"Nix daemon: {report.decision.reason}", "Nix daemon: restarted", _due.daemon(report))


def _machine(wanted: Wanted) -> Options:
    return Options(
        uri=f"ssh-ng://builder@{wanted['alias']}",
        systems=wanted.systems,
        ssh_key=wanted["key_path"],
        max_jobs=wanted.max_jobs,
        speed_factor=wanted["speed_factor"],
        supported_features=wanted.features,
        mandatory_features=wanted["mandatory_features"],
        public_host_key=wanted.pin or None,
        owner=_machines_apply.DEFAULT_OWNER,
        state="absent" if wanted.manual else "present",
    )


def _ssh_alias(wanted: Wanted) -> Change:
    """The role's template is filled in on the controller and arrives as `ssh_alias`."""
    found = _files.read(_manifest.ALIAS)
    before = (found.content or b"").decode(errors="replace")
    if wanted.manual:
        return Change(found.content is not None, before)
    if wanted["ssh_alias"] is None:
        return Change(False, due="its content was not given")
    ownership = _files.Ownership("root", "wheel", 0o644)
    misowned = found.status is not None and ownership.differs(found.status)
    remark = f"{_manifest.ALIAS}: owner or mode\n" if misowned else ""
    return Change(found.content is None or misowned or before != wanted["ssh_alias"], before + remark, wanted["ssh_alias"])


def _authorities(wanted: Wanted) -> str:
    """CA certificates for the Mac's Nix; Determinate Nix forbids to set them."""
    return "" if wanted.info["nix"].get("managed_by") == "determinate" else str(wanted["ca_file"] or "")


def _builders_line(wanted: Wanted, entry: t.Mapping[str, t.Any]) -> str:
    """A `builders` line of ours: that of the manual's form, or one that leads to the machines file; "" where none is needed."""
    if not wanted.manual:
        return str(entry["builders_reaching"]) if entry["builders_needed"] else ""
    reaching = entry["builders_reaching"]
    keep = reaching != f"@{_machines_apply.MACHINES}" or _files.lstat(_machines_apply.MACHINES) is not None
    fields = (
        "ssh-ng://builder@localhost",
        ",".join(wanted.systems),
        wanted["key_path"],
        wanted.max_jobs,
        wanted["speed_factor"],
        ",".join(wanted.features) or "-",
        ",".join(wanted["mandatory_features"]) or "-",
        wanted.pin or "-",
    )
    return (f"{reaching};" if keep else "") + " ".join(map(str, fields))
