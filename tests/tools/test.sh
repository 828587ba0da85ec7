#!/usr/bin/env bash
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# test.sh [--quick|--full]: what `make quick`, `make test` and `make test-full` run. One line per stage; a failing stage shows its log.
# The last line is "N passed, N failed, N skipped" over all of pytest's tests and all other stages.
# The functions are called by a trap and by `stage`, which shellcheck does not see:
# shellcheck disable=SC2317
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"
cd "$ROOT"
rm -rf "$LOGS"

finish() {
    local status=$?
    # A stage that is still at it in the background has no reader any more.
    if [ -n "${background_pid:-}" ] && kill -0 "$background_pid" 2>/dev/null; then kill "$background_pid" || true; fi
    say "${BOLD}$SECONDS s in all.${PLAIN}"
    python3 tests/tools/summary.py "$LOGS" --stages-passed "$STAGES_OK" "${FAILED[@]/#/--failed=}" || status=1
    exit "$status"
}
trap finish EXIT

ansible_test() {
    # No `set -e` inside a stage: it is called where a failure is handled.
    tests/tools/copy.sh && tests/tools/ansible_test.sh "$@"
}

# What .github/workflows/macos.yml does with Apple's Python.
macos_units() { PYTHON=$(python_between 3.9 3.14) CONTROLLER_PYTHON=$VENV/bin/python tests/tools/macos.sh units; }

stage 'Tools and Python environment' tests/tools/setup.sh

if [ "${1:-}" = --quick ]; then
    status=0
    stage 'Lint' tests/tools/lint.sh || status=1
    stage "Units (Python of .cache/venv)" tests/tools/unit.sh || status=1
    exit "$status"
fi

# The lab takes minutes when its cache is empty, mostly waiting for packages; the tests against real programs wait for
# them. Both go on in the background, as there is enough else to do. Each leaves NAME.txt, and NAME.end: status, seconds.
background() {
    local name=$1 started=$SECONDS status=0
    shift
    "$@" >"$LOGS/$name.txt" 2>&1 </dev/null || status=$?
    printf '%d %d\n' "$status" $((SECONDS - started)) >"$LOGS/$name.end.new"
    mv "$LOGS/$name.end.new" "$LOGS/$name.end"
    return "$status"
}
lab_build() { tests/lab/lab deps && tests/lab/lab build; }
mkdir -p "$LOGS"
{ background lab lab_build && background real tests/lab/lab pytest; } &
background_pid=$!

# result NAME: waits for that part, prints what it printed, returns its status.
result() {
    local status=1
    # The end of the background without the file is a failure too.
    while [ ! -e "$LOGS/$1.end" ] && kill -0 "$background_pid" 2>/dev/null; do sleep 1; done
    [ ! -e "$LOGS/$1.end" ] || read -r status TOOK <"$LOGS/$1.end"
    [ ! -e "$LOGS/$1.txt" ] || cat "$LOGS/$1.txt"
    return "$status"
}

status=0
stage 'Lint' tests/tools/lint.sh || status=1
stage 'Sanity (ansible-test)' ansible_test sanity --venv --color no || status=1
# The newest Python here, and 3.9 in the stand-in below; --full takes all between as well.
newest=$(basename -a "$CACHE"/pythons/python3.* | sed 's/^python//' | sort -V | tail -n 1)
if [ "${1:-}" = --full ]; then
    stage 'Units (ansible-test, every Python here from 3.9 on)' ansible_test units --venv --color no || status=1
else
    stage "Units (ansible-test, Python $newest)" ansible_test units --venv --python "$newest" --color no || status=1
fi
# Its launchd is held to recordings of real ones; the tests need no image.
lab_tests() { [ ! -d tests/unit/lab ] || pytest -q tests/unit/lab tests/unit/bench; }
stage 'Lab and benchmark: their own tests' lab_tests || status=1
stage 'Fleet report in a browser' tests/report/run.sh || status=1
if stage 'Lab: stand-in image and guest' result lab; then
    # Beside the tests against real programs, which wait much for VMs that boot.
    stage 'Molecule: converge, idempotence, verify, teardown' tests/tools/molecule.sh || status=1
    stage 'Units and real programs on Python 3.9 (stand-in)' result real || status=1
    if [ "${1:-}" = --full ]; then
        stage 'Community: antsibull-nox, galaxy-importer' tests/tools/community.sh || status=1
        stage 'Documentation site' tests/tools/site.sh || status=1
        stage 'GitHub: actionlint, renovate' tests/tools/workflows.sh || status=1
        stage "macOS workflow: units on this machine's oldest Python" macos_units || status=1
        stage 'Sanity with each ansible-core' tests/tools/core_matrix.sh || status=1
        # What boots a VM many times. Each file and each scenario is a stage of its own, so that one can be run again alone.
        for file in tests/real/full_*.py; do
            [ ! -e "$file" ] || stage "Real: $(basename "$file" .py)" tests/lab/lab pytest "$file" || status=1
        done
        for folder in extensions/molecule/*/molecule.yml; do
            scenario=$(basename "$(dirname "$folder")")
            case $scenario in
            default) ;;
            own_mac) stage 'Molecule: own_mac, as its users run it' tests/tools/own_mac.sh || status=1 ;;
            *) stage "Molecule: $scenario" tests/tools/molecule.sh test -s "$scenario" || status=1 ;;
            esac
        done
        stage 'Execution environment: built, site.yml in it' tests/tools/ee.sh || status=1
        stage 'nix.conf and machines: Nix 2.8 and the newest' tests/tools/nix_versions.sh || status=1
        stage 'Demo: two stand-ins, two runs' make --no-print-directory demo || status=1
        stage 'Demo: everything removed' make --no-print-directory demo-down || status=1
    fi
else
    status=1
fi
exit "$status"
