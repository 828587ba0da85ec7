#!/usr/bin/env bash
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# run.sh [FILE] [PYTEST OPTION...]: the fleet report in a headless Chromium; without a file that of a synthetic fleet.
# Installs the browser (Debian's packages) where it is missing. Pictures are left in .cache/fleet-report.
set -euo pipefail
# shellcheck source=../tools/common.sh
. "$(dirname -- "$0")/../tools/common.sh"

if ! command -v chromedriver >/dev/null; then
    as_root=()
    if [ "$(id -u)" -ne 0 ]; then as_root=(sudo); fi
    say 'Installing Chromium and ChromeDriver ...'
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive sh -c \
        'apt-get update -q && apt-get install -o DPkg::Lock::Timeout=600 -q -y --no-install-recommends chromium chromium-driver' >"$CACHE/chromium.log" 2>&1 || {
        cat "$CACHE/chromium.log" >&2
        die 'chromium-driver cannot be installed. Install a Chromium with its chromedriver, then run again.'
    }
fi
link=$CACHE/collections/ansible_collections/$NAMESPACE/$NAME
mkdir -p "$(dirname "$link")"
ln -sfn "$ROOT" "$link"
case ${1:--} in -*) set -- "$ROOT/tests/report" "$@" ;; esac
PYTHONPATH=$CACHE/collections exec pytest -q -p no:cacheprovider "$@"
