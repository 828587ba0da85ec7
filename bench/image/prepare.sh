#!/bin/sh
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Unpacks the guest's root file system, which the lab boots as a VM, as a folder to chroot into.
set -eu
root=/opt/lab/guest
mkdir -p "$root"
tar --extract --file "$(echo /nix/store/*-rootfs.tar)" --directory "$root" --exclude './dev/*'
# Names of their own, so that the accounting of processes tells the guest's from the Mac's.
ln "$root/usr/sbin/sshd" "$root/usr/sbin/guest-sshd"
for name in session auth; do
    ln "$root/usr/lib/openssh/sshd-$name" "$root/usr/lib/openssh/guest-$name"
done
ln "$root/usr/bin/nix" "$root/usr/bin/guest-nix"
chroot "$root" usermod --password '*' builder
# There is no kernel between this guest and the stand-in, and a container may not make another sandbox inside.
sed -i 's/^sandbox = true/sandbox = false/' "$root/etc/nix/nix.conf"
mkdir -p "$root/run/sshd" "$root/proc" "$root/dev" "$root/nix/store" "$root/nix/var/nix/daemon-socket" "$root/var/keys" "$root/tmp"
chown 0:30000 "$root/nix/store"
chmod 1775 "$root/nix/store"
chmod 1777 "$root/tmp"
