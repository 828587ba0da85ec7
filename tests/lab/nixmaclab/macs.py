# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stand-ins: what each is, its files, start, stop, and how Ansible reaches it."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import pathlib
import plistlib
import secrets
import shutil
import subprocess
import time
import typing as t

from . import core, engine, guest, image

SETTINGS = pathlib.Path(os.environ.get("LAB_MACS", str(core.LAB / "macs.json")))
DEFAULT = ["mac-a", "mac-b"]
INVENTORY = core.CACHE / "inventory.yml"
KEY = core.CACHE / "ssh" / "admin_ed25519"
PASSWORD = core.CACHE / "ssh" / "sudo-password"
KNOWN_HOSTS = core.CACHE / "ssh" / "known_hosts"
READY_SECONDS = 60


@dataclasses.dataclass(frozen=True)
class Mac:
    """One stand-in as `macs.json` has it; `memsize` in bytes, `version` and `build` of its macOS; sshd's port inside."""

    name: str
    ssh_port: int
    era: int
    layout: str
    version: str
    build: str
    darwin: str
    arch: str
    cpu: str
    hv_support: int
    memsize: int
    sshd_port: int

    @property
    def container(self) -> str:
        """The container's name."""
        return f"nixmac-{self.name}"

    @property
    def folder(self) -> pathlib.Path:
        """The folder that the stand-in reads its own facts and keys from."""
        return core.CACHE / "macs" / self.name


def known() -> dict[str, Mac]:
    """Return all stand-ins by name."""
    settings = json.loads(SETTINGS.read_text(encoding="utf-8"))
    macs = {}
    for name, own in settings["macs"].items():
        merged = {**settings["defaults"], **own}
        merged = {**settings["eras"][str(merged["era"])], **merged}
        merged["ssh_port"] += core.PORT_OFFSET
        macs[name] = Mac(name=name, **merged)
    return macs


def named(names: t.Sequence[str]) -> list[Mac]:
    """Return the stand-ins of that name, the two usual ones if there is none."""
    macs = known()
    unknown = [name for name in names if name not in macs]
    if unknown:
        raise core.LabError(f"{SETTINGS.name} has no {', '.join(unknown)}. It has: {', '.join(macs)}.")
    return [macs[name] for name in names or DEFAULT]


def existing() -> list[Mac]:
    """Return the stand-ins that have a container, running or not."""
    return [mac for mac in known().values() if engine.state(mac.container) is not None]


def _keygen(path: pathlib.Path, comment: str) -> None:
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        core.run([core.need("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path])


def _secret(path: pathlib.Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as stream:
        stream.write(text)


def _password_hash() -> str:
    """Return the hash of the lab's sudo password, made by Ansible's password_hash on the controller."""
    stored = PASSWORD.with_suffix(".hash")
    if not PASSWORD.exists():
        _secret(PASSWORD, secrets.token_urlsafe(12) + "\n")
        stored.unlink(missing_ok=True)
    if not stored.exists():
        playbook = PASSWORD.with_name("hash.yml")
        copy = {
            "content": "{{ lookup('ansible.builtin.file', password_file) | password_hash('sha512', rounds=5000) }}",
            "dest": "{{ hash_file }}",
            "mode": "0600",
        }
        facts = {"password_file": os.fspath(PASSWORD), "hash_file": os.fspath(stored)}
        facts["ansible_python_interpreter"] = os.fspath(core.VENV / "bin/python")
        play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": facts}
        playbook.write_text(json.dumps([{**play, "tasks": [{"ansible.builtin.copy": copy, "no_log": True}]}]), encoding="utf-8")
        config = playbook.with_name("ansible.cfg")
        config.write_text("[defaults]\n", encoding="utf-8")
        argv: list[str | os.PathLike[str]] = [core.VENV / "bin/ansible-playbook", "-i", "localhost,", playbook]
        env = {"ANSIBLE_CONFIG": os.fspath(config), "LC_ALL": "C.UTF-8"}
        core.run(argv, log=core.CACHE / "log/password.log", env=env)
        playbook.unlink()
    return stored.read_text(encoding="utf-8").strip()


def write_folder(mac: Mac, folder: pathlib.Path) -> None:
    """Write what a stand-in reads about itself at its first start."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = {
        "LAB_LAYOUT": mac.layout,
        "MAC_ARCH": mac.arch,
        "MAC_BUILD": mac.build,
        "MAC_CPU": mac.cpu,
        "MAC_DARWIN": mac.darwin,
        "MAC_HV_SUPPORT": str(mac.hv_support),
        "MAC_MEMSIZE": str(mac.memsize),
        "MAC_VERSION": mac.version,
    }
    lines = "".join(f"{name}='{value}'\n" for name, value in facts.items())
    (folder / "mac.env").write_text(lines, encoding="utf-8")
    core.write_json(folder / "launchd.json", {"era": mac.era})
    version = {
        "ProductBuildVersion": mac.build,
        "ProductName": "macOS",
        "ProductUserVisibleVersion": mac.version,
        "ProductVersion": mac.version,
    }
    (folder / "SystemVersion.plist").write_bytes(plistlib.dumps(version))
    # One pair and one password for all stand-ins; several of which may be made at once.
    with core.locked(KEY.parent.with_suffix(".lock")):
        _keygen(KEY, "admin@lab")
        hashed = _password_hash()
    shutil.copy(KEY.with_suffix(".pub"), folder / "authorized_keys")
    _secret(folder / "admin.passwd", f"admin:{hashed}\n")
    _keygen(folder / "ssh_host_ed25519_key", f"root@{mac.name}")
    # Mounted only where sshd shall have another port than the image's.
    config = (core.LAB / "image" / "rootfs" / "etc" / "ssh" / "sshd_config").read_text(encoding="utf-8")
    (folder / "sshd_config").write_text(f"{config}Port {mac.sshd_port}\n", encoding="utf-8")


def _write_known_hosts() -> None:
    lines = []
    for mac in known().values():
        public = mac.folder / "ssh_host_ed25519_key.pub"
        if public.exists():
            kind, blob = public.read_text(encoding="utf-8").split()[:2]
            lines.append(f"[127.0.0.1]:{mac.ssh_port} {kind} {blob}\n")
    KNOWN_HOSTS.write_text("".join(lines), encoding="utf-8")


def ssh_argv(mac: Mac, *command: str, user: str = "admin") -> list[str]:
    """Return the ssh command line that Ansible's connection comes down to."""
    options = ["-i", os.fspath(KEY), "-p", str(mac.ssh_port), "-o", f"UserKnownHostsFile={KNOWN_HOSTS}"]
    options += ["-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "ConnectTimeout=5", "-o", "LogLevel=ERROR"]
    return [core.need("ssh"), *options, f"{user}@127.0.0.1", *command]


def wait_ready(mac: Mac) -> None:
    """Wait until ssh answers and the Nix daemon's socket is there."""
    deadline = time.monotonic() + READY_SECONDS
    probe = ssh_argv(mac, "test -S /nix/var/nix/daemon-socket/socket")
    while True:
        done = subprocess.run(probe, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
        if done.returncode == 0:
            return
        if engine.state(mac.container) != "running" or time.monotonic() > deadline:
            logs = engine.call("logs", "--tail", "20", mac.container, check=False, capture=True)
            raise core.LabError(f"{mac.name} does not answer over ssh: {done.stderr.strip()}\n{logs.stdout}{logs.stderr}")
        time.sleep(0.3)


def up(macs: t.Sequence[Mac]) -> None:
    """Start stand-ins, made from the current image where there is none yet, and wait until they answer."""
    name = image.build()
    for mac in macs:
        state = engine.state(mac.container)
        with core.step(f"{mac.name}: starting (macOS {mac.version}, {mac.layout}, ssh port {mac.ssh_port})"):
            if state is None:
                write_folder(mac, mac.folder)
                _write_known_hosts()
                mounts = ["--volume", f"{mac.folder}:/lab/mac:ro"]
                if mac.sshd_port != 22:
                    mounts += ["--volume", f"{mac.folder / 'sshd_config'}:/etc/ssh/sshd_config:ro"]
                port = ["--publish", f"127.0.0.1:{mac.ssh_port}:{mac.sshd_port}"]
                words = ["--name", mac.container, "--hostname", mac.name, "--network", engine.network(), "--stop-timeout", "30"]
                engine.call("create", *words, *mounts, *port, name, capture=True)
            if state != "running":
                engine.call("start", mac.container, capture=True)
            wait_ready(mac)
    write_inventory()


def restart(macs: t.Sequence[Mac]) -> None:
    """Restart whole stand-ins, as a Mac reboots: every process goes, /tmp and /var/run are emptied, the rest stays."""
    for mac in macs:
        with core.step(f"{mac.name}: restarting"):
            engine.call("stop", mac.container, capture=True)
            engine.call("start", mac.container, capture=True)
            wait_ready(mac)


def down(macs: t.Sequence[Mac]) -> None:
    """Remove stand-ins; images and keys stay."""
    for mac in macs:
        if engine.state(mac.container) is not None:
            with core.step(f"{mac.name}: removing"):
                # Nothing in it is worth an orderly stop.
                engine.call("kill", mac.container, check=False, capture=True)
                engine.call("rm", "--force", "--volumes", mac.container, capture=True)
        shutil.rmtree(mac.folder, ignore_errors=True)
    if KNOWN_HOSTS.exists():
        _write_known_hosts()
        write_inventory()


def write_inventory() -> pathlib.Path:
    """Write the inventory of the stand-ins that exist, and return its path."""
    hosts = {mac.name: {"ansible_port": mac.ssh_port} for mac in existing()}
    public = (guest.host_key() / "ssh_host_ed25519_key.pub").read_bytes()
    password = f"{{{{ lookup('ansible.builtin.file', {os.fspath(PASSWORD)!r}) }}}}"
    facts = {
        "ansible_host": "127.0.0.1",
        "ansible_user": "admin",
        "ansible_become_password": password,
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_ssh_private_key_file": os.fspath(KEY),
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={KNOWN_HOSTS} -o IdentitiesOnly=yes",
        "linux_builder_package": "path:/opt/lab/builder#darwin.linux-builder",
        "linux_builder_public_host_key": base64.b64encode(public).decode(),
    }
    # JSON is YAML, and needs no library here.
    core.write_json(INVENTORY, {"all": {"children": {"macs": {"hosts": hosts, "vars": facts}}}})
    return INVENTORY
