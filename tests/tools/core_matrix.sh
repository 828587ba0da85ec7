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

# How many of ansible-test's tests ran, each on as many Pythons as there are.
# A log that is not there has none.
tests_in() { { cat "$@" 2>/dev/null || true; } | sed -n 's/^Running sanity test "\([^"]*\)".*/\1/p' | sort -u | wc -l; }

rows=()
failed=0
for line in "${SUPPORTED[@]}"; do
    read -r core oldest newest <<<"$line"
    if [ $# -gt 0 ] && [[ " $* " != *" $core "* ]]; then
        rows+=("ansible-core $core: not run (not asked for)")
        continue
    fi
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
    log=$CACHE/core/$core.log word=ok without=''
    sanity() { CORE_VENV=$venv "$ROOT/tests/tools/ansible_test.sh" sanity --venv --color no "$@" 2>&1; }
    sanity --skip-test pylint | tee "$log" || word=FAILED
    # pylint apart: 2.22.0rc1 takes one of its requirements from GitHub's archive, which not every network reaches.
    sanity --test pylint | tee "$log.pylint" || {
        if grep -q 'ERROR: Could not install packages.*github\.com' "$log.pylint"; then
            rm "$log.pylint"
            without=', pylint not run (one of its requirements comes from GitHub, which was not reached)'
        else
            word=FAILED
        fi
    }
    [ "$word" = ok ] || failed=1
    rows+=("ansible-core $version, $("$venv/bin/python" -V): $word, $(tests_in "$log" "$log.pylint") tests$without")
done
printf '%s\n' "${rows[@]}"
exit "$failed"
