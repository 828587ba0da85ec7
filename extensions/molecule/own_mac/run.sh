#!/usr/bin/env bash
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# run.sh INVENTORY MAC [ACTION [ARGUMENT...]]: this scenario against the host MAC of your inventory, with the collection that
# Ansible finds installed. ACTION is molecule's; the default is `test`, which removes the builder at its end.
set -euo pipefail
if [ $# -lt 2 ] || [ ! -e "$1" ]; then
    echo "run.sh INVENTORY MAC [ACTION [ARGUMENT...]]; INVENTORY is a file or directory. Nothing was run." >&2
    exit 2
fi
LINUX_BUILDER_TEST_INVENTORY=$(cd -- "$(dirname -- "$1")" && pwd)/$(basename -- "$1")
LINUX_BUILDER_TEST_MAC=$2
cd -- "$(dirname -- "$0")/../../"
export LINUX_BUILDER_TEST_INVENTORY LINUX_BUILDER_TEST_MAC
# The tests are those of one version.
wanted=$(sed -n 's/^version: *//p' ../galaxy.yml)
found=$(ansible-galaxy collection list nixmac.linux_builder 2>/dev/null | awk '$1 == "nixmac.linux_builder" { print $2; exit }') || true
if [ "$found" != "$wanted" ]; then
    echo "These are the tests of nixmac.linux_builder $wanted; installed is ${found:-none}. Nothing was run. Install that version," \
        "or check out the tag of yours." >&2
    exit 2
fi
shift 2
[ $# -gt 0 ] || set -- test
action=$1
shift
exec molecule --base-config molecule/config.yml "$action" -s own_mac "$@"
