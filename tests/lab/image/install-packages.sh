#!/bin/sh
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Installs the listed packages where the base lacks them (a pulled image); the base of our own has them all.
set -eu
packages=$(sed 's/#.*//' /usr/share/lab/packages.txt)
missing=
for name in $packages; do
    dpkg-query -W -f '${Status}' "$name" 2> /dev/null | grep -q 'install ok installed' || missing="$missing $name"
done
if [ -n "$missing" ]; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q
    # shellcheck disable=SC2086
    apt-get install -q -y --no-install-recommends $missing
    rm -rf /var/lib/apt/lists/*
fi
