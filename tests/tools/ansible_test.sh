#!/usr/bin/env bash
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# ansible_test.sh COMMAND...: runs `ansible-test COMMAND...` in the copy of the checkout, without Docker.
# CORE_VENV names another environment whose ansible-test to run. Its caches and virtual environments live under .cache, the user's home stays as it is.
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"

if [ -n "${CORE_VENV:-}" ]; then
    PATH=$CORE_VENV/bin:${PATH#"$VENV/bin:"}
    VENV=$CORE_VENV
fi
home=$CACHE/ansible-test-home
mkdir -p "$home/.ansible/test/cache" "$home/.config"
# pip's own settings stay in force: behind a proxy or a mirror they are what makes it work at all.
for settings in .config/pip .pip; do
    if [ -e "$HOME/$settings" ] && [ ! -e "$home/$settings" ]; then ln -s "$HOME/$settings" "$home/$settings"; fi
done
# ansible-test bootstraps pip with a script from a host of its own, which not every network reaches. It takes a file
# that lies in its cache instead, and Python brings pip itself. The name carries the version that ansible-test wants.
pip=$("$VENV/bin/python" - <<'PYTHON'
import inspect
import re
from ansible_test._internal import python_requirements

print(re.search(r"pip='([0-9.]+)'", inspect.getsource(python_requirements.get_venv_packages))[1].replace(".", "_"))
PYTHON
)
bootstrap=$home/.ansible/test/cache/get_pip_$pip.py
[ -e "$bootstrap" ] || printf 'import ensurepip\nensurepip.bootstrap(upgrade=False, default_pip=True)\n' >"$bootstrap"

# ansible-test takes any pythonX.Y on PATH for one that works. pyenv's shims are there for versions that do not, so it
# gets a PATH without them, and links to every interpreter that answers.
pythons=$CACHE/pythons
rm -rf "$pythons"
mkdir -p "$pythons"
clean=$(printf '%s' "$PATH" | tr ':' '\n' | grep -v '/shims$' | paste -sd:)
for version in 3.8 3.9 3.10 3.11 3.12 3.13 3.14; do
    for candidate in $(PATH=$clean command -v "python$version" || true) "$HOME"/.pyenv/versions/"$version".*/bin/python"$version"; do
        if "$candidate" -c 'import venv, ensurepip' 2>/dev/null; then
            ln -sf "$candidate" "$pythons/python$version"
            break
        fi
    done
done
echo "Pythons: $(cd "$pythons" && echo *)"

cd "$COPY"
HOME=$home PATH=$pythons:$clean LC_ALL=C.UTF-8 ansible-test "$@"
