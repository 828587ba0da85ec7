# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options of nix_delegation as AnsibleModule hands them over; the tests set what they are about."""

from __future__ import annotations

import typing as t

SAMPLE: dict[str, t.Any] = {
    "uri": "ssh-ng://builder@linux-builder",
    "systems": ["aarch64-linux"],
    "ssh_key": "/etc/nix/builder_ed25519",
    "max_jobs": 4,
    "speed_factor": 1.0,
    "supported_features": ["big-parallel"],
    "mandatory_features": [],
    "public_host_key": None,
    "ssh_alias": "Host linux-builder\n",
    "settings": {"build-poll-interval": 1},
    "absent": ["ssl-cert-file"],
    "nix_conf_path": None,
    "drain_timeout": 5,
    "force": False,
    "pending": False,
}
