#!/bin/sh
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Installs the stand-in's launchd and launchctl below a root directory.
# usage: install.sh <root> <python>    e.g. install.sh / /usr/bin/python3.13
# <python> is the distribution's own (3.11 or newer) as seen *inside* the root: /usr/bin/python3 is 3.9 there.

set -eu

root=${1:?root directory}
python=${2:?python of the distribution}
here=$(cd "$(dirname "$0")" && pwd)
library="${root%/}/opt/lab/launchd"

mkdir -p "$library/lab_launchd" "${root%/}/sbin" "${root%/}/bin" "${root%/}/usr/local/sbin" "${root%/}/etc/lab" \
    "${root%/}/Library/LaunchDaemons" "${root%/}/Library/LaunchAgents" "${root%/}/System/Library/LaunchDaemons"
cp "$here"/lab_launchd/*.py "$library/lab_launchd/"
for name in launchd launchctl; do
    sed "1s|^#!.*|#!$python -IS|" "$here/$name.py" >"$library/$name.py"
    chmod 0755 "$library/$name.py"
done
ln -sf /opt/lab/launchd/launchd.py "${root%/}/sbin/launchd"
ln -sf /opt/lab/launchd/launchctl.py "${root%/}/bin/launchctl"
ln -sf /opt/lab/launchd/launchctl.py "${root%/}/usr/local/sbin/lab-launchd-fault"
if [ ! -e "${root%/}/etc/lab/launchd.json" ]; then
    printf '%s\n' '{"era": 15}' >"${root%/}/etc/lab/launchd.json"
fi
