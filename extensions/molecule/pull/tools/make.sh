#!/usr/bin/env bash
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# make.sh MAC: the flake beside it with its files, as /opt/tools on that stand-in: ansible-core as locked for the tests, for
# the stand-in's newer Python, and git of the stand-in's Debian. Kept in .cache/pull until an input changes.
set -euo pipefail
here=$(cd -- "$(dirname -- "$0")" && pwd)
# shellcheck source=../../../../tests/tools/common.sh
. "$here/../../../../tests/tools/common.sh"

target=$CACHE/pull/tools
wanted=$(cat "$here/make.sh" "$here/flake.nix" "$ROOT/tests/requirements.txt" | sha256sum)
if [ "$(cat "$target/.made-from" 2>/dev/null)" != "$wanted" ]; then
    rm -rf "$CACHE/pull"
    mkdir -p "$target/git/bin"
    # ansible-core and what it needs, no newer than in the lock.
    "$VENV/bin/python" -m pip install -q --no-compile --target "$target/site" --python-version 3.13 --implementation cp \
        --only-binary=:all: --constraint "$ROOT/tests/requirements.txt" ansible-core
    # git is one program that has all that a clone over git:// takes.
    mmdebstrap --quiet --variant=extract --include=git trixie "$CACHE/pull/git" ${LAB_MIRROR:+"$LAB_MIRROR"}
    cp "$CACHE/pull/git/usr/bin/git" "$target/git/bin/git"
    rm -rf "$CACHE/pull/git"
    cp "$here/flake.nix" "$target/"
    printf '%s\n' "$wanted" >"$target/.made-from"
fi
tar -C "$CACHE/pull" -cf - tools | "$ROOT/tests/lab/lab" exec "$1" -- tar -xf - -C /opt --no-same-owner
