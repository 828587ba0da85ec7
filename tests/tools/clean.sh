#!/usr/bin/env bash
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Removes what the demo, the tests and the tools left on this machine.
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"

if [ -x "$ROOT/tests/lab/demo-down.sh" ]; then "$ROOT/tests/lab/demo-down.sh" || true; fi
cd "$ROOT"
rm -rf .cache .ansible .pytest_cache .mypy_cache .ruff_cache .hypothesis tests/output
