#!/usr/bin/env bash
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# release.sh vX.Y.Z: checks that the tag, galaxy.yml and the changelog say the same version and that no fragment is left,
# then puts the artifact and its part of the changelog into .cache/release. Publishes nothing.
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"

[ $# -eq 1 ] || die 'release.sh vX.Y.Z'
"$ROOT/tests/tools/setup.sh"
version=$(sed -n 's/^version: //p' "$ROOT/galaxy.yml")
[ "$1" = "v$version" ] || die "The tag is $1, but galaxy.yml has version $version. Set the version there, or tag v$version."
grep -q "^  $version:\$" "$ROOT/changelogs/changelog.yaml" ||
    die "changelogs/changelog.yaml has no release $version. Make it: antsibull-changelog release --version $version"
# git keeps no folder that the release has emptied.
left=$([ ! -d "$ROOT/changelogs/fragments" ] || find "$ROOT/changelogs/fragments" -name '*.y*ml')
[ -z "$left" ] || die "Fragments are left that no release has: $left. Make the release first: antsibull-changelog release"
rm -rf "$CACHE/release"
mkdir -p "$CACHE/release"
"$ROOT/tests/tools/build.sh"
cp "$CACHE"/artifact/*.tar.gz "$CACHE/release/"
cd "$ROOT"
antsibull-changelog generate --only-latest --output "$CACHE/release/notes.md" --output-format md
say "$(ls "$CACHE/release")"
