# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`lab`: the command line of the Mac stand-in lab."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import typing as t

from . import core, engine, image, macs, processes, setup

# What runs on a Mac. The controller's side (plugins/action, plugins/plugin_utils) never meets a Mac's Python.
PATHS = ["tests/unit/plugins/module_utils", "tests/unit/plugins/modules", "tests/real"]
COLLECTION = "/repo-collections/ansible_collections/nixmac/linux_builder"


def _build(_args: argparse.Namespace) -> int:
    core.say(f"image {image.build()} is ready")
    return 0


def _up(args: argparse.Namespace) -> int:
    macs.up(macs.named(args.names))
    core.say(f"inventory: {macs.INVENTORY}")
    return 0


def _down(args: argparse.Namespace) -> int:
    macs.down(macs.named(args.names) if args.names else macs.existing())
    return 0


def _restart(args: argparse.Namespace) -> int:
    macs.restart(macs.named(args.names))
    return 0


def _destroy(_args: argparse.Namespace) -> int:
    macs.down(macs.existing())
    if core.ENGINE != "podman":
        names = (engine.output("image", "ls", "--quiet", f"{core.IMAGE}*") or "").split()
        for name in dict.fromkeys(names):
            engine.call("image", "rm", "--force", name, check=False, capture=True)
    engine.destroy_storage()
    shutil.rmtree(core.CACHE, ignore_errors=True)
    core.say("stand-ins, images, keys and caches of the lab are gone")
    return 0


def _words(command: t.Sequence[str]) -> list[str]:
    words = list(command[1:] if command[:1] == ["--"] else command)
    return words or ["/bin/bash", "-l"]


def _exec(args: argparse.Namespace) -> int:
    (mac,) = macs.named([args.name])
    tty = ["--tty"] if sys.stdin.isatty() and sys.stdout.isatty() else []
    flags = ["--interactive", *tty, "--env", "HOME=/var/root", "--env", "PATH=/usr/bin:/bin:/usr/sbin:/sbin"]
    return engine.call("exec", *flags, mac.container, *_words(args.command), check=False).returncode


def _ssh(args: argparse.Namespace) -> int:
    (mac,) = macs.named([args.name])
    return subprocess.run(macs.ssh_argv(mac, *_words(args.command), user=args.user), check=False).returncode


def _processes(args: argparse.Namespace) -> int:
    (mac,) = macs.named([args.name])
    return processes.count(mac.container, _words(args.command))


def _inventory(_args: argparse.Namespace) -> int:
    sys.stdout.write(f"{macs.write_inventory()}\n")
    return 0


def _status(_args: argparse.Namespace) -> int:
    name = f"{core.IMAGE}:{image.key()}"
    core.say(f"image {name}: {'built' if engine.image_exists(name) else 'not built'}")
    for mac in macs.known().values():
        state = engine.state(mac.container) or "absent"
        core.say(f"{mac.name:8} {state:8} macOS {mac.version:7} {mac.layout:14} 127.0.0.1:{mac.ssh_port}")
    return 0


def _pytest(args: argparse.Namespace) -> int:
    name = image.build()
    ansible = next((core.VENV / "lib").glob("python3*/site-packages/ansible"), None)
    if ansible is None:
        raise core.LabError(f"{core.VENV} has no ansible. Run `tests/lab/lab venv` first.")
    volumes = ["--volume", f"{core.REPO}:{COLLECTION}:ro", "--volume", f"{ansible}:/opt/ansible/ansible:ro"]
    folder = core.CACHE / "macs" / "pytest"
    with core.locked():
        macs.write_folder(macs.known()["mac-test"], folder)
    volumes += ["--volume", f"{folder}:/lab/mac:ro"]
    paths = _words(args.paths) if args.paths else PATHS
    environ = {"PYTHONPATH": "/repo-collections:/opt/ansible", "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/var/root"}
    flags = [word for name, value in environ.items() for word in ("--env", f"{name}={value}")]
    container = f"nixmac-pytest-{os.getpid()}"
    words = ["--detach", "--rm", "--name", container, "--hostname", "mac-test", "--stop-timeout", "1"]
    engine.call("run", *words, "--network", "none" if args.no_network else engine.network(), *volumes, name, capture=True)
    try:
        ready = "until [ -S /nix/var/nix/daemon-socket/socket ]; do sleep 0.2; done"
        engine.call("exec", container, "/usr/bin/timeout", "30", "/bin/sh", "-c", ready, capture=True)
        words = ["/usr/bin/python3", "-m", "pytest", "-p", "no:cacheprovider", "-o", "cache_dir=/tmp/pytest-cache", *paths]
        return engine.call("exec", *flags, "--workdir", COLLECTION, container, *words, check=False).returncode
    finally:
        engine.call("rm", "--force", container, check=False, capture=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tests/lab/lab", description="Mac stand-ins in containers, for tests and the demo.")
    commands = parser.add_subparsers(dest="command_name", required=True)

    def add(name: str, help_text: str, function: t.Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=help_text, description=help_text)
        command.set_defaults(function=function)
        return command

    add("deps", "install the Debian packages that the lab needs and this machine lacks", lambda _args: setup.deps())
    add("venv", "make the controller's Python environment from tests/requirements.txt", lambda _args: setup.venv())
    add("build", "build the guest and the stand-in's image (kept until an input changes)", _build)
    for name, function, text in (
        ("up", _up, "start stand-ins and wait until ssh answers (default: mac-a mac-b)"),
        ("restart", _restart, "restart whole stand-ins: /var/run and /tmp emptied, the rest kept"),
        ("down", _down, "remove stand-ins (default: all); images stay"),
    ):
        add(name, text, function).add_argument("names", nargs="*")
    add("destroy", "remove everything of the lab, images and keys included", _destroy)
    command = add("exec", "run a command as root inside a stand-in: exec NAME -- CMD", _exec)
    command.add_argument("name")
    command.add_argument("command", nargs=argparse.REMAINDER)
    command = add("ssh", "run a command over ssh as Ansible would: ssh [--user alice] NAME -- CMD", _ssh)
    command.add_argument("--user", default="admin")
    command.add_argument("name")
    command.add_argument("command", nargs=argparse.REMAINDER)
    command = add(
        "processes", "run a command here, and count what it starts in a stand-in over ssh: processes NAME -- CMD", _processes
    )
    command.add_argument("name")
    command.add_argument("command", nargs=argparse.REMAINDER)
    add("inventory", "write the inventory for Ansible and print its path", _inventory)
    add("status", "say what is built and what runs", _status)
    command = add("pytest", "run tests under Python 3.9 in a stand-in (default: all that runs on a Mac)", _pytest)
    command.add_argument("--no-network", action="store_true", help="in a stand-in that has no network but its own loopback")
    command.add_argument("paths", nargs=argparse.REMAINDER)
    return parser


def main(argv: t.Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    args = _parser().parse_args(argv)
    try:
        return int(args.function(args))
    except core.LabError as problem:
        sys.stderr.write(f"lab: {problem}\n")
        return 1
    except BrokenPipeError:
        # Whoever read the output has seen enough; nothing more may be written to it, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
