#!/bin/sh
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# mmdebstrap's customize hook for the guest: $1 is the new root, $2 this directory, $3 the directory with the host key.
set -eu
root=$1 here=$2 keys=$3

cp -R "$here/files/." "$root/"
install -d -m 0755 "$root/nix" "$root/var/keys" "$root/etc/nix" "$root/etc/ssl/certs"
install -m 0600 "$keys/ssh_host_ed25519_key" "$root/etc/ssh/ssh_host_ed25519_key"
install -m 0644 "$keys/ssh_host_ed25519_key.pub" "$root/etc/ssh/ssh_host_ed25519_key.pub"
rm -f "$root"/etc/ssh/ssh_host_rsa_key* "$root"/etc/ssh/ssh_host_ecdsa_key*

# `builder` is an ordinary user: no wheel or sudo group, no password, no sudo in the guest at all.
chroot "$root" groupadd --gid 30000 nixbld
chroot "$root" useradd --create-home --uid 1000 --shell /bin/bash builder
for n in 1 2 3 4 5 6 7 8; do
    chroot "$root" useradd --no-create-home --home-dir /var/empty --shell /usr/sbin/nologin \
        --uid "$((30000 + n))" --gid nixbld --groups nixbld "nixbld$n"
done

echo nixos > "$root/etc/hostname"
printf '127.0.0.1 localhost nixos\n' > "$root/etc/hosts"
printf 'nameserver 10.0.2.3\n' > "$root/etc/resolv.conf"
: > "$root/etc/fstab"
rm -f "$root/etc/machine-id" "$root/var/lib/dbus/machine-id"

# Nothing here needs udev, and each unit costs a second or so under emulation: the initrd did their work.
for unit in systemd-udevd.service systemd-udevd-kernel.socket systemd-udevd-control.socket systemd-udev-trigger.service \
    systemd-journal-flush.service systemd-random-seed.service systemd-sysctl.service systemd-modules-load.service \
    systemd-remount-fs.service systemd-update-utmp.service systemd-update-utmp-runlevel.service systemd-binfmt.service \
    systemd-tmpfiles-setup-dev.service systemd-tmpfiles-setup-dev-early.service systemd-sysusers.service ldconfig.service \
    systemd-hwdb-update.service systemd-network-generator.service systemd-tmpfiles-clean.timer \
    systemd-pcrphase.service systemd-pcrphase-sysinit.service systemd-pcrmachine.service systemd-tpm2-setup.service \
    systemd-tpm2-setup-early.service kmod-static-nodes.service modprobe@.service dev-hugepages.mount dev-mqueue.mount \
    sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount sys-fs-fuse-connections.mount \
    proc-sys-fs-binfmt_misc.automount getty@tty1.service serial-getty@ttyS0.service sshd-keygen.service ssh.socket \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer; do
    ln -sfn /dev/null "$root/etc/systemd/system/$unit"
done
wants=$root/etc/systemd/system
install -d "$wants/multi-user.target.wants" "$wants/sockets.target.wants"
ln -sfn /lib/systemd/system/multi-user.target "$wants/default.target"
ln -sfn /lib/systemd/system/ssh.service "$wants/multi-user.target.wants/ssh.service"
ln -sfn /lib/systemd/system/ssh.service "$wants/sshd.service" # the name that NixOS has for it
ln -sfn ../nix-daemon.socket "$wants/sockets.target.wants/nix-daemon.socket"

# Off unless the configuration switches it on, as in the profile of nixpkgs.
rm -f "$wants/sysinit.target.wants/systemd-timesyncd.service" "$wants/dbus-org.freedesktop.timesync1.service"

# Sessions are not registered with logind, and logind, polkit and the bus start when `shutdown` asks for them: each
# login would otherwise cost a second more under emulation.
sed -i '/pam_systemd\.so/d' "$root"/etc/pam.d/*
rm -f "$root"/usr/lib/systemd/system/multi-user.target.wants/systemd-logind.service \
    "$root"/usr/lib/systemd/system/multi-user.target.wants/dbus.service

rm -rf "$root"/usr/share/doc "$root"/usr/share/man "$root"/usr/share/locale "$root"/usr/share/info "$root"/usr/share/zoneinfo \
    "$root"/usr/lib/x86_64-linux-gnu/gconv "$root"/usr/lib/udev/hwdb.d "$root"/usr/share/bash-completion "$root"/var/cache/* \
    "$root"/var/lib/apt "$root"/var/log/*.log "$root"/usr/share/i18n
