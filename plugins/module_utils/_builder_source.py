# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""From a package reference to the store path of a VM: lock, expression, build, and a look into its scripts."""

from __future__ import annotations

import collections
import json
import os
import re
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _builder_cache, _builder_cache_take, _vz
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_config import guest_modules, substituter_options
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_nixos import builder_options
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_reference import Realised, Reference, parse_reference
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_spec import Spec
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_words import need, words
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import CommandError, ConfigError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nix import Nix, complaint
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nix_expression import string as _string

BUILD_TIMEOUT = 3600.0  # seconds: the closure is about 3 GiB and comes from a binary cache
_RESOLVE_TIMEOUT = 900.0  # seconds: nixpkgs' source has to be fetched and unpacked once

# A Mac without a network is told within seconds; Nix' own five tries with growing pauses take more than a minute.
_IMPATIENT = ("--option", "connect-timeout", "15", "--option", "download-attempts", "2")
_FLAKES = ("--extra-experimental-features", "flakes")
_IN_SCRIPT = re.compile(rb"/nix/store/[0-9a-z]{32}-[0-9A-Za-z+._?=-]+(?:/[0-9A-Za-z+._-]+)*")
_VM_PROGRAM = re.compile(r"^run-[0-9A-Za-z._-]+-vm$")
_FOLLOWED = ("create-builder", "run-builder", "add-keys")
_FORWARD = re.compile(rb"hostfwd=tcp:([0-9A-Za-z.:]*):([0-9]+)-([0-9.]*):22\b")
_PLANNED = re.compile(r"^  (/nix/store/[0-9a-z]{32}-[0-9A-Za-z+._?=-]+\.drv)$", re.MULTILINE)
_SCRIPT_LIMIT = 1024 * 1024  # bytes
_MOST_SCRIPTS = 16


class Program(t.NamedTuple):
    """The VM's derivation output and what its start script forwards.

    store_path: holds bin/<name>. address: host side of the forward to the guest's port 22, empty for all
    interfaces. port: likewise. Both None when the script forwards nothing by itself (another hypervisor).
    """

    store_path: str
    name: str
    address: str | None
    port: int | None


def lock(nix: Nix, reference: Reference, env: t.Mapping[str, str]) -> str:
    """The flake with its revision and hash, as Nix prints it. Starts one `nix`. CommandError with Nix' words."""
    if reference.flake is None:
        return reference.text
    done = nix.work(
        [*_FLAKES, *_IMPATIENT, "flake", "metadata", "--json", "--no-write-lock-file", reference.flake],
        timeout=_RESOLVE_TIMEOUT,
        env=env,
    )
    if done.rc != 0:
        raise CommandError(
            f"package: {reference.flake} cannot be resolved: {complaint(done)}. Check the reference and the network."
        )
    try:
        url = json.loads(done.stdout)["url"]
    except (ValueError, KeyError, TypeError) as exc:
        raise CommandError(
            f"package: nix flake metadata {reference.flake} printed nothing usable. Check the Nix version."
        ) from exc
    return f"{url}#{'.'.join(reference.attribute)}"


def expression(locked: str, system: str, spec: Spec) -> str:
    """The Nix expression of the VM: the package with the host-side options forced, or as it is where it takes none.

    Without guest modules nothing reaches the guest's own configuration, so that nothing Linux has to be built.
    """
    flake, _separator, attribute = locked.partition("#")
    names = " ".join(_string(name) for name in attribute.split("."))
    disk = "" if spec.disk_mib is None else f"diskSize = lib.mkForce {spec.disk_mib};"
    hypervisor = _vz.module(spec.cores, spec.memory_mib, spec.nested, spec.host_address, spec.port) if spec.vz else ""
    modules = guest_modules(spec)
    guest = "".join(f"\n({module}\n)" for module in modules)
    other = 'throw "the package takes no override, so its guest stays as it is"' if modules else "package"
    return f"""
let
  flake = builtins.getFlake {_string(flake)};
  system = {_string(system)};
  names = [ {names} ];
  step = set: name: if builtins.isAttrs set && set ? ${{name}} then set.${{name}} else null;
  look = set: builtins.foldl' step set names;
  found = builtins.filter (value: value != null) (map look [
    (flake.packages.${{system}} or {{ }})
    (flake.legacyPackages.${{system}} or {{ }})
    flake
  ]);
  package =
    if found == [ ] then throw "the flake has no attribute {attribute} for ${{system}}" else builtins.head found;
  # Builders without QEMU have no forwardPorts and listen on loopback by themselves; the oldest have no hostPort.
  hostSide = {{ lib, options ? null, ... }}: let
    known = set: name: options == null || set ? ${{name}};
    only = condition: value: if condition then value else {{ }};
  in {{
    config.virtualisation =
      only (known options.virtualisation "forwardPorts") {{
        forwardPorts = lib.mkForce [
          {{
            from = "host";
            host.address = {_string(spec.host_address)};
            host.port = {spec.port};
            guest.port = 22;
          }}
        ];
      }}
      // {{
        darwin-builder =
          only (known options.virtualisation.darwin-builder "hostPort") {{ hostPort = lib.mkForce {spec.port}; }}
          // {{ {disk} }};
      }};
  }};
  overridden =
    if package ? override && package ? nixosConfig then
      package.override (old: {{ modules = (old.modules or [ ]) ++ [ hostSide {hypervisor} {guest} ]; }})
    else
      {other};
in
overridden.nixosConfig.system.build.vm or overridden
"""


def guest_system(system: str) -> str:
    """The Linux system of a guest on a Mac of Nix system `system`."""
    return system.partition("-")[0] + "-linux"


def realise(
    nix: Nix,
    locked: str,
    spec: Spec,
    env: t.Mapping[str, str],
    where: tuple[str, int] = ("127.0.0.1", 31022),
    closure_there: bool = False,
) -> Realised:
    """Build or substitute the VM and check where it listens. Nothing is switched yet.

    where: (address, port) of the builder that runs now, which builds what of the guest is for this Mac.
    closure_there: whether only the VM's own scripts can be missing (`only_scripts_differ`); then no binary cache is asked,
    unless it turns out that something else is missing too.
    CommandError with Nix' words; ConfigError when the VM would not listen where it was asked to.
    """
    guest = bool(guest_modules(spec))
    if parse_reference(locked).flake is None:
        if guest:
            raise ConfigError(
                f"package: {locked} is a store path and takes no override, so its guest stays as it is. "
                "Use darwin.linux-builder of a flake, or host_key: stock and no guest-side options."
            )
        options, env = _builder_cache_take.offer(nix, spec.cache, [locked], env, False)
        _build(nix, [*options, *substituter_options(spec), locked], f"package: {locked}", env, cache=spec.cache)
        output = locked
    else:
        system = str(nix.effective()["system"])
        what = ["--expr", expression(locked, system, spec)]
        printed = _build_scripts(nix, what, env) if closure_there else None
        if printed is None:
            options, env = _builder_cache_take.offer(nix, spec.cache, what, env, guest)
            options += substituter_options(spec)
            if guest:
                # The guest that runs may not know the way to a binary cache yet, and would wait for each of its tries.
                direct = not (spec.guest.proxy or spec.guest.substituters)
                builder, more = builder_options(spec.layout, spec.client_key, guest_system(system), *where, fetches=direct)
                options, env = [*options, *builder], {**env, **more}
            printed = _build(nix, [*options, *what], f"package: {locked}", env, where if guest else None, spec.cache)
        output = _output(printed, locked)
    program = find_program(output)
    check_hypervisor(program, spec)
    check_forward(program, spec)
    return Realised(locked, program.store_path, program.name)


def only_scripts_differ(record: t.Mapping[str, t.Any], locked: str, spec: Spec) -> bool:
    """Whether the recorded builder is of the same source and guest, so that the new one differs in host-side options only."""
    overrides = record.get("overrides")
    same = isinstance(overrides, dict) and overrides.get("guest") == spec.overrides.get("guest")
    return same and record.get("locked") == locked


def _build_scripts(nix: Nix, what: t.Sequence[str], env: t.Mapping[str, str]) -> str | None:
    """`nix build` that asks no binary cache. None when more has to be made than small scripts for this Mac."""
    alone = ["--option", "substitute", "false"]
    planned = nix.run([*_FLAKES, "build", "--dry-run", "--json", *alone, *what], timeout=BUILD_TIMEOUT, env=env)
    missing = _PLANNED.findall(planned.stderr)
    if planned.rc != 0 or len(missing) > _MOST_SCRIPTS or not all(_is_script(path) for path in missing):
        return None
    try:
        derivation = str(json.loads(planned.stdout)[0]["drvPath"])
    except (ValueError, LookupError, TypeError):
        return None
    # The derivation is there by now; naming it spares a second evaluation. Nix before 2.15 knows no ^ for it.
    name = derivation + ("^out" if nix.version().numbers >= (2, 15, 0) else "")
    done = nix.run([*_FLAKES, "build", "--no-link", "--json", *alone, name], timeout=BUILD_TIMEOUT, env=env)
    return done.stdout if done.rc == 0 else None


def _is_script(derivation: str) -> bool:
    """Whether a derivation says of itself that it is best built where it is used, and is not for Linux."""
    content = _read(derivation) or b""
    local = any(mark in content for mark in (b'("preferLocalBuild","1")', b'\\"preferLocalBuild\\":true'))
    return local and b'-linux","' not in content


def _build(
    nix: Nix,
    what: t.Sequence[str],
    name: str,
    env: t.Mapping[str, str],
    where: tuple[str, int] | None = None,
    cache: _builder_cache.Cache | None = None,
) -> str:
    watch = _builder_cache_take.watch(cache)
    done = nix.work([*_FLAKES, "build", "--no-link", "--json", *what], timeout=BUILD_TIMEOUT, env=env, watch=watch)
    if done.rc != 0:
        why = words(done, where is not None, where) + (_builder_cache_take.missing_there(cache) if need(done.stderr) else "")
        raise CommandError(f"{name} cannot be realised: {why}", nix_stderr=done.stderr[-4000:])
    return done.stdout


def _output(printed: str, locked: str) -> str:
    try:
        return str(json.loads(printed)[0]["outputs"]["out"])
    except (ValueError, LookupError, TypeError) as exc:
        raise CommandError(f"package: nix build of {locked} printed no output path. Check the Nix version.") from exc


def root(nix: Nix, link: str, store_path: str, env: t.Mapping[str, str]) -> None:
    """Make the link `link` to `store_path` a root of the garbage collector."""
    done = nix.run([*_FLAKES, "build", "--out-link", link, store_path], timeout=BUILD_TIMEOUT, env=env)
    if done.rc != 0:
        raise CommandError(f"{link}: cannot be set to {store_path}: {words(done)}")


def set_profile(nix: Nix, profile: str, store_path: str, env: t.Mapping[str, str]) -> None:
    """Make `store_path` the profile's new generation (no-op for Nix when it is the current one)."""
    done = nix.run([*_FLAKES, "build", "--no-link", "--profile", profile, store_path], timeout=BUILD_TIMEOUT, env=env)
    if done.rc != 0:
        raise CommandError(f"{profile}: cannot be set to {store_path}: {words(done)}")


def find_program(output: str) -> Program:
    """The VM's start script in a VM derivation, or named inside the scripts of a create-builder package.

    ConfigError when a bounded search finds none, or more than one.
    """
    queue = collections.deque([output])
    seen: set[str] = set()
    found: set[str] = set()
    while queue and len(seen) < _MOST_SCRIPTS:
        path = queue.popleft()
        if path in seen:
            continue
        seen.add(path)
        scripts, programs = _look(path)
        found.update(programs)
        queue.extend(scripts)
        if found:
            break
    if len(found) != 1:
        raise ConfigError(
            f"package: {output} has {'no' if not found else 'more than one'} VM start script (bin/run-*-vm), "
            "nor do its scripts name one. Use a darwin.linux-builder package or its nixosConfig.system.build.vm."
        )
    program = found.pop()
    address, port = read_forward(_read(program) or b"")
    return Program(os.path.dirname(os.path.dirname(program)), os.path.basename(program), address, port)


def _look(path: str) -> tuple[list[str], list[str]]:
    """(scripts to follow, VM start scripts) in a directory's bin or in the text of a script."""
    if os.path.isdir(path):
        names = [os.path.join(path, "bin", name) for name in _list(os.path.join(path, "bin"))]
    else:
        names = [match.decode() for match in _IN_SCRIPT.findall(_read(path) or b"")]
    programs = [name for name in names if _VM_PROGRAM.match(os.path.basename(name)) and os.path.isfile(name)]
    scripts = [name for name in names if os.path.basename(name) in _FOLLOWED and os.path.isfile(name)]
    return scripts, programs


def _list(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as stream:
            return stream.read(_SCRIPT_LIMIT)
    except OSError:
        return None


def read_forward(script: bytes) -> tuple[str | None, int | None]:
    """(address, port) on the host that a start script forwards to the guest's port 22; (None, None) if none."""
    match = _FORWARD.search(script)
    if match is None:
        return None, None
    return match.group(1).decode(), int(match.group(2))


def check_hypervisor(program: Program, spec: Spec) -> None:
    """ConfigError unless the start script starts the hypervisor that the package's name promises."""
    if _vz.is_vz_script(os.path.join(program.store_path, "bin", program.name)) == spec.vz:
        return
    is_one = "does not start vzvm" if spec.vz else "starts vzvm (Virtualization.framework)"
    raise ConfigError(
        f"package: {spec.package}: {program.store_path} {is_one}. Disk and options differ, so the attribute's name has to say "
        "which it is: give those for vzvm, and only those, a name that ends in -vz, as nixpkgs does."
    )


def check_forward(program: Program, spec: Spec) -> None:
    """ConfigError unless the start script listens at the address and port that were asked for."""
    if program.port is None or program.address is None:
        return
    where = f"package: {program.store_path} listens on"
    if program.port != spec.port:
        raise ConfigError(
            f"{where} port {program.port}, not {spec.port}, and takes no override. "
            f"Set port: {program.port}, or use a package with override (darwin.linux-builder of a flake)."
        )
    if program.address != spec.host_address and not spec.accept_any_address:
        raise ConfigError(
            f"{where} {program.address or 'all interfaces'}, not {spec.host_address} alone, and takes no override. "
            "Use a package with override (darwin.linux-builder of a flake), or set accept_any_address: true."
        )
