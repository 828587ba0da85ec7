# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stand-in's container image: base, Python 3.9, guest files, Mac surface."""

from __future__ import annotations

import os
import pathlib
import shutil
import sys

from . import core, engine, guest

IMAGE_DIR = core.LAB / "image"
# Libraries of the older suite that the newer one no longer has under the same name.
PYTHON_LIBRARIES = ("libffi.so.7", "libssl.so.1.1", "libcrypto.so.1.1", "libmpdec.so.3")
# Parts of Python that no test here needs.
PYTHON_UNUSED = ("test", "idlelib", "lib2to3", "pydoc_data", "ensurepip", "turtle.py")


def _make_python(scratch: pathlib.Path) -> None:
    """Python 3.9 with pytest, laid out to be copied over the root of the stand-in."""
    source = scratch / "source"
    log = core.CACHE / "log"
    with core.step("image: Python 3.9"):
        core.mmdebstrap(core.PYTHON_SUITE, source, ["python3.9"], log / "python.log", "--variant=extract")
        tree = scratch / "tree"
        (tree / "usr/bin").mkdir(parents=True)
        shutil.copy2(source / "usr/bin/python3.9", tree / "usr/bin/python3.9")
        unused = shutil.ignore_patterns(*PYTHON_UNUSED)
        shutil.copytree(source / "usr/lib/python3.9", tree / "usr/lib/python3.9", symlinks=True, ignore=unused)
        libraries = source / "usr/lib/x86_64-linux-gnu"
        (tree / "usr/lib/x86_64-linux-gnu").mkdir()
        for name in PYTHON_LIBRARIES:
            shutil.copy2((libraries / name).resolve(), tree / "usr/lib/x86_64-linux-gnu" / name)
        shutil.rmtree(source)
    with core.step("image: pytest and hypothesis for Python 3.9"):
        target = tree / "usr/local/lib/python3.9/dist-packages"
        python = core.VENV / "bin/python"
        packages = core.read_list(IMAGE_DIR / "python-packages.txt")
        pip = [os.fspath(python) if python.exists() else sys.executable, "-m", "pip", "install", "--quiet", "--no-compile"]
        only = ["--python-version", "3.9", "--implementation", "cp", "--only-binary=:all:", "--disable-pip-version-check"]
        core.run([*pip, *only, "--target", target, *packages], log=log / "pip.log")


def _python() -> pathlib.Path:
    key = core.digest([pathlib.Path(__file__), IMAGE_DIR / "python-packages.txt"], core.PYTHON_SUITE)
    return core.cached("python39", key, _make_python) / "tree"


def _base() -> str:
    """Return the name of the base image, made from Debian's packages unless LAB_BASE names one to pull."""
    if core.BASE_IMAGE:
        if not engine.image_exists(core.BASE_IMAGE):
            with core.step(f"image: pulling {core.BASE_IMAGE}"):
                engine.call("pull", core.BASE_IMAGE, log=core.CACHE / "log/pull.log")
        return core.BASE_IMAGE
    packages = IMAGE_DIR / "packages.txt"
    name = f"{core.IMAGE}-base:{core.digest([packages], core.SUITE)}"
    if not engine.image_exists(name):
        tar = core.CACHE / "base.tar"
        with core.step("image: base from Debian's packages"):
            lean = [*guest.EXCLUDES, "--variant=minbase", '--aptopt=APT::Install-Recommends "false"']
            core.mmdebstrap(core.SUITE, tar, core.read_list(packages), core.CACHE / "log/base.log", *lean)
        with core.step("image: importing the base"):
            engine.call("import", os.fspath(tar), name, log=core.CACHE / "log/import.log")
        tar.unlink()
    return name


def _context(guest_files: pathlib.Path, python: pathlib.Path) -> pathlib.Path:
    """Put everything the image is made of into one folder; unchanged files stay untouched."""
    context = core.CACHE / "context"
    shutil.rmtree(context, ignore_errors=True)
    shutil.copytree(IMAGE_DIR, context)
    skip = shutil.ignore_patterns("__pycache__", "tests")
    for name in ("layouts", "builder", "launchd"):
        shutil.copytree(core.LAB / name, context / name, ignore=skip)
    # Hard links: the guest's files are large.
    shutil.copytree(guest_files, context / "guest", copy_function=os.link)
    shutil.copytree(python, context / "python", copy_function=os.link, symlinks=True)
    return context


def key() -> str:
    """Return the hash of all inputs of the image."""
    parts = [core.LAB / name for name in ("image", "layouts", "builder", "launchd", "guest")]
    here = pathlib.Path(__file__).parent
    public = (guest.host_key() / "ssh_host_ed25519_key.pub").read_text(encoding="utf-8")
    return core.digest([*parts, here / "image.py", here / "guest.py"], core.SUITE, core.BASE_IMAGE, public)


def _build(name: str) -> None:
    guest_files = guest.build()
    context = _context(guest_files, _python())
    base = _base()
    with core.step("image: Mac stand-in"):
        layers = ["--layers"] if core.ENGINE == "podman" else []
        # The machine's own network: a pulled base still has packages to fetch.
        arguments = ["--build-arg", f"BASE={base}", "--build-arg", f"GUEST={guest_files.name}"]
        extra = ["--network", "host", *arguments, "--tag", name, "--tag", f"{core.IMAGE}:latest"]
        engine.call("build", *layers, *extra, os.fspath(context), log=core.CACHE / "log/image.log")
    shutil.rmtree(context)
    # Older builds go, unless a stand-in still runs from one.
    tags = (engine.output("image", "ls", "--format", "{{.Repository}}:{{.Tag}}") or "").split()
    for tag in tags:
        if tag.startswith(f"{core.IMAGE}:") and tag not in (name, f"{core.IMAGE}:latest"):
            engine.call("image", "rm", tag, check=False, capture=True)


def build() -> str:
    """Return the name of the image, built if any input changed."""
    with core.locked():
        name = f"{core.IMAGE}:{key()}"
        if not engine.image_exists(name):
            _build(name)
    return name
