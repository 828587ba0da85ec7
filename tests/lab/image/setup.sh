#!/bin/sh
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Turns a Debian root into the surface of a Mac: users, groups, homes, Nix, SSH.
set -eu

# Groups as on a Mac; Debian's own `root`, `staff` and `admin` names and numbers give way.
sed -i -e 's/^root:/wheel:/' -e '/^dialout:/d' -e '/^staff:/d' -e '/^admin:/d' /etc/group
sed -i -e 's/^root:/wheel:/' -e '/^dialout:/d' -e '/^staff:/d' -e '/^admin:/d' /etc/gshadow
groupadd --gid 20 staff
groupadd --gid 80 admin
groupadd --gid 350 nixbld
for n in 1 2 3 4 5 6 7 8; do
    useradd --no-create-home --home-dir /var/empty --shell /sbin/nologin --no-log-init \
        --uid "$((350 + n))" --gid nixbld --groups nixbld --no-user-group "_nixbld$n"
done
install -d -m 0755 /Users /var/empty
useradd --create-home --home-dir /Users/admin --uid 501 --gid staff --groups admin --shell /bin/bash --no-user-group admin
useradd --create-home --home-dir /Users/alice --uid 502 --gid staff --shell /bin/bash --no-user-group alice
# `*`: no password fits, but the account is not locked, so a key may log in.
usermod --password '*' alice
usermod --password '*' admin
install -d -m 0750 /var/root
sed -i 's,^\(root:[^:]*:0:0:[^:]*\):/root:,\1:/var/root:,' /etc/passwd

cat > /etc/sudoers << 'END'
Defaults env_reset
Defaults env_keep += "BLOCKSIZE COLORFGBG COLORTERM CHARSET LANG LANGUAGE LC_ALL LC_COLLATE LC_CTYPE LC_MESSAGES LC_MONETARY LC_NUMERIC LC_TIME"
Defaults env_keep += "LINES COLUMNS LSCOLORS SSH_AUTH_SOCK TZ DISPLAY XAUTHORIZATION XAUTHORITY EDITOR VISUAL HOME MAIL"
root   ALL = (ALL) ALL
%admin ALL = (ALL) ALL
END
chmod 0440 /etc/sudoers
rm -rf /etc/sudoers.d

ln -sf python3.9 /usr/bin/python3
ln -sf ../bin/lsof /usr/sbin/lsof # where macOS has it
/usr/bin/python3 -c 'import ctypes, hypothesis, pytest, pytest_mock, sqlite3, ssl'
rm -f /etc/ssh/ssh_host_* /etc/motd /etc/update-motd.d/*
install -d -m 0755 /var/db /var/log /run/sshd /etc/ssh/ssh_config.d
chmod 1777 /tmp

# Nix: Debian's binaries under the default profile, as an installer leaves them. The daemon makes the rest.
install -d -m 0755 /nix /nix/var /nix/var/nix /nix/var/nix/profiles /nix/var/nix/gcroots /nix/var/nix/gcroots/lab /etc/nix
install -d -m 1775 -g nixbld /nix/store
install -d -m 1777 /nix/var/nix/profiles/per-user /nix/var/nix/gcroots/per-user
export HOME=/var/root NIX_REMOTE=local NIX_CONF_DIR=/usr/share/lab/empty
mkdir -p "$NIX_CONF_DIR" /tmp/user-environment/bin
for path in /usr/bin/nix /usr/bin/nix-*; do
    ln -s "$path" "/tmp/user-environment/bin/${path##*/}"
done
environment=$(nix-store --add /tmp/user-environment)
nix-env --profile /nix/var/nix/profiles/default --set "$environment"
rm -rf /tmp/user-environment
