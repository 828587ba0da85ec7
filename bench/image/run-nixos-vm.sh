#!/bin/sh
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# In place of the lab's script of the same name: a disk that stays empty, and the light guest in place of QEMU.
set -e
PATH=/usr/bin:/bin:/usr/sbin:/sbin

NIX_DISK_IMAGE=$(readlink -f "${NIX_DISK_IMAGE:-./@name@.qcow2}") || test -z "$NIX_DISK_IMAGE"
if [ ! -e "$NIX_DISK_IMAGE" ]; then
    qemu-img create -q -f qcow2 "$NIX_DISK_IMAGE" '@disk@M'
fi
# $QEMU_OPTS are words.
# shellcheck disable=SC2086
exec /usr/sbin/light-guest "$KEYS" '@forwards@' '@toplevel@' -m '@memory@' -smp '@cores@' -drive "file=$NIX_DISK_IMAGE" @options@ $QEMU_OPTS
