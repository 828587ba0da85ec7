#!/usr/bin/env bash
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Copies the checkout (tracked files, and new ones that git does not ignore) to where ansible-test and ansible-lint
# find a collection: .cache/ansible_collections/nixmac/linux_builder. What those tools cached in the copy is dropped.
# The lab stays out, as it does of the artifact: it is a program of its own, with its own tests and Python.
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"

rm -rf "$COPY"
mkdir -p "$COPY"
cd "$ROOT"
git ls-files -z --cached --others --exclude-standard -- . ':!tests/lab' ':!tests/unit/lab' ':!bench' ':!tests/unit/bench' |
    while IFS= read -r -d '' file; do
        # A tracked file that was deleted in the work tree is still listed.
        if [ -e "$file" ] || [ -L "$file" ]; then printf '%s\0' "$file"; fi
    done |
    tar --null --files-from=- --create | tar --extract --directory="$COPY"
# Both tools ask git which files there are; without its own repository the copy would be the checkout's ignored part.
git -C "$COPY" init -q
