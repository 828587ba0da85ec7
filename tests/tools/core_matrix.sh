#!/usr/bin/env bash
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# core_matrix.sh [VERSION...]: `ansible-test sanity` with each supported ansible-core, and the one to come. Each needs a
# Python of its own; where that is missing here, the last table says "not run".
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"

# ansible-core, and the oldest and newest Python that its controller takes.
SUPPORTED=('2.18 3.11 3.13' '2.19 3.11 3.13' '2.20 3.12 3.14' '2.21 3.12 3.14' '2.22 3.13 3.14')

rows=()
failed=0
for line in "${SUPPORTED[@]}"; do
    read -r core oldest newest <<<"$line"
    if [ $# -gt 0 ] && [[ " $* " != *" $core "* ]]; then continue; fi
    if ! python=$(python_between "$oldest" "$newest"); then
        rows+=("ansible-core $core: not run (no Python $oldest to $newest here)")
        continue
    fi
    venv=$CACHE/core/$core
    [ -x "$venv/bin/ansible-test" ] || {
        "$python" -m venv "$venv"
        # --pre: the newest may be a release candidate.
        "$venv/bin/pip" install --quiet --pre "ansible-core~=$core.0rc1"
    }
    version=$("$venv/bin/python" -c 'import ansible.release; print(ansible.release.__version__)')
    "$ROOT/tests/tools/copy.sh"
    say "${BOLD}ansible-core $version on $("$venv/bin/python" -V)${PLAIN}"
    log=$CACHE/core/$core.log status=0 without=''
    CORE_VENV=$venv "$ROOT/tests/tools/ansible_test.sh" sanity --venv --color no 2>&1 | tee "$log" || status=$?
    # One release candidate takes a requirement of its pylint test from GitHub's archive, which not every network reaches.
    if [ "$status" -ne 0 ] && grep -q 'ERROR: Could not install packages.*github.com' "$log"; then
        status=0 without=' without pylint (a requirement of it could not be fetched)'
        CORE_VENV=$venv "$ROOT/tests/tools/ansible_test.sh" sanity --venv --color no --skip-test pylint 2>&1 | tee "$log" || status=$?
    fi
    word=ok
    if [ "$status" -ne 0 ]; then word=FAILED failed=1; fi
    rows+=("ansible-core $version, $("$venv/bin/python" -V): $word$without, $(grep -c '^Running sanity test' "$log") tests")
done
printf '%s\n' "${rows[@]}"
exit "$failed"
