# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Sourced by the scripts beside it: where things are, and how a stage looks on the screen.
# shellcheck shell=bash disable=SC2034

ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
CACHE=$ROOT/.cache
VENV=$CACHE/venv
LOGS=$CACHE/logs
NAMESPACE=nixmac
NAME=linux_builder
# A copy of the checkout in the layout that ansible-test and ansible-lint want.
COPY=$CACHE/ansible_collections/$NAMESPACE/$NAME
# Where the built artifact is installed, alone. What molecule runs comes from here.
INSTALLED=$CACHE/installed

export PATH="$VENV/bin:$PATH"
export PIP_DISABLE_PIP_VERSION_CHECK=1

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    GREEN=$'\e[32m' RED=$'\e[31m' BOLD=$'\e[1m' PLAIN=$'\e[0m'
else
    GREEN='' RED='' BOLD='' PLAIN=''
fi

say() { printf '%s\n' "$*"; }

die() {
    printf '%s%s%s\n' "$RED" "$*" "$PLAIN" >&2
    exit 1
}

# python_between 3.A 3.B: path of the oldest Python from 3.A to 3.B here that can make an environment. pyenv's shims are there
# for versions that do not answer, so they do not count.
python_between() {
    local minor candidate
    for minor in $(seq "${1#3.}" "${2#3.}"); do
        for candidate in "python3.$minor" "$HOME"/.pyenv/versions/3."$minor".*/bin/python3."$minor"; do
            candidate=$(command -v "$candidate") || continue
            case $candidate in */shims/*) continue ;; esac
            if "$candidate" -c 'import venv, ensurepip' 2>/dev/null; then
                printf '%s\n' "$candidate"
                return
            fi
        done
    done
    return 1
}

# stage TITLE COMMAND...: runs the command with its output in a log, prints one line, and the log if it failed.
# A command that only waited for something in the background sets TOOK to the seconds which that took.
# Adds to the globals STAGES_OK and FAILED (logs); returns the command's status.
STAGES_OK=0
FAILED=()
stage() {
    local title=$1 log status started
    shift
    mkdir -p "$LOGS"
    log=$LOGS/$(printf '%s' "$title" | tr -cs 'A-Za-z0-9.' '-').log
    started=$SECONDS
    TOOK=''
    printf '%s%-52s%s' "$BOLD" "$title" "$PLAIN"
    status=0
    "$@" >"$log" 2>&1 </dev/null || status=$?
    if [ "$status" -eq 0 ]; then
        printf '%sok%s     %5d s\n' "$GREEN" "$PLAIN" "${TOOK:-$((SECONDS - started))}"
        STAGES_OK=$((STAGES_OK + 1))
    else
        printf '%sFAILED%s %5d s\n' "$RED" "$PLAIN" "${TOOK:-$((SECONDS - started))}"
        FAILED+=("$log")
        sed 's/^/    /' "$log"
        say "${RED}$title failed (exit $status). Log: $log${PLAIN}"
    fi
    return "$status"
}
