#!/bin/sh
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Starts the VM of the vz stand-in, with the outer shape of nixpkgs' script: state directory, raw disk with a qcow2's name,
# store image that is kept by its hash, vzvm.json written anew, and vzvm in place of this shell.
# Environment: KEYS, VZVM_STATE_DIR, TMPDIR, NIX_SSL_CERT_FILE. QEMU_OPTS and NIX_DISK_IMAGE mean nothing to it.
set -eu
PATH=/usr/bin:/bin:/usr/sbin:/sbin

imageDir="${VZVM_STATE_DIR:-$PWD}"
mkdir -p "$imageDir"
if [ -z "${TMPDIR:-}" ]; then
    TMPDIR=$(mktemp -d -t vzvm.XXXXXX)
fi
export TMPDIR

mkdir -p "$TMPDIR/certs" "$TMPDIR/xchg"
if [ -e "${NIX_SSL_CERT_FILE:-}" ]; then
    install -m 0644 "$NIX_SSL_CERT_FILE" "$TMPDIR/certs/ca-certificates.crt"
else
    echo "vzvm: NIX_SSL_CERT_FILE is unset or missing; guest gets no host CA certificates" >&2
    : > "$TMPDIR/certs/ca-certificates.crt"
fi
rm -f "$TMPDIR/xchg/guest-configuration"
if [ -e '@toplevel@/guest-configuration' ]; then
    cp '@toplevel@/guest-configuration' "$TMPDIR/xchg/guest-configuration"
fi

toplevel='@toplevel@'
hash=${toplevel##*/}
storeImage="$imageDir/store-${hash%%-*}.img"
if [ ! -f "$storeImage" ]; then
    echo "Building Nix store image, this can take a minute on first boot..." >&2
    mkfs.erofs --quiet --tar=f -T 0 "$storeImage.tmp.$$" "$toplevel/rootfs.tar"
    mv "$storeImage.tmp.$$" "$storeImage"
    find "$imageDir" -maxdepth 1 -name 'store-*.img' ! -name "${storeImage##*/}" -delete
fi

dataDisk="@diskImage@"
case "$dataDisk" in
    /*) ;;
    *) dataDisk="$imageDir/${dataDisk#./}" ;;
esac
if [ ! -f "$dataDisk" ]; then
    echo "Creating @disk@M data disk at $dataDisk..." >&2
    dd if=/dev/zero of="$dataDisk" bs=1M count=0 seek=@disk@ 2>/dev/null
    # NixOS' guest formats an empty disk by itself; the lab's does not.
    mkfs.ext4 -q -L nixos "$dataDisk"
fi

config="$imageDir/vzvm.json"
cat > "$config" << END
{
  "cpuCount": @cores@,
  "memorySizeMiB": @memory@,
  "kernel": "$toplevel/kernel",
  "initrd": "$toplevel/initrd",
  "cmdline": "$(cat "$toplevel/kernel-params")",
  "disks": [{"path": "$storeImage", "readOnly": true}, {"path": "$dataDisk", "readOnly": false}],
  "shares": [
    {"tag": "keys", "path": "$KEYS"}, {"tag": "certs", "path": "$TMPDIR/certs"}, {"tag": "xchg", "path": "$TMPDIR/xchg"}
  ],
  "rosetta": @rosetta@,
  "nestedVirtualization": @nested@,
  "vsock": {"forwards": @forwards@},
  "console": {"mode": "@console@"}
}
END
exec '@vzvm@/bin/vzvm' "$config"
