#!/usr/bin/env bash
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# own_mac.sh [ARGUMENT...]: the scenario own_mac as docs/own-ci.md has it: the installed artifact, not the checkout, against an
# inventory of one's own. A stand-in that is started by hand, under another name, plays that Mac.
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"

NAME_THERE=build-mac.example.com STAND_IN=mac-e
[ -n "${MOLECULE_NO_BUILD:-}" ] || "$ROOT/tests/tools/build.sh"
work=$(mktemp -d /tmp/nixmac.XXXXXX)
finish() {
    "$ROOT/tests/lab/lab" down "$STAND_IN"
    rm -rf "$work"
}
trap finish EXIT

"$ROOT/tests/lab/lab" up "$STAND_IN"
python3 - "$CACHE/lab/inventory.yml" "$STAND_IN" "$NAME_THERE" >"$work/inventory.yml" <<'PYTHON'
import json, sys

path, stand_in, name = sys.argv[1:]
with open(path) as stream:
    macs = json.load(stream)["all"]["children"]["macs"]
json.dump({"macs": {"hosts": {name: macs["hosts"][stand_in]}, "vars": macs["vars"]}}, sys.stdout)
PYTHON

# What molecule.sh sets is not there, nor are its state and the checkout's collection.
unset LINUX_BUILDER_ROOT LINUX_BUILDER_STAND_INS
export ANSIBLE_COLLECTIONS_PATH="$INSTALLED"
export ANSIBLE_HOME="$work/ansible" ANSIBLE_SSH_CONTROL_PATH_DIR="$work" MOLECULE_EPHEMERAL_DIRECTORY="$work/molecule" NO_COLOR=1
cd "$work"
"$ROOT/extensions/molecule/own_mac/run.sh" inventory.yml "$NAME_THERE" "$@"
