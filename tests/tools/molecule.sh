#!/usr/bin/env bash
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# molecule.sh [ARGUMENT...]: runs molecule (default: `test`, the scenario default) on the built artifact, not the checkout.
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"

[ -n "${MOLECULE_NO_BUILD:-}" ] || "$ROOT/tests/tools/build.sh"
export ANSIBLE_HOME="$CACHE/ansible-home" ANSIBLE_COLLECTIONS_PATH="$INSTALLED"
# molecule's own state, and the directory of control sockets: short enough for a Unix socket's 108 bytes.
export MOLECULE_EPHEMERAL_DIRECTORY="$CACHE/molecule/state"
ANSIBLE_SSH_CONTROL_PATH_DIR=$(mktemp -d /tmp/nixmac.XXXXXX)
export ANSIBLE_SSH_CONTROL_PATH_DIR
trap 'rm -rf "$ANSIBLE_SSH_CONTROL_PATH_DIR"' EXIT
export LINUX_BUILDER_ROOT="$ROOT"
[ $# -gt 0 ] || set -- test
# The stand-ins of a scenario; most take the same. The tests' Mac is the first.
scenario=default
for word; do
    [ "${previous:-}" != -s ] || scenario=$word
    previous=$word
done
LINUX_BUILDER_STAND_INS=mac-test
if [ -e "$ROOT/extensions/molecule/$scenario/mac" ]; then
    LINUX_BUILDER_STAND_INS=$(grep -v '^#' "$ROOT/extensions/molecule/$scenario/mac")
fi
export LINUX_BUILDER_STAND_INS LINUX_BUILDER_TEST_MAC=${LINUX_BUILDER_STAND_INS%% *}
export LINUX_BUILDER_TEST_INVENTORY=$CACHE/lab/inventory.yml
# Steps without tests would be passed over.
[ ! -e "$ROOT/extensions/molecule/$scenario" ] || python "$ROOT/tests/tools/check_scenarios.py" "$ROOT/extensions/molecule" "$scenario" >&2
# What molecule believes to exist is of no use to a whole run.
[ "$1" != test ] || rm -rf "$CACHE/molecule"
mkdir -p "$CACHE/molecule"
cd "$ROOT"
NO_COLOR=1 molecule "$@"
