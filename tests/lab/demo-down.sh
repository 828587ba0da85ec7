#!/bin/sh
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# `make demo-down`: removes the stand-ins, the lab's images, keys and caches.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
exec "$here/lab" destroy
