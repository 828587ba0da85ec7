#!/usr/bin/env bash
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# community.sh [SESSION...]: antsibull-nox and, through it, galaxy-importer, as Galaxy and the community's CI run them. In an
# environment of its own, on a copy of the checkout. galaxy-importer needs Python 3.11 or 3.12.
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"

nox=$CACHE/nox
[ -x "$nox/bin/antsibull-nox" ] || {
    python=${NOX_PYTHON:-$(python_between 3.11 3.12)} || die 'galaxy-importer needs Python 3.11 or 3.12, and there is none here.'
    "$python" -m venv "$nox"
    "$nox/bin/pip" install --quiet nox==2026.10.20 antsibull-nox==1.10.0
}
"$ROOT/tests/tools/copy.sh"
cd "$COPY"
# The sessions ask git which files there are.
git add --all
git -c user.name=nobody -c user.email=nobody@example.com commit --quiet --message 'What is checked'
[ $# -gt 0 ] || set -- lint docs-check license-check extra-checks build-import-check ansible-lint
log=$CACHE/community.log
PATH=$nox/bin:$PATH nox --sessions "$@" 2>&1 | tee "$log"
# The importer ends well with warnings too, and Galaxy shows them to everybody.
if sed -n '/^Importing with galaxy-importer/,/^Importer processing completed/p' "$log" | grep -E '^(WARNING|ERROR)'; then
    die 'galaxy-importer has warnings.'
fi
