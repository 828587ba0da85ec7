#!/bin/sh
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# `make demo`: two Mac stand-ins, the builder deployed to both over SSH, a Linux build proven on each, and a second
# run that changes nothing. Installs what is missing, and may be run again and again.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cache=${LAB_CACHE:-$here/../../.cache/lab}
start=$(date +%s)

"$here/lab" deps
"$here/lab" venv
"$here/lab" up mac-a mac-b

run() {
    echo
    echo "=== $1"
    LAB_SUMMARY=$cache/summary LC_ALL=C.UTF-8 "$here/play.sh" nixmac.linux_builder.site --limit mac-a,mac-b
    read -r changed builds < "$cache/summary"
    if [ "$builds" -lt 2 ]; then
        echo "demo: only $builds of 2 Macs proved a build" >&2
        exit 1
    fi
}

run "First run: deploy the builder to mac-a and mac-b"
run "Second run: nothing is to change"
if [ "$changed" -ne 0 ]; then
    echo "demo: the second run changed $changed tasks; it should change none" >&2
    exit 1
fi
echo
echo "The second run changed 0. The whole demo took $(($(date +%s) - start)) s."
echo "Look around: tests/lab/lab exec mac-a     Remove it all: make demo-down"
