#!/usr/bin/env bash
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# unit.sh [FILE... [pytest's options]]: unit tests of the checkout as it is, on the Python of .cache/venv. Without words all
# of them. The lab's own want root and are a stage of `make test`.
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"

[ -x "$VENV/bin/pytest" ] || "$ROOT/tests/tools/setup.sh"
# The link gives the checkout its name in the collection.
link=$CACHE/collections/ansible_collections/$NAMESPACE/$NAME
mkdir -p "$(dirname "$link")"
ln -sfn "$ROOT" "$link"
[ $# -gt 0 ] || set -- tests/unit/plugins tests/unit/roles
cd "$link"
PYTHONPATH=$CACHE/collections ANSIBLE_HOME=$CACHE/ansible-home exec pytest -q -p no:cacheprovider "$@"
