#!/usr/bin/env bash
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Makes what every other script needs: a few Debian packages and .cache/venv. Shared by make test and make demo;
# does nothing, in a moment, when all of it is there.
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"
# A venv is made from a Python of the system, never from the one of an older venv.
PATH=${PATH#"$VENV/bin:"}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        env DEBIAN_FRONTEND=noninteractive "$@"
    elif command -v sudo >/dev/null; then
        sudo env DEBIAN_FRONTEND=noninteractive "$@"
    else
        die "Not root and no sudo here; run as root: $*"
    fi
}

# quietly WORDS COMMAND...: says what goes on; what the command says itself is shown only if it fails.
quietly() {
    local words=$1 log=$CACHE/setup.log
    shift
    say "$words ..."
    mkdir -p "$CACHE"
    "$@" >"$log" 2>&1 || {
        cat "$log" >&2
        die "$words: failed"
    }
}

# apt_install PACKAGE...: only on a machine that has apt; elsewhere says what is missing. It waits for another apt to end.
apt_install() {
    command -v apt-get >/dev/null || die "Missing here: $*. Install it with your system's package manager, then run again."
    quietly "Installing Debian packages: $*" as_root sh -c 'apt-get update -q && apt-get install -o DPkg::Lock::Timeout=600 -q -y --no-install-recommends "$@"' - "$@"
}

# ansible-core 2.19 runs on Python 3.11 to 3.13.
usable() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; }

find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11; do
        if [ -n "$candidate" ] && command -v "$candidate" >/dev/null && usable "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

missing=()
command -v git >/dev/null || missing+=(git)
command -v shellcheck >/dev/null || missing+=(shellcheck)
command -v ssh >/dev/null || missing+=(openssh-client)
if ! python=$(find_python); then
    command -v python3 >/dev/null && missing+=(python3.11 python3.11-venv) || missing+=(python3 python3-venv)
elif ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
    missing+=("$(basename "$(readlink -f "$python")")-venv")
fi
[ ${#missing[@]} -eq 0 ] || apt_install "${missing[@]}"
python=$(find_python) || die "No Python 3.11, 3.12 or 3.13 found, and ansible-core 2.19 needs one. Install it, or name it: PYTHON=/path/to/python3 make test"

wanted=$({ "$python" -c 'import sys; print(sys.version_info[:2])'; cat "$ROOT/tests/requirements.txt"; } | sha256sum)
if [ "$(cat "$VENV/.made-from" 2>/dev/null)" != "$wanted" ]; then
    if [ -x "$VENV/bin/python" ] && ! "$VENV/bin/python" -c "import sys; sys.exit(sys.version_info[:2] != $("$python" -c 'import sys; print(sys.version_info[:2])'))"; then
        rm -rf "$VENV"
    fi
    [ -x "$VENV/bin/python" ] || "$python" -m venv "$VENV"
    quietly "Installing Python packages into .cache/venv" "$VENV/bin/python" -m pip install -q -r "$ROOT/tests/requirements.txt"
    printf '%s\n' "$wanted" >"$VENV/.made-from"
    # The same for `lab venv`, which makes this environment too where only the lab is used.
    sha256sum <"$ROOT/tests/requirements.txt" | cut -d' ' -f1 | tr -d '\n' >"$VENV/.requirements"
fi
