#!/usr/bin/env bash
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# nix_versions.sh [SUITE...]: the tests of nix_conf and nix_machine against the real Nix of other Debian releases, each in a
# chroot of its own under .cache/nix: 2.8 of bookworm and the newest of sid. The stand-in has trixie's. Needs root.
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"

[ "$(id -u)" -eq 0 ] || die 'nix_versions.sh: needs root, for the chroots'
[ $# -gt 0 ] || set -- bookworm sid

link=$CACHE/collections/ansible_collections/$NAMESPACE/$NAME
mkdir -p "$(dirname "$link")"
ln -sfn "$ROOT" "$link"

for suite in "$@"; do
    tree=$CACHE/nix/$suite
    if [ ! -e "$tree/.done" ]; then
        rm -rf "$tree"
        mkdir -p "$CACHE/nix"
        # A mirror's copy of sid may be older than its own expiry date.
        mmdebstrap --variant=minbase --include=nix-bin,ca-certificates \
            --aptopt='Acquire::Check-Valid-Until "false"' "$suite" "$tree"
        touch "$tree/.done"
    fi
    # The tests' temporary directory is the same path inside and outside.
    shared=$(mktemp -d /tmp/other-nix.XXXXXX)
    mkdir -p "$tree$shared"
    mount --bind "$shared" "$tree$shared"
    mount -t proc proc "$tree/proc"
    status=0
    chroot "$tree" nix --version
    NIXMAC_TEST_NIX="chroot $tree nix" TMPDIR=$shared PYTHONPATH=$CACHE/collections \
        "$VENV/bin/pytest" -q -p no:cacheprovider "$ROOT/tests/real/test_nixconf_property.py" \
        "$ROOT/tests/real/test_machines_reached.py" || status=$?
    umount "$tree/proc" "$tree$shared"
    rm -rf "$shared"
    [ "$status" -eq 0 ] || exit "$status"
done
