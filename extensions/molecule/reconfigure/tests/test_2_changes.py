# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A builder in use gets other options, another image, and an image that does not work."""

from __future__ import annotations

import keys
import macs

FLAKE = "/opt/lab/variant"
MORE = ("--extra-vars=linux_builder_cores=1 linux_builder_memory_mib=1024",)
VARIANT = (*MORE, f"--extra-vars=linux_builder_package=path:{FLAKE}-a#darwin.linux-builder")
MUTE = (*MORE, f"--extra-vars=linux_builder_package=path:{FLAKE}-mute#darwin.linux-builder linux_builder_ready_timeout=90")


def make_variant(stand_in: macs.StandIn, name: str, word: str) -> None:
    """The lab's flake with one more word on the guest's kernel command line."""
    path = f"{FLAKE}-{name}"
    stand_in.root(
        "/bin/sh", "-c", f"rm -rf {path}; cp -r /opt/lab/builder {path}; sed -i 's/console=ttyS0 quiet/& {word}/' {path}/vm.nix"
    )


def test_host_side_options_restart_the_vm_once(mac: macs.Mac) -> None:
    played = macs.play("site", *MORE)
    assert played.rc == 0, played.output[-6000:]
    assert mac.guest("nproc").stdout.strip() == "1"
    played = macs.play("site", *MORE)
    assert (played.rc, played.changed()) == (0, 0), played.output[-6000:]


def test_another_image_is_a_new_generation(mac: macs.Mac, stand_in: macs.StandIn) -> None:
    make_variant(stand_in, "a", "builder.variant=a")
    assert macs.play("site", "--check", *VARIANT).rc == 0
    assert "builder.variant" not in mac.guest("cat", "/proc/cmdline").stdout
    played = macs.play("site", *VARIANT)
    assert played.rc == 0, played.output[-6000:]
    assert "builder.variant=a" in mac.guest("cat", "/proc/cmdline").stdout
    assert mac.shell(f"readlink {macs.PROFILE}").endswith("-2-link")
    assert keys.build(mac).rc == 0


def test_an_image_that_never_answers_is_replaced_by_the_one_before(mac: macs.Mac, stand_in: macs.StandIn) -> None:
    make_variant(stand_in, "mute", "systemd.unit=emergency.target")
    played = macs.play("site", *MUTE)
    assert played.rc != 0
    assert played.says("was put back and answers"), played.output[-6000:]
    assert "builder.variant=a" in mac.guest("cat", "/proc/cmdline").stdout
    assert keys.build(mac).rc == 0
    played = macs.play("site", *VARIANT)
    assert (played.rc, played.changed()) == (0, 0), played.output[-6000:]
