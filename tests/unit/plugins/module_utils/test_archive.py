# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files out of a zip such as Ansible's, as a Mac imports them."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import typing as t
import zipfile

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _archive

PACKAGES = ["ansible_collections"]
for _name in ("nixmac", "linux_builder", "plugins", "module_utils"):
    PACKAGES.append(f"{PACKAGES[-1]}/{_name}")
UTILS = PACKAGES[-1]
# How often each file is compiled is seen where Python's own importer does it.
LOOK = """
import json, sys, traceback, zipimport
count, inner = {}, zipimport._compile_source
def compile_source(path, source):
    count[path] = count.get(path, 0) + 1
    return inner(path, source)
zipimport._compile_source = compile_source
sys.path.insert(0, sys.argv[1])
if sys.argv[2] == "once":
    from ansible_collections.nixmac.linux_builder.plugins.module_utils import _archive
from ansible_collections.nixmac.linux_builder.plugins.module_utils import _good
from ansible_collections.nixmac.linux_builder.plugins.module_utils.inner import deeper
try:
    from ansible_collections.nixmac.linux_builder.plugins.module_utils import _not_there
except ImportError as exc:
    missing = type(exc).__name__
try:
    _good.fail()
except ValueError:
    trace = traceback.format_exc()
path = sys.argv[1] + "/" + sys.argv[3]
print(json.dumps({
    "good": count[path + "/_good.py"], "value": _good.VALUE, "deeper": deeper.VALUE, "missing": missing, "trace": trace,
    "file": _good.__file__ == path + "/_good.py", "loader": type(_good.__loader__).__name__, "path": hasattr(_good, "__path__"),
}))
"""


def seen(directory: pathlib.Path, how: str) -> dict[str, t.Any]:
    """What another Python makes of a zip with three files."""
    with zipfile.ZipFile(directory / "payload.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for package in [*PACKAGES, f"{UTILS}/inner"]:
            archive.writestr(f"{package}/__init__.py", "")
        archive.write(_archive.__file__, f"{UTILS}/_archive.py")
        archive.writestr(f"{UTILS}/_good.py", "VALUE = 7\ndef fail():\n    raise ValueError('this very line')\n")
        archive.writestr(f"{UTILS}/inner/deeper.py", "VALUE = 8\n")
    argv = [sys.executable, "-c", LOOK, f"{directory}/payload.zip", how, UTILS]
    done = subprocess.run(argv, stdout=subprocess.PIPE, check=True, cwd="/", timeout=120, env={})
    answer: dict[str, t.Any] = json.loads(done.stdout)
    return answer


def test_a_file_of_the_zip_is_compiled_once_and_is_what_it_would_be(tmp_path: pathlib.Path) -> None:
    usual, once = (seen(tmp_path, how) for how in ("usual", "once"))
    # The day Python's own importer compiles once, _archive is of no use any more.
    assert (usual.pop("good"), once.pop("good")) == (2, 1)
    assert once == usual
    assert (once["value"], once["deeper"], once["missing"], once["file"]) == (7, 8, "ImportError", True)
    assert "raise ValueError('this very line')" in once["trace"]


def test_outside_of_a_zip_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    finders = list(sys.meta_path)
    monkeypatch.setattr(sys, "meta_path", finders)
    assert not _archive.install(_archive.__spec__)
    assert not _archive.install(None)
    assert sys.meta_path == finders
    assert not any(isinstance(finder, _archive.Finder) for finder in finders)


def test_every_module_imports_it_before_the_others() -> None:
    """A file that comes before it is compiled twice; two are, and `_module` is one of them."""
    root = pathlib.Path(_archive.__file__).resolve().parents[1]
    ours = "from ansible_collections.nixmac.linux_builder.plugins.module_utils"
    for path in root.glob("modules/*.py"):
        imports = [line for line in path.read_text().splitlines() if line.startswith(ours)]
        assert not imports or imports[0] == f"{ours} import _module", path.name
    module = (root / "module_utils/_module.py").read_text().splitlines()
    first = next(number for number, line in enumerate(module) if line.startswith(ours))
    assert next(line for line in module[first + 1 :] if not line.lstrip().startswith("#")).startswith("    _archive,")
