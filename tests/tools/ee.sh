#!/usr/bin/env bash
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# ee.sh: builds the execution environment of execution-environment.yml with ansible-builder, and runs site.yml in it, twice,
# against a stand-in. Two things differ from what users build: the base is made from Debian's packages, as the lab's own is,
# and the collection is the artifact of this checkout. The build itself needs no network.
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"

lab=$ROOT/tests/lab/lab
ee=$CACHE/ee
mac='mac-test'
image=localhost/linux-builder-ee:latest
engine=${LAB_ENGINE:-podman}

"$ROOT/tests/tools/tool_venv.sh" scale
"$ROOT/tests/tools/build.sh"
export PATH="$CACHE/scale/venv/bin:$PATH"
"$lab" build
# The lab's engine has settings and storage of its own.
if [ "$engine" = podman ]; then
    export CONTAINERS_CONF=$CACHE/lab/containers.conf CONTAINERS_STORAGE_CONF=$CACHE/lab/storage.conf
fi

# The base: Python, pip and ssh, and all that pip will be asked for, in the locked versions.
key=$(cat "$0" "$ROOT/tests/requirements-scale.txt" | sha256sum | cut -c1-16)
base=localhost/linux-builder-ee-base:$key
if ! "$engine" image inspect "$base" >/dev/null 2>&1; then
    rm -rf "$ee"
    mkdir -p "$ee/wheels"
    python -m pip download -q --dest "$ee/wheels" --python-version 3.13 --implementation cp --only-binary=:all: \
        --constraint "$ROOT/tests/requirements-scale.txt" ansible-core ansible-runner bindep pyyaml packaging dumb-init==1.2.5
    mmdebstrap --quiet --variant=minbase --aptopt='APT::Install-Recommends "false"' \
        --include=python3,python3-pip,openssh-client,ca-certificates --customize-hook="copy-in $ee/wheels /" \
        trixie "$ee/base.tar" ${LAB_MIRROR:+"$LAB_MIRROR"}
    "$engine" import --change 'ENV PIP_NO_INDEX=1' --change 'ENV PIP_FIND_LINKS=/wheels' "$ee/base.tar" "$base"
    rm -f "$ee/base.tar"
fi

# The definition, with the collection from a file.
mkdir -p "$ee/definition"
cp "$CACHE"/artifact/*.tar.gz "$ee/definition/collection.tar.gz"
python - "$ROOT/execution-environment.yml" "$ee/definition/execution-environment.yml" <<'END'
import sys

import yaml

with open(sys.argv[1], encoding="utf-8") as stream:
    definition = yaml.safe_load(stream)
definition["dependencies"]["galaxy"]["collections"] = [{"name": "files/collection.tar.gz", "type": "file"}]
definition["additional_build_files"] = [{"src": "collection.tar.gz", "dest": "files"}]
with open(sys.argv[2], "w", encoding="utf-8") as stream:
    yaml.safe_dump(definition, stream)
END
rm -rf "$ee/context"
ansible-builder build --container-runtime "$engine" --file "$ee/definition/execution-environment.yml" --context "$ee/context" \
    --tag "$image" --build-arg "EE_BASE_IMAGE=$base" --build-arg ANSIBLE_GALAXY_CLI_COLLECTION_OPTS=--offline \
    --build-arg PKGMGR_PRESERVE_CACHE=always --extra-build-cli-args='--network=none' --verbosity 2

"$lab" down "$mac"
trap '"$lab" down "$mac"' EXIT
"$lab" up "$mac"

# ansible-runner's directory. The keys stay where the inventory names them.
rm -rf "$ee/run"
mkdir -p "$ee/run/project" "$ee/run/inventory" "$ee/run/env"
cp "$ROOT"/docs/examples/fleet/{site.yml,report.yml,ansible.cfg} "$ee/run/project/"
cp "$CACHE/lab/inventory.yml" "$ee/run/inventory/"
printf '%s: "True"\n' ANSIBLE_HOST_KEY_CHECKING ANSIBLE_NOCOLOR >"$ee/run/env/envvars"

# play NAME PLAYBOOK: runs it in the execution environment. The lab's engine is root's, where the image's own user could not
# write into this directory; without root ansible-runner takes care of that.
play() {
    ansible-runner run "$ee/run" --playbook "$2" --ident "$1" --limit "$mac" --process-isolation \
        --process-isolation-executable "$engine" --container-image "$image" --container-option=--network=host --container-option=--user=root \
        --container-volume-mount "$CACHE/lab/ssh:$CACHE/lab/ssh:ro"
}
play first site.yml
play second site.yml
grep -q "^$mac .*changed=0 .*failed=0" "$ee/run/artifacts/second/stdout" || die 'The second run changed something.'
play report report.yml
python - "$ee/run/artifacts/report/linux-builder-status/fleet.json" <<'END'
import json
import sys

with open(sys.argv[1], encoding="utf-8") as stream:
    states = {mac["name"]: mac["state"] for mac in json.load(stream)["macs"]}
if states != {"mac-test": "ready"}:
    raise SystemExit(f"The report says {states}.")
END
say "$image: site.yml gave $mac a builder, and changed nothing the second time."
