#!/usr/bin/env bash
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# slices.sh INVENTORY DIRECTORY WORKER...: one run of site.yml over the fleet, a slice of it on each worker, and one report.
#
# A WORKER is a command that joins its input and output to `ansible-runner worker`, for example
#     "ssh worker-1 ansible-runner worker"
# A worker needs ansible-core, ansible-runner, and ssh to its Macs. This folder (playbooks, ansible.cfg, collections/) and the
# inventory are sent to it; its keys are its own. All that comes back is in DIRECTORY, the fleet's report among it.
# The exit status is 0 when every Mac of every slice is as wanted.
set -euo pipefail

[ $# -ge 3 ] || {
    sed -n 's/^# \{0,1\}//; 6,12p' "$0" >&2
    exit 2
}
here=$(cd -- "$(dirname -- "$0")" && pwd)
inventory=$(realpath -- "$1")
mkdir -p -- "$2"
directory=$(cd -- "$2" && pwd)
shift 2
workers=("$@")

mapfile -t macs < <(cd -- "$here" && ansible macs --inventory "$inventory" --list-hosts | sed '1d; s/^ *//')
[ "${#macs[@]}" -gt 0 ] || {
    echo "$inventory: has no host in the group macs." >&2
    exit 1
}

# play SLICE WORKER PLAYBOOK: runs it there; what was printed is in SLICE/PLAYBOOK.log. The status is that of ansible-playbook.
play() {
    local slice=$1 worker=$2 playbook=$3
    (
        trap - ERR
        set +e
        ansible-runner transmit "$slice/sent" --playbook "$playbook" --limit @slice.hosts --ident "$playbook" |
            bash -c "$worker" |
            ansible-runner process "$slice" --ident "$playbook"
    ) >"$slice/$playbook.log" 2>&1
    # `process` is content with any run that it could follow.
    [ "$(cat "$slice/artifacts/$playbook/rc" 2>/dev/null || echo 1)" = 0 ]
}

run_slice() {
    local slice=$1 worker=$2 status=0
    play "$slice" "$worker" site.yml || status=1
    play "$slice" "$worker" report.yml || status=1
    echo "$status" >"$slice/status"
}

reports=()
rm -rf -- "$directory"/slice-*
for number in "${!workers[@]}"; do
    slice=$directory/slice-$((number + 1))
    mkdir -p -- "$slice/sent/env" "$slice/sent/inventory"
    cp -RL -- "$here" "$slice/sent/project"
    cp -RL -- "$inventory" "$slice/sent/inventory/"
    # Every k-th Mac: neighbours in the inventory are often of one kind.
    for ((index = number; index < ${#macs[@]}; index += ${#workers[@]})); do printf '%s\n' "${macs[index]}"; done \
        >"$slice/sent/project/slice.hosts"
    # ansible-runner would not look at the Macs' host keys.
    echo 'ANSIBLE_HOST_KEY_CHECKING: "True"' >"$slice/sent/env/envvars"
    # More workers than Macs.
    [ -s "$slice/sent/project/slice.hosts" ] || continue
    run_slice "$slice" "${workers[number]}" &
    reports+=("$slice/artifacts/report.yml/linux-builder-status/fleet.json")
done
wait

# A slice whose worker was lost has no report; its Macs are rows that say so.
found=()
for report in "${reports[@]}"; do [ ! -e "$report" ] || found+=("\"$report\""); done
list=$(IFS=,; echo "${found[*]}")
failed=0
cd -- "$here"
settings="{\"linux_builder_hosts\": \"macs\", \"linux_builder_status_ask\": false,"
settings+=" \"linux_builder_report_path\": \"$directory/linux-builder-status\", \"linux_builder_report_merge\": [$list]}"
ansible-playbook --inventory "$inventory" nixmac.linux_builder.status --extra-vars "$settings" || failed=1
for slice in "$directory"/slice-*; do
    [ ! -s "$slice/sent/project/slice.hosts" ] || [ "$(cat "$slice/status" 2>/dev/null)" = 0 ] || {
        echo "$(basename -- "$slice"): not every Mac is as wanted; see $slice/site.yml.log" >&2
        failed=1
    }
done
exit "$failed"
