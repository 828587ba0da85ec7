#!/bin/sh
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Starts the VM: disk if there is none, store image anew, QEMU in place of this shell.
# Environment: KEYS, NIX_DISK_IMAGE, TMPDIR with USE_TMPDIR, NIX_SSL_CERT_FILE, QEMU_OPTS, QEMU_NET_OPTS, QEMU_KERNEL_PARAMS.
set -e
PATH=/usr/bin:/bin:/usr/sbin:/sbin

NIX_DISK_IMAGE=$(readlink -f "${NIX_DISK_IMAGE:-./@name@.qcow2}") || test -z "$NIX_DISK_IMAGE"
if [ ! -e "$NIX_DISK_IMAGE" ]; then
    echo "Disk image does not exist, creating $NIX_DISK_IMAGE ..."
    raw=$(mktemp)
    truncate -s @disk@M "$raw"
    mkfs.ext4 -q -L nixos "$raw"
    qemu-img convert -f raw -O qcow2 "$raw" "$NIX_DISK_IMAGE"
    rm "$raw"
    echo "Disk image created."
fi

if [ -z "$TMPDIR" ] || [ -z "$USE_TMPDIR" ]; then
    TMPDIR=$(mktemp -d nix-vm.XXXXXXXXXX --tmpdir)
fi

echo "Creating store image ..."
rm -f "$TMPDIR/store.img"
mkfs.erofs --quiet --tar=f -T 0 "$TMPDIR/store.img" '@toplevel@/rootfs.tar'
echo "Store image created."

mkdir -p "$TMPDIR/xchg" "$TMPDIR/certs"
if [ -e "$NIX_SSL_CERT_FILE" ]; then
    cp -L "$NIX_SSL_CERT_FILE" "$TMPDIR/certs/ca-certificates.crt"
else
    echo "NIX_SSL_CERT_FILE does not name a file: the guest will have no CA certificates."
fi

# The guest's first process finds its configuration here; nixpkgs has it in the store image.
rm -f "$TMPDIR/xchg/guest-configuration"
if [ -e '@toplevel@/guest-configuration' ]; then
    cp '@toplevel@/guest-configuration' "$TMPDIR/xchg/guest-configuration"
fi

cd "$TMPDIR"
# One thread for all virtual processors: with a thread each, the second one's timer was once seen never to fire, and the
# guest hung at boot. It boots no slower this way.
exec qemu-system-x86_64 \
    -machine q35 -accel tcg,thread=single,tb-size=256 -cpu max \
    -name '@name@' \
    -m @memory@ \
    -smp @cores@ \
    -device virtio-rng-pci \
    -device virtio-net-pci,netdev=user.0,romfile= \
    -netdev user,id=user.0,@forwards@"${QEMU_NET_OPTS:+,$QEMU_NET_OPTS}" \
    -virtfs local,path="$KEYS",security_model=mapped-xattr,mount_tag=keys \
    -virtfs local,path="$TMPDIR/certs",security_model=mapped-xattr,mount_tag=certs \
    -virtfs local,path="$TMPDIR/xchg",security_model=mapped-xattr,mount_tag=xchg \
    -drive cache=writeback,file="$NIX_DISK_IMAGE",format=qcow2,id=drive1,if=none,werror=report \
    -device virtio-blk-pci,bootindex=1,drive=drive1,serial=root \
    -drive cache=writeback,file="$TMPDIR/store.img",format=raw,id=drive2,if=none,read-only=on \
    -device virtio-blk-pci,bootindex=2,drive=drive2,serial=store \
    -kernel '@toplevel@/kernel' \
    -initrd '@toplevel@/initrd' \
    -append "$(cat '@toplevel@/kernel-params') $QEMU_KERNEL_PARAMS" \
    -nographic \
    @options@ \
    $QEMU_OPTS
