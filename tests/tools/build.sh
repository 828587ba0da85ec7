#!/usr/bin/env bash
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Builds the artifact and installs it alone into an empty path (.cache/installed): what molecule and the demo run.
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"

"$ROOT/tests/tools/copy.sh"
export ANSIBLE_HOME="$CACHE/ansible-home" ANSIBLE_COLLECTIONS_PATH="$INSTALLED"
mkdir -p "$CACHE/artifact"
rm -f "$CACHE"/artifact/*.tar.gz
ansible-galaxy collection build --force --output-path "$CACHE/artifact" "$COPY"
rm -rf "$INSTALLED"
ansible-galaxy collection install --offline --no-deps -p "$INSTALLED" "$CACHE"/artifact/*.tar.gz
# The lab is for checkouts; an artifact with it would be many times as large.
if tar -tzf "$CACHE"/artifact/*.tar.gz | grep -q '^tests/lab\|^extensions\|^\.cache\|\.pyc$'; then
    die 'The artifact holds files that belong to a checkout only; see build_ignore in galaxy.yml.'
fi
