# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""Whether a guest that has just come up builds: one new derivation, before the change that brought it is called done.

Root's own build through exactly this VM, so that it needs no registration; builder_verify proves the daemon's way.
"""

from __future__ import annotations

import os
import secrets
import time
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _verify_build
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_nixos import builder_options
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_source import guest_system
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_spec import Spec
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import StateError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._nix import Nix, complaint

BUILD_TIMEOUT = 300.0  # seconds


def prove(nix: Nix, spec: Spec, environment: t.Mapping[str, str], boot_id: str) -> float:
    """Build in the VM and return the seconds it took. boot_id: the guest's, which the output has to hold.

    StateError, with Nix' words, when nothing was built, or elsewhere.
    """
    system = guest_system(str(nix.effective()["system"]))
    options, more = builder_options(spec.layout, spec.client_key, system, spec.host_address, spec.port)
    environment = {**environment, "NIX_USER_CONF_FILES": "", **more}
    text = _verify_build.expression(system, f"linux-builder-proof-{secrets.token_hex(8)}")
    programs = os.path.dirname(nix.path)
    argv = [os.path.join(programs, "nix-build"), "--no-out-link", "--max-jobs", "0", *options]
    argv += ["--option", "substitute", "false", "--option", "builders-use-substitutes", "false", "-E", text]
    begin = time.monotonic()
    done = nix.runner.run(argv, timeout=BUILD_TIMEOUT, env=environment)
    seconds = time.monotonic() - begin
    path = done.stdout.strip().rpartition("\n")[2]
    if done.rc != 0 or not path.startswith("/nix/store/"):
        raise StateError(
            f"{spec.host_address} port {spec.port}: the guest answers, but builds nothing for {system}: {complaint(done)}. "
            f"See {spec.layout.log_path}.",
            nix_stderr=done.stderr[-4000:],
        )
    try:
        _kernel, built_in, _architecture = _verify_build.parse_output(path)
        if built_in != boot_id:
            raise StateError(
                f"{path}: was built by boot {built_in}, not by the guest's {boot_id}: another VM answers. Run again."
            )
    finally:
        # What the guest keeps of it is left to its own garbage collection.
        nix.runner.run([os.path.join(programs, "nix-store"), "--delete", path], timeout=60, env=environment)
    return round(seconds, 3)
