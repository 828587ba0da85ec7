#!/usr/bin/env bash
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# lock.sh [NAME...]: writes tests/NAME.txt: the exact versions that pip chooses today for tests/NAME.in. Default: all of them.
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"

cd "$ROOT/tests"
[ $# -gt 0 ] || set -- requirements*.in
for name; do
    name=${name%.in}
    fresh=$(mktemp -d)
    trap 'rm -rf "$fresh"' EXIT
    python3 -m venv "$fresh"
    "$fresh/bin/python" -m pip install -q -r "$name.in"
    {
        sed -n '1,3p' "$name.in"
        # shellcheck disable=SC2016
        printf '\n# The lock of %s.in, all with exact versions: `make lock` writes it anew.\n' "$name"
        "$fresh/bin/python" -m pip freeze
    } >"$name.txt.new"
    mv "$name.txt.new" "$name.txt"
    rm -rf "$fresh"
done
