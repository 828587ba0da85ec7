# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Settings and small helpers of the lab: paths, variables, progress lines, cached build steps."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time
import typing as t

LAB = pathlib.Path(__file__).resolve().parents[1]
REPO = LAB.parents[1]
CACHE = pathlib.Path(os.environ.get("LAB_CACHE", str(REPO / ".cache" / "lab")))
VENV = pathlib.Path(os.environ.get("LAB_VENV", str(REPO / ".cache" / "venv")))
# `podman` or `docker`.
ENGINE = os.environ.get("LAB_ENGINE", "podman")
# Empty: make the base from Debian packages. Else an image to pull, such as docker.io/library/debian:trixie-slim.
BASE_IMAGE = os.environ.get("LAB_BASE", "")
IMAGE = os.environ.get("LAB_IMAGE", "localhost/nixmac-lab")
# Added to the ssh ports of the stand-ins, so that labs of several checkouts run side by side.
PORT_OFFSET = int(os.environ.get("LAB_PORT_OFFSET", "0"))
# Passed to mmdebstrap as the mirror; empty: its own default.
MIRROR = os.environ.get("LAB_MIRROR", "")
SUITE = "trixie"
# The suite whose python3.9 plays Apple's.
PYTHON_SUITE = "bullseye"


class LabError(Exception):
    """What is wrong and what to do next, for the person at the terminal."""


def say(text: str) -> None:
    """Print one progress line with the time of day."""
    sys.stdout.write(f"[lab {time.strftime('%H:%M:%S')}] {text}\n")
    sys.stdout.flush()


@contextlib.contextmanager
def step(text: str) -> t.Iterator[None]:
    """Say what starts, and how many seconds it took."""
    say(f"{text} ...")
    start = time.monotonic()
    yield
    say(f"{text}: {time.monotonic() - start:.1f} s")


@contextlib.contextmanager
def locked(path: pathlib.Path = CACHE / "lock") -> t.Iterator[None]:
    """Hold one of the lab's locks: two commands, or two threads of one, must not make the same thing at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for what another lab command makes ...")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def run(
    argv: t.Sequence[str | os.PathLike[str]],
    *,
    log: pathlib.Path | None = None,
    env: t.Mapping[str, str] | None = None,
    check: bool = True,
    capture: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run a command; with `log` its output goes there and the last lines are shown on failure."""
    words = [os.fspath(word) for word in argv]
    full_env = dict(os.environ, **(env or {}))
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w", encoding="utf-8") as stream:
            done = subprocess.run(words, stdout=stream, stderr=subprocess.STDOUT, env=full_env, text=True, check=False)
    else:
        pipe = subprocess.PIPE if capture else None
        done = subprocess.run(words, stdout=pipe, stderr=pipe, env=full_env, text=True, check=False)
    if check and done.returncode != 0:
        tail = ""
        if log is not None:
            tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-25:])
            tail = f"\nThe end of {log}:\n{tail}"
        elif capture:
            tail = f"\n{done.stdout}{done.stderr}"
        raise LabError(f"`{' '.join(words[:6])} ...` failed with exit code {done.returncode}.{tail}")
    return done


def need(program: str) -> str:
    """Return the absolute path of a program, or say how to get it."""
    found = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if found is None:
        raise LabError(f"{program} is not installed. Run `tests/lab/lab deps` first.")
    return found


def digest(paths: t.Iterable[pathlib.Path], *words: str) -> str:
    """Return a short hash over file names, modes and contents (folders: all files below) and some words."""
    total = hashlib.sha256()
    for word in words:
        total.update(f"{len(word)}:{word}".encode())
    for path in paths:
        files = sorted(p for p in path.rglob("*") if p.is_file() and "__pycache__" not in p.parts) if path.is_dir() else [path]
        for file in files:
            total.update(f"{file.relative_to(LAB.parent)} {file.stat().st_mode & 0o111:o}\n".encode())
            total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()[:16]


def cached(name: str, key: str, make: t.Callable[[pathlib.Path], None]) -> pathlib.Path:
    """Return the folder `<cache>/<name>-<key>`, made by `make` in a scratch folder if it is missing; older ones go."""
    target = CACHE / f"{name}-{key}"
    if target.is_dir():
        return target
    CACHE.mkdir(parents=True, exist_ok=True)
    scratch = CACHE / f"{name}.new"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    make(scratch)
    for old in CACHE.glob(f"{name}-*"):
        shutil.rmtree(old, ignore_errors=True)
    scratch.rename(target)
    return target


def mmdebstrap(suite: str, target: pathlib.Path, packages: t.Iterable[str], log: pathlib.Path, *options: str) -> None:
    """Make a Debian root (folder, or .tar by the name of `target`) from Debian's packages."""
    argv = [need("mmdebstrap"), f"--include={','.join(packages)}", *options, suite, os.fspath(target)]
    if MIRROR:
        argv.append(MIRROR)
    # A fixed date keeps the archives, and so everything keyed by them, the same from build to build.
    run(argv, log=log, env={"SOURCE_DATE_EPOCH": "1700000000"})


def read_list(path: pathlib.Path) -> list[str]:
    """Return the lines of a list file without comments and blank lines."""
    lines = (line.split("#", 1)[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def write_json(path: pathlib.Path, value: t.Any) -> None:
    """Write a value as JSON with a final newline."""
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")
