#!/usr/bin/env bash
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# site.sh: the documentation site of guides, modules and roles, with antsibull-docs and Sphinx, into .cache/site/html.
# A warning is a failure.
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"

"$ROOT/tests/tools/build.sh"
site=$CACHE/site
export ANSIBLE_COLLECTIONS_PATH=$INSTALLED ANSIBLE_HOME=$CACHE/ansible-home
[ -x "$site/venv/bin/sphinx-build" ] || {
    rm -rf "$site"
    mkdir -p "$site"
    python3 -m venv "$site/venv"
    "$site/venv/bin/pip" install --quiet antsibull-docs ansible-core sphinx sphinx-ansible-theme myst-parser
}
[ -e "$site/venv/bin/myst-anchors" ] || "$site/venv/bin/pip" install --quiet myst-parser
rm -rf "$site/source" "$site/html"
mkdir -p "$site/source"
chmod 0700 "$site/source"
export PATH=$site/venv/bin:$PATH
antsibull-docs sphinx-init --use-current --squash-hierarchy --fail-on-error --lenient --dest-dir "$site/source" "$NAMESPACE.$NAME"
cd "$site/source"
mkdir -p temp-rst
chmod 0700 temp-rst
antsibull-docs --config-file antsibull-docs.cfg collection --use-current --squash-hierarchy --fail-on-error --dest-dir temp-rst \
    "$NAMESPACE.$NAME"
cp -r rst/. build-rst 2>/dev/null || cp -r rst build-rst
cp -r temp-rst/. build-rst/
# The guides as they are. What they link outside of docs/ is shown at its place in the repository.
mkdir -p build-rst/guides
cp "$ROOT"/docs/*.md "$ROOT"/docs/*.svg "$ROOT"/docs/*.json build-rst/guides/
mv build-rst/guides/README.md build-rst/guides/index.md
repository=$(sed -n 's/^repository: //p' "$ROOT/galaxy.yml")
sed -i -e "s|](\.\./|]($repository/blob/main/|g" -e 's|](README\.md)|](index.md)|g' \
    -e "s|](examples/|]($repository/blob/main/docs/examples/|g" \
    -e 's|](\([a-z.-]*\.json\))|](path:\1)|g' build-rst/guides/*.md
{
    printf '\n```{toctree}\n:hidden:\n\n'
    sed -n 's|^[0-9]*\. \[[^]]*](\([a-z-]*\)\.md).*|\1|p' "$ROOT/docs/README.md"
    printf '```\n'
} >>build-rst/guides/index.md
sed -i "s|^extensions = \[|extensions = ['myst_parser', |" conf.py
printf '\nmyst_heading_anchors = 4\n' >>conf.py
sed -i 's|^    docsite/guides$|    guides/index\n&|' build-rst/index.rst
grep -q 'guides/index' build-rst/index.rst || die 'site.sh: the first page has no list to put the guides in'
sphinx-build -q -w "$site/warnings" -b html -c . build-rst "$site/html"
# Ansible's own pages are looked up over the network; what they define cannot be found where that is closed.
others="undefined label: '(common_return_values|action_plugins|ansible_configuration_settings)'|intersphinx|inventor|docs.ansible.com"
if grep -Ev "$others" "$site/warnings"; then die 'The documentation site has warnings.'; fi
say "$site/html/index.html"
