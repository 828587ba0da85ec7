#!/bin/sh
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Makes a client key pair unless both halves are there, and installs it when the public half differs from /etc/nix.
# With one half missing the other is deleted: kept as nixpkgs' script behaves.
set -eu
PATH=/usr/bin:/bin:/usr/sbin:/sbin
directory='@workingDirectory@'
if [ "$directory" != . ]; then
    mkdir -p "$directory"
    cd "$directory"
fi
KEYS=${KEYS:-./keys}
mkdir -p "$KEYS"
if [ ! -e "$KEYS/builder_ed25519" ] || [ ! -e "$KEYS/builder_ed25519.pub" ]; then
    rm -f "$KEYS/builder_ed25519" "$KEYS/builder_ed25519.pub"
    ssh-keygen -q -f "$KEYS/builder_ed25519" -t ed25519 -N "" -C builder@localhost
fi
if ! cmp -s "$KEYS/builder_ed25519.pub" /etc/nix/builder_ed25519.pub; then
    sudo --reset-timestamp '@installCredentials@' "$KEYS"
fi
