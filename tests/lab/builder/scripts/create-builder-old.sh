#!/bin/sh
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Key pair, installation and VM in one script.
set -eu
KEYS=${KEYS:-./keys}
/bin/mkdir -p "$KEYS"
if [ ! -e "$KEYS/builder_ed25519" ] || [ ! -e "$KEYS/builder_ed25519.pub" ]; then
    rm -f "$KEYS/builder_ed25519" "$KEYS/builder_ed25519.pub"
    ssh-keygen -q -f "$KEYS/builder_ed25519" -t ed25519 -N "" -C builder@localhost
fi
if ! cmp -s "$KEYS/builder_ed25519.pub" /etc/nix/builder_ed25519.pub; then
    sudo --reset-timestamp @installCredentials@ "$KEYS"
fi
KEYS=$(/nix/var/nix/profiles/default/bin/nix-store --add "$KEYS") @vm@/bin/run-nixos-vm
