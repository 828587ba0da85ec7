#!/bin/sh
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Starts the VM with a copy of the key directory in the store: private half and all, as nixpkgs' script does.
set -eu
KEYS=$(/nix/var/nix/profiles/default/bin/nix-store --add "$KEYS") exec '@vm@/bin/run-nixos-vm'
