# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""The links of the Mac itself, and how its Nix daemon finds the builder. See `_diagnose_table`."""

from __future__ import annotations

from ansible_collections.nixmac.linux_builder.plugins.module_utils._diagnose_link import SITE, Cause, Link

MAC = (
    Link(
        "macos",
        "This host is a Mac with a macOS that the builder's QEMU runs on.",
        (),
        (
            Cause("not_macos", "This host is no Mac.", "Take it out of the inventory group."),
            Cause(
                "too_old",
                "macOS is older than the builder's package needs.",
                "Update macOS, or set linux_builder_package to an older nixpkgs and linux_builder_minimum_macos to fit.",
            ),
        ),
    ),
    Link(
        "virtualization",
        "macOS offers its hypervisor (kern.hv_support).",
        ("macos",),
        (
            Cause(
                "off",
                "There is no hypervisor, as inside most virtual machines: QEMU emulates the processor, many times slower.",
                "Use a Mac that is no virtual machine, or one with nested virtualization.",
                weak=True,
            ),
        ),
    ),
    Link(
        "nix",
        "Nix is installed and starts.",
        (),
        (
            Cause("missing", "There is no Nix where installers put it.", "Install Nix for several users (multi-user)."),
            Cause("broken", "Nix does not start.", "Repair the Nix installation: `{nix} --version` must succeed."),
        ),
    ),
    Link(
        "nix_conf",
        "Nix can read its configuration: /etc/nix/nix.conf and what it includes.",
        ("nix",),
        (
            Cause(
                "malformed",
                "A line of the configuration makes every Nix command fail.",
                "Correct or remove that line; `sudo {nix} show-config` must succeed.",
            ),
            Cause("broken", "Nix refuses its configuration.", "Correct it; `sudo {nix} show-config` must succeed."),
        ),
    ),
    Link(
        "nix_daemon",
        "The Nix daemon is loaded into launchd and answers on its socket.",
        ("nix", "nix_conf"),
        (
            Cause(
                "no_plist",
                "There is no property list of a Nix daemon, so this Nix is a single-user one, or the file was removed.",
                "Install Nix for several users (multi-user).",
            ),
            Cause(
                "plist_invalid",
                "launchd cannot read the daemon's property list.",
                "Restore {daemon_plist}; `plutil -lint {daemon_plist}` must say OK.",
            ),
            Cause(
                "disabled",
                "The daemon is disabled in launchd.",
                "`sudo launchctl enable system/{daemon_label}; sudo launchctl bootstrap system {daemon_plist}`",
            ),
            Cause(
                "not_loaded",
                "The daemon is not loaded into launchd.",
                "`sudo launchctl bootstrap system {daemon_plist}`",
            ),
            Cause(
                "crash_loop",
                "The daemon ends again and again.",
                "See /var/log/nix-daemon.log, then `sudo launchctl kickstart -k system/{daemon_label}`",
            ),
            Cause(
                "no_socket",
                "The daemon runs, but its socket is gone.",
                "`sudo launchctl kickstart -k system/{daemon_label}`",
            ),
            Cause(
                "no_answer",
                "The daemon does not answer on its socket.",
                "`sudo launchctl kickstart -k system/{daemon_label}` (ends builds that run)",
            ),
            Cause(
                "disabled_later",
                "The daemon runs, but is disabled: it will not be there after a restart of the Mac.",
                "`sudo launchctl enable system/{daemon_label}`",
                weak=True,
            ),
        ),
    ),
    Link(
        "mac_disk",
        "The Mac has free space for the Nix store and for the VM's disk.",
        (),
        (
            Cause(
                "full",
                "A file system of the Mac is full.",
                "Free some space, for example `sudo {nix}-collect-garbage`, or move what is not Nix'.",
            ),
        ),
    ),
    Link(
        "setup",
        "There is a Linux builder on this Mac: an entry, a key, a launchd job, or all of them.",
        (),
        (
            Cause(
                "none",
                "No Linux builder was ever set up on this Mac.",
                f"`{SITE}`",
            ),
        ),
    ),
)

DELEGATION = (
    Link(
        "builders",
        "The effective setting `builders` leads to the machines file, and every entry there can be read.",
        ("nix_conf", "setup"),
        (
            Cause(
                "malformed",
                "An entry cannot be read, which stops every build on this Mac, local ones too.",
                f"Correct or remove that line; the builder's own is made anew by the role delegation: `{SITE} --tags delegation`",
            ),
            Cause(
                "not_reached",
                "The setting `builders` does not lead to the file that has the entry.",
                f"Remove that line, or run the role delegation: `{SITE} --tags delegation`",
            ),
        ),
    ),
    Link(
        "entry",
        "The builder has an entry that offers the systems and features that are asked for.",
        ("builders",),
        (
            Cause("missing", "No entry names the builder.", f"Run the role delegation: `{SITE} --tags delegation`"),
            Cause(
                "no_jobs",
                "The entry allows no builds (field 4 is 0).",
                f"Set linux_builder_max_jobs and run the role delegation: `{SITE} --tags delegation`",
            ),
            Cause(
                "system",
                "The entry does not offer a system that is asked for.",
                f"Set linux_builder_systems and run the role delegation: `{SITE} --tags delegation`",
            ),
            Cause(
                "feature",
                "The entry does not offer a feature that is asked for, so what requires it is never sent to the builder.",
                f"Set linux_builder_supported_features and run the role delegation: `{SITE} --tags delegation`",
            ),
        ),
    ),
    Link(
        "daemon_config",
        "The running Nix daemon has read the configuration that is on disk.",
        ("nix_daemon",),
        (
            Cause(
                "stale",
                "The configuration changed after the daemon started.",
                "`sudo launchctl kickstart -k system/{daemon_label}` (ends builds that run)",
                weak=True,
            ),
        ),
    ),
    Link(
        "trusted_users",
        "Users that shall be trusted by the Nix daemon are.",
        ("nix_conf",),
        (
            Cause(
                "missing",
                "A user of linux_builder_trusted_users is not among the effective trusted-users.",
                f"Run the role trusted_users: `{SITE} --tags trusted_users`",
            ),
        ),
    ),
    Link(
        "key",
        "The private key is there, root's alone, usable without a passphrase, and fits its public half.",
        ("setup",),
        (
            Cause(
                "missing",
                "The private key is missing.",
                f"Run the roles credentials and builder: `{SITE} --tags credentials,builder`",
            ),
            Cause(
                "no_file", "There is no regular file in the key's place.", "Move away what lies there, and run the role again."
            ),
            Cause("mode", "Others than root can read the key, so ssh refuses it.", "`sudo chmod 600 {key}`"),
            Cause("owner", "The key does not belong to root, who runs the Nix daemon.", "`sudo chown root:nixbld {key}`"),
            Cause(
                "damaged",
                "The key cannot be read as a private key.",
                f"Remove it and run the role credentials: `{SITE} --tags credentials`",
            ),
            Cause(
                "passphrase",
                "The key has a passphrase, which no daemon can type.",
                "Remove it: `sudo ssh-keygen -p -N '' -f {key}`",
            ),
            Cause(
                "pub_other",
                "The public half beside the key is that of another key.",
                "`sudo sh -c 'ssh-keygen -y -f {key} > {key}.pub'`",
            ),
            Cause(
                "pub_missing",
                "The public half beside the key is missing.",
                "`sudo sh -c 'ssh-keygen -y -f {key} > {key}.pub'`",
                weak=True,
            ),
        ),
    ),
    Link(
        "files",
        "What this collection put into the working directory is whole, and the VM's closure is in the store.",
        ("setup",),
        (
            Cause("runner", "The script that launchd runs is missing.", f"Run the role builder: `{SITE} --tags builder`"),
            Cause(
                "closure",
                "The VM's programs are gone from the Nix store, so it cannot start.",
                f"Run the role builder: `{SITE} --tags builder`",
            ),
            Cause(
                "public_key",
                "The public key that the VM lets in is not that of the Nix daemon's key.",
                "`sudo cp {key}.pub {working_directory}/keys/builder_ed25519.pub`",
            ),
            Cause(
                "known_hosts",
                "The pinned host key is missing, so the VM cannot be shut down in order.",
                f"Run the role builder: `{SITE} --tags builder`",
            ),
        ),
    ),
    Link(
        "alias",
        "The ssh of root knows the builder's name: address, port, and under which name its host key is looked up.",
        ("setup",),
        (
            Cause(
                "config", "ssh cannot read its configuration.", "Correct the line that ssh names; `ssh -G {host}` must succeed."
            ),
            Cause(
                "missing",
                "No ssh configuration knows the builder's name.",
                f"Run the role delegation: `{SITE} --tags delegation`",
            ),
            Cause(
                "not_included",
                "A file has the name, but /etc/ssh/ssh_config does not include it.",
                "Put `Include /etc/ssh/ssh_config.d/*` at the top of /etc/ssh/ssh_config.",
            ),
            Cause(
                "address",
                "The name leads to another address than the VM's.",
                f"Correct it, or run the role delegation: `{SITE} --tags delegation`",
            ),
            Cause(
                "port",
                "The name leads to another port than the VM's.",
                f"Correct it, or run the role delegation: `{SITE} --tags delegation`",
            ),
            Cause(
                "host_key_alias",
                "The host key is looked up under another name than Nix writes it down for.",
                "Set `HostKeyAlias {host}` for it in /etc/ssh/ssh_config.d.",
            ),
        ),
    ),
)
