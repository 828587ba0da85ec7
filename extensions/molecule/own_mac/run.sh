#!/usr/bin/env bash
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# run.sh INVENTORY MAC [ACTION [ARGUMENT...]]: this scenario against the host MAC of your inventory, with the installed collection
# that this file belongs to. ACTION is molecule's; the default is `test`, which removes the builder at its end.
set -euo pipefail
if [ $# -lt 2 ] || [ ! -e "$1" ]; then
    echo "run.sh INVENTORY MAC [ACTION [ARGUMENT...]]; INVENTORY is a file or directory. Nothing was run." >&2
    exit 2
fi
LINUX_BUILDER_TEST_INVENTORY=$(cd -- "$(dirname -- "$1")" && pwd)/$(basename -- "$1")
LINUX_BUILDER_TEST_MAC=$2
cd -- "$(dirname -- "$0")/../../"
# .../ansible_collections/nixmac/linux_builder/extensions
ANSIBLE_COLLECTIONS_PATH=$(cd ../../../.. && pwd)
export ANSIBLE_COLLECTIONS_PATH LINUX_BUILDER_TEST_INVENTORY LINUX_BUILDER_TEST_MAC
shift 2
[ $# -gt 0 ] || set -- test
action=$1
shift
exec molecule --base-config molecule/config.yml "$action" -s own_mac "$@"
