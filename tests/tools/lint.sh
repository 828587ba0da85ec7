#!/usr/bin/env bash
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# lint.sh [CHECK...]: all checks that start nothing and need no lab; with names only those.
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"
cd "$ROOT"

ALL=(ruff mypy yamllint shellcheck headers tools specs docs guides ansible-lint build)

if [ $# -ne 1 ]; then
    [ $# -gt 0 ] || set -- "${ALL[@]}"
    failed=()
    for check; do
        say "${BOLD}== $check${PLAIN}"
        "$0" "$check" || failed+=("$check")
    done
    [ ${#failed[@]} -eq 0 ] || die "Lint failed: ${failed[*]}. Again with only these: tests/tools/lint.sh ${failed[*]}"
    exit 0
fi

case $1 in
ruff)
    ruff check .
    ruff format --check .
    ;;
mypy)
    # Types of all that runs on a Mac, as Python 3.9 sees them. The link gives the checkout its name in the collection.
    link=$CACHE/collections/ansible_collections/$NAMESPACE/$NAME
    mkdir -p "$(dirname "$link")"
    ln -sfn "$ROOT" "$link"
    cd "$CACHE/collections"
    MYPYPATH=.:$ROOT/tests/stubs mypy --config-file "$ROOT/pyproject.toml" --python-version 3.9 --cache-dir "$CACHE/mypy" \
        -p "ansible_collections.$NAMESPACE.$NAME.plugins.module_utils"
    # The benchmark runs on the controller.
    MYPYPATH=$ROOT/bench:$ROOT/tests/lab mypy --config-file "$ROOT/pyproject.toml" --python-version 3.11 --cache-dir "$CACHE/mypy" \
        --follow-imports silent -p nixmacbench
    ;;
yamllint)
    yamllint -s .
    ;;
shellcheck)
    # Files that git knows or would add, so that a new file is checked before it is committed.
    mapfile -t scripts < <(git ls-files --cached --others --exclude-standard | while read -r file; do
        [ -f "$file" ] || continue
        case $(head -n 1 "$file" | tr -d '\0') in '#!'*bash | '#!'*/sh | '#!'*'/sh '*) printf '%s\n' "$file" ;; esac
    done)
    shellcheck --severity=warning "${scripts[@]}" tests/tools/common.sh
    ;;
headers)
    reuse lint
    ;;
tools)
    # The checks below check something: their own tests.
    pytest -q tests/tools
    ;;
specs)
    python tests/tools/check_argument_specs.py .
    python tests/tools/check_variables_table.py .
    python tests/tools/check_scenarios.py extensions/molecule
    python tests/tools/make_troubleshooting.py --check
    python tests/tools/make_guides.py --check
    python tests/tools/make_variable_table.py --check
    python tests/tools/make_scaling.py --check
    python bench/nixmacbench report --check
    ;;
docs)
    # The documentation of modules and roles, and the changelog.
    tests/tools/copy.sh
    cd "$COPY"
    ANSIBLE_COLLECTIONS_PATH=$CACHE antsibull-docs lint-collection-docs --plugin-docs .
    antsibull-changelog lint
    ;;
guides)
    # Links, names and examples in README, guides, roles and modules.
    pytest -q -p no:cacheprovider tests/docs
    ;;
ansible-lint)
    tests/tools/copy.sh
    cd "$COPY"
    ANSIBLE_HOME=$CACHE/ansible-home ANSIBLE_COLLECTIONS_PATH=$CACHE NO_COLOR=1 ansible-lint -c .config/ansible-lint.yml
    ANSIBLE_HOME=$CACHE/ansible-home ANSIBLE_COLLECTIONS_PATH=$CACHE NO_COLOR=1 \
        ansible-lint -c /dev/null --offline --strict --profile production docs/examples
    # The benchmark's playbooks are no part of the collection.
    cd "$ROOT/bench"
    ANSIBLE_HOME=$CACHE/ansible-home ANSIBLE_COLLECTIONS_PATH=$CACHE NO_COLOR=1 \
        ansible-lint -c "$ROOT/.config/ansible-lint.yml" baseline/site.yml plays/ping.yml
    ;;
build)
    tests/tools/build.sh
    ;;
*)
    die "No such check: $1. There are: ${ALL[*]}"
    ;;
esac
