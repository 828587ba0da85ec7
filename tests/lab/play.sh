#!/bin/sh
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Runs a playbook of this collection against the stand-ins: play.sh PLAYBOOK [ansible-playbook options].
# The collection is read from this checkout; everything written lies below .cache.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
repo=$(cd "$here/../.." && pwd)
cache=${LAB_CACHE:-$repo/.cache/lab}
venv=${LAB_VENV:-$repo/.cache/venv}
playbook=$1
shift

mkdir -p "$cache/collections/ansible_collections/nixmac"
ln -sfn "$repo" "$cache/collections/ansible_collections/nixmac/linux_builder"
cat > "$cache/ansible.cfg" << END
[defaults]
collections_path = $cache/collections
callback_plugins = $here/callback
callbacks_enabled = lab_summary
home = $cache/ansible-home
retry_files_enabled = False
# A busy machine takes its time over sudo.
timeout = 60
deprecation_warnings = True
[ssh_connection]
pipelining = True
END
export ANSIBLE_CONFIG="$cache/ansible.cfg"
exec "$venv/bin/ansible-playbook" -i "$cache/inventory.yml" "$playbook" "$@"
