#!/usr/bin/env bash
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# tool_venv.sh NAME: the Python environment .cache/NAME/venv of tests/requirements-NAME.txt, for stages that need more than
# `make test` does. Does nothing, in a moment, when it is there.
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"

[ $# -eq 1 ] || die 'tool_venv.sh NAME'
requirements=$ROOT/tests/requirements-$1.txt
venv=$CACHE/$1/venv
python=$VENV/bin/python
wanted=$({ "$python" -V; cat "$requirements"; } | sha256sum)
[ "$(cat "$venv/.made-from" 2>/dev/null)" != "$wanted" ] || exit 0
rm -rf "$venv"
"$python" -m venv "$venv"
"$venv/bin/python" -m pip install -q -r "$requirements"
printf '%s\n' "$wanted" >"$venv/.made-from"
