#!/bin/sh
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Adds the guest's files ($1) to the Nix store under the fixed-output paths that the builder flake names, and
# leaves their hashes for the flake. They stay in place by a GC root: a stand-in has no cache to fetch them from.
set -eu
export HOME=/var/root NIX_REMOTE=local NIX_CONF_DIR=/usr/share/lab/empty
json=/usr/share/lab/blobs.json
printf '{' > "$json"
comma=
for name in vmlinux initrd rootfs.tar; do
    path=$(nix-store --add-fixed sha256 "$1/$name")
    ln -s "$path" "/nix/var/nix/gcroots/lab/$name"
    printf '%s\n  "%s": "%s"' "$comma" "$name" "$(nix-hash --type sha256 --flat --base32 "$path")" >> "$json"
    comma=,
done
printf '\n}\n' >> "$json"
