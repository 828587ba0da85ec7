#!/usr/bin/env bash
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Writes tests/requirements.txt: the exact versions that pip chooses today for tests/requirements.in.
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"

fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
python3 -m venv "$fresh"
"$fresh/bin/python" -m pip install -q -r "$ROOT/tests/requirements.in"
{
    sed -n '1,3p' "$ROOT/tests/requirements.in"
    # shellcheck disable=SC2016
    printf '\n# The lock of requirements.in, all with exact versions: `make lock` writes it anew.\n'
    "$fresh/bin/python" -m pip freeze
} >"$ROOT/tests/requirements.txt.new"
mv "$ROOT/tests/requirements.txt.new" "$ROOT/tests/requirements.txt"
