#!/usr/bin/env bash
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# macos.sh units [PYTEST ARGUMENT...]|modules|site: what .github/workflows/macos.yml runs on a Mac that may break. It takes only what macOS and
# pip bring. `units` also runs on Linux, with PYTHON=python3.9 for example; CONTROLLER_PYTHON is the one for Ansible itself.
set -euo pipefail
ROOT=$(cd -- "$(dirname -- "$0")/../.." && pwd)
WORK=$ROOT/.cache/macos
COLLECTIONS=$WORK/collections
HERE=$COLLECTIONS/ansible_collections/nixmac/linux_builder

mkdir -p "$(dirname "$HERE")"
ln -sfn "$ROOT" "$HERE"

# environment NAME PYTHON PACKAGE...: a virtual environment of that name in $WORK.
environment() {
    local name=$1 python=$2
    shift 2
    [ -x "$WORK/$name/bin/python" ] || "$python" -m venv "$WORK/$name"
    "$WORK/$name/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
}

# The version that the tests are locked to.
locked() { sed -n "s/^\($1==[^ ;]*\).*/\1/p" "$ROOT/tests/requirements.txt"; }

controller() { environment controller "${CONTROLLER_PYTHON:-python3}" "$(locked ansible-core)"; }

play() {
    controller
    cd "$ROOT"
    ANSIBLE_COLLECTIONS_PATH=$COLLECTIONS "$WORK/controller/bin/ansible-playbook" --inventory localhost, --connection local \
        --extra-vars ansible_python_interpreter=/usr/bin/python3 "$@"
}

case ${1:-} in
units)
    controller
    environment units "${PYTHON:-/usr/bin/python3}" --requirement "$ROOT/tests/lab/image/python-packages.txt"
    # Of Ansible this Python sees what a module sees: the files of its module_utils run on it, the rest is not used.
    mkdir -p "$WORK/ansible"
    ln -sfn "$("$WORK/controller/bin/python" -c 'import ansible; print(ansible.__path__[0])')" "$WORK/ansible/ansible"
    cd "$HERE"
    shift
    [ $# -gt 0 ] || set -- tests/unit/plugins/module_utils tests/unit/plugins/modules
    PYTHONPATH=$COLLECTIONS:$WORK/ansible PYTHONDONTWRITEBYTECODE=1 "$WORK/units/bin/python" -m pytest -q -p no:cacheprovider "$@"
    ;;
modules)
    play tests/macos/modules.yml
    ;;
site)
    if [ "$(sysctl -n kern.hv_support)" = 1 ]; then
        play nixmac.linux_builder.site
        play nixmac.linux_builder.teardown
    else
        echo 'This Mac cannot run a VM: all but the VM, and the whole of it in check mode.'
        play nixmac.linux_builder.site --check --diff
        play nixmac.linux_builder.site --tags credentials,trusted_users
    fi
    ;;
*)
    echo 'macos.sh units [PYTEST ARGUMENT...]|modules|site' >&2
    exit 2
    ;;
esac
