#!/bin/sh
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Puts the client's key pair ($1) where the Nix daemon looks for it; runs as root.
set -eu
install -g nixbld -m 600 "$1/builder_ed25519" /etc/nix/builder_ed25519
install -g nixbld -m 644 "$1/builder_ed25519.pub" /etc/nix/builder_ed25519.pub
