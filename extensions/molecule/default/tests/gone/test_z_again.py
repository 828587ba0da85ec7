# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Mac that was left is converged anew; its Nix store still has the image."""

from __future__ import annotations

import macs


def test_the_first_run_is_few_executions() -> None:
    played = macs.play("site", "-vvv")
    assert played.rc == 0, played.output
    assert played.changed() > 0, played.output
    modules = played.modules()
    assert modules[0] == "builder_info"
    assert modules[-1] == "builder_verify"
    assert len(modules) <= 20, modules
    assert not played.says("AnsiballZ_"), "a file was transferred"
