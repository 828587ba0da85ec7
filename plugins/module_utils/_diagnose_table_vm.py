# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""The links of the VM on the Mac, and what runs in it. See `_diagnose_table`."""

from __future__ import annotations

from ansible_collections.nixmac.linux_builder.plugins.module_utils._diagnose_link import SITE, Cause, Link

VM = (
    Link(
        "port",
        "Nobody but the builder listens on its port.",
        ("setup",),
        (
            Cause(
                "taken",
                "Another program has the builder's port.",
                "Stop it (`sudo kill {pid}`), or set linux_builder_port to a free port.",
            ),
        ),
    ),
    Link(
        "job",
        "The builder's launchd job is enabled, loaded and stays up.",
        ("setup", "port"),
        (
            Cause("no_plist", "There is no launchd job for the builder.", f"Run the role builder: `{SITE} --tags builder`"),
            Cause(
                "plist_invalid",
                "launchd cannot read the job's property list.",
                f"Run the role builder: `{SITE} --tags builder`",
            ),
            Cause(
                "plist_mode",
                "launchd refuses a property list that is not root's, or that others can write.",
                "`sudo chown root:wheel {plist}; sudo chmod 644 {plist}`",
            ),
            Cause(
                "disabled",
                "The job is disabled in launchd.",
                "`sudo launchctl enable system/{label}; sudo launchctl bootstrap system {plist}`",
            ),
            Cause("not_loaded", "The job is not loaded into launchd.", "`sudo launchctl bootstrap system {plist}`"),
            Cause(
                "crash_loop",
                "The job ends again and again, or does not start.",
                f"See the last lines of {{log}} above; then run the role builder: `{SITE} --tags builder`",
            ),
            Cause(
                "not_running",
                "The job is loaded, but nothing runs.",
                "`sudo launchctl kickstart system/{label}`",
            ),
            Cause(
                "disabled_later",
                "The job runs, but is disabled: it will not be there after a restart of the Mac.",
                "`sudo launchctl enable system/{label}`",
                weak=True,
            ),
        ),
    ),
    Link(
        "process",
        "The VM's process runs and listens.",
        ("job",),
        (
            Cause(
                "none",
                "The job runs, but its VM does not.",
                "See {log}; then `sudo launchctl kickstart -k system/{label}`",
            ),
            Cause("stopped", "The VM's process is stopped by a signal.", "`sudo kill -CONT {pid}`"),
            Cause(
                "not_listening",
                "The VM's process runs, but nothing listens on the port.",
                "It may have started this moment. Otherwise `sudo launchctl kickstart -k system/{label}`",
            ),
        ),
    ),
    Link(
        "ssh",
        "An sshd answers where root's ssh looks for the builder, with exactly the options of the Nix daemon.",
        ("alias", "key", "process"),
        (
            Cause("refused", "Nobody answers at the port.", "`sudo launchctl kickstart -k system/{label}`"),
            Cause(
                "no_answer",
                "The connection is made, but the VM does not answer: it boots, or hangs.",
                "Wait a minute. Otherwise `sudo launchctl kickstart -k system/{label}`",
            ),
            Cause(
                "closed",
                "The VM closes the connection before it says who it is: its sshd does not run, or it boots.",
                "Wait a minute. Otherwise `sudo launchctl kickstart -k system/{label}`",
            ),
            Cause(
                "locked_out",
                "The VM's sshd shuts this Mac out for a while after failed logins (PerSourcePenalties).",
                "Stop what connects without the key, and wait some minutes; or `sudo launchctl kickstart -k system/{label}`",
            ),
            Cause("failed", "ssh fails for a reason of its own.", "Try it with `{command}`"),
        ),
    ),
    Link(
        "host_key",
        "The host key that Nix was told (field 8 of the entry) is the one that the VM shows.",
        ("ssh", "entry"),
        (
            Cause(
                "other",
                "The VM shows another host key than the one that Nix was told.",
                f"If it is your VM: `{SITE}`. Otherwise see who listens: `sudo lsof -nP -iTCP:{{port}} -sTCP:LISTEN`",
            ),
            Cause(
                "unknown",
                "Nix was told no host key, and root's ssh knows none.",
                f"Run the role delegation: `{SITE} --tags delegation`",
            ),
        ),
    ),
    Link(
        "login",
        "The VM lets the Nix daemon's key in and runs commands.",
        ("host_key", "files"),
        (
            Cause(
                "key_refused",
                "The VM does not take the key.",
                f"Run the roles credentials and builder: `{SITE} --tags credentials,builder`",
            ),
            Cause("key_unused", "ssh does not use the key.", "`sudo chmod 600 {key}`; see the words of ssh."),
            Cause("no_shell", "The login works, but no command runs.", "`sudo launchctl kickstart -k system/{label}`"),
        ),
    ),
)

GUEST = (
    Link(
        "guest_nix",
        "The VM's own Nix daemon answers.",
        ("login",),
        (
            Cause("missing", "There is no Nix on the path of the VM's user.", "Use the package's own image."),
            Cause(
                "no_answer",
                "The VM's Nix daemon does not answer.",
                "Restart the VM: `sudo launchctl kickstart -k system/{label}`",
            ),
        ),
    ),
    Link(
        "guest_trust",
        "The VM's Nix trusts the user that Nix logs in as, so it takes unsigned inputs.",
        ("guest_nix",),
        (
            Cause(
                "untrusted",
                "The VM's Nix does not trust its user.",
                "Use the package's own image, or add the user to nix.settings.trusted-users of the VM.",
            ),
        ),
    ),
    Link(
        "guest_disk",
        "The VM's disk has free space and can be written.",
        ("login",),
        (
            Cause(
                "full",
                "The VM's disk is full.",
                "`{command} nix-collect-garbage`; or set linux_builder_disk_mib to more.",
            ),
            Cause(
                "read_only",
                "The VM's disk can only be read, as after an error of the file system.",
                "Restart the VM: `sudo launchctl kickstart -k system/{label}`",
            ),
        ),
    ),
    Link(
        "guest_memory",
        "The VM has free memory.",
        ("login",),
        (
            Cause(
                "low",
                "The VM has hardly any memory left.",
                "Wait for its builds, set linux_builder_memory_mib to more or linux_builder_max_jobs to less.",
            ),
            Cause(
                "killed",
                "The VM's kernel ended processes for want of memory.",
                "Set linux_builder_memory_mib to more or linux_builder_max_jobs to less.",
                weak=True,
            ),
        ),
    ),
    Link(
        "clock",
        "The VM's clock is the Mac's.",
        ("login",),
        (
            Cause(
                "skewed",
                "The VM's clock is wrong, as after the Mac slept: downloads over https fail, files seem to be of the future.",
                "Restart the VM: `sudo launchctl kickstart -k system/{label}`",
            ),
        ),
    ),
    Link(
        "guest_ca",
        "The VM has CA certificates, without which it cannot fetch from any cache over https.",
        ("login",),
        (
            Cause(
                "missing",
                "The VM has no CA certificates.",
                f"Set linux_builder_ca_file to a file with certificates (PEM) and run the role builder: `{SITE} --tags builder`",
            ),
        ),
    ),
    Link(
        "guest_dns",
        "The VM can resolve the names of its caches.",
        ("login",),
        (
            Cause(
                "no_nameserver", "The VM knows no name server.", "Restart the VM: `sudo launchctl kickstart -k system/{label}`"
            ),
            Cause(
                "no_answer",
                "The Mac resolves the name, the VM does not, as with some VPNs.",
                "Restart the VM: `sudo launchctl kickstart -k system/{label}`",
            ),
            Cause("offline", "Neither the VM nor the Mac resolves the name.", "Check the Mac's network.", weak=True),
        ),
    ),
    Link(
        "offers",
        "The VM's Nix itself offers the systems and features that the entry names.",
        ("guest_nix", "entry"),
        (
            Cause(
                "system",
                "The entry names a system that the VM cannot build for.",
                f"Take it out of linux_builder_systems, or use a package that has it, and run `{SITE}`",
            ),
            Cause(
                "feature",
                "The entry names a feature that the VM does not have, so what requires it fails there.",
                "Take it out of linux_builder_supported_features (nix-darwin: nix.linux-builder.supportedFeatures) and "
                f"run `{SITE}`",
            ),
        ),
    ),
    Link(
        "locks",
        "A build slot of the builder is free (locks in /nix/var/nix/current-load).",
        ("entry",),
        (
            Cause("unusable", "The directory of the locks cannot be used.", "`sudo rm -f {current_load}`; Nix makes it anew."),
            Cause(
                "stale",
                "Slots are held by a process that is no build of Nix.",
                "`sudo kill {pid}`",
            ),
            Cause(
                "busy",
                "All slots are taken by builds that run; others wait.",
                "Wait, or set linux_builder_max_jobs to more.",
                weak=True,
            ),
        ),
    ),
)
