# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin_util is PRIVATE to the collection: it may change at any time.

"""All variables of users. Made by tests/tools/make_variable_table.py from the roles' argument specs; change them there."""

from __future__ import annotations

import typing as t

# fmt: off
OPTIONS: dict[str, dict[str, t.Any]] = {
    "linux_builder_accept_any_address": {"type": "bool"},
    "linux_builder_adopt": {"type": "bool"},
    "linux_builder_adopt_directory": {"type": "path"},
    "linux_builder_alias": {"type": "str"},
    "linux_builder_allow_disk_recreate": {"type": "bool"},
    "linux_builder_build_poll_interval": {"type": "int"},
    "linux_builder_ca_file": {"type": "str"},
    "linux_builder_cache": {"type": "str"},
    "linux_builder_cache_public_key": {"type": "str"},
    "linux_builder_config": {"type": "raw"},
    "linux_builder_cores": {"type": "int"},
    "linux_builder_diagnose_timeout": {"type": "int"},
    "linux_builder_disk_mib": {"type": "int"},
    "linux_builder_disk_on_upgrade": {"type": "str", "choices": [
        "keep",
        "recreate",
    ]},
    "linux_builder_drain_timeout": {"type": "int"},
    "linux_builder_export_path": {"type": "str"},
    "linux_builder_force": {"type": "bool"},
    "linux_builder_form": {"type": "str", "choices": [
        "alias",
        "manual",
    ]},
    "linux_builder_grow_file_system": {"type": "bool"},
    "linux_builder_host_address": {"type": "str"},
    "linux_builder_host_key": {"type": "str", "choices": [
        "stock",
        "per_mac",
    ]},
    "linux_builder_keep_data": {"type": "bool"},
    "linux_builder_keep_generations": {"type": "int"},
    "linux_builder_key_path": {"type": "path"},
    "linux_builder_label": {"type": "str"},
    "linux_builder_log_count": {"type": "int"},
    "linux_builder_log_path": {"type": "path"},
    "linux_builder_log_size_kib": {"type": "int"},
    "linux_builder_mandatory_features": {"type": "list", "elements": "str"},
    "linux_builder_max_clock_skew": {"type": "int"},
    "linux_builder_max_free_mib": {"type": "int"},
    "linux_builder_max_jobs": {"type": "int"},
    "linux_builder_memory_mib": {"type": "int"},
    "linux_builder_min_free_mib": {"type": "int"},
    "linux_builder_minimum_macos": {"type": "str"},
    "linux_builder_nested_virtualization": {"type": "bool"},
    "linux_builder_nix_conf_path": {"type": "str"},
    "linux_builder_no_proxy": {"type": "list", "elements": "str"},
    "linux_builder_package": {"type": "str"},
    "linux_builder_package_update": {"type": "bool"},
    "linux_builder_port": {"type": "int"},
    "linux_builder_profile": {"type": "path"},
    "linux_builder_prove": {"type": "bool"},
    "linux_builder_proxy": {"type": "str"},
    "linux_builder_public_host_key": {"type": "str"},
    "linux_builder_ready_timeout": {"type": "int"},
    "linux_builder_report_max_age": {"type": "int"},
    "linux_builder_report_merge": {"type": "list", "elements": "path"},
    "linux_builder_report_path": {"type": "path"},
    "linux_builder_report_title": {"type": "str"},
    "linux_builder_speed_factor": {"type": "int"},
    "linux_builder_ssh_control_master": {"type": "bool"},
    "linux_builder_status_ask": {"type": "bool"},
    "linux_builder_status_deep": {"type": "bool"},
    "linux_builder_status_drift": {"type": "bool"},
    "linux_builder_status_fail_on": {"type": "list", "elements": "str", "choices": [
        "unreachable",
        "failed",
        "down",
        "broken",
        "unverified",
        "drift",
        "problem",
        "skew",
        "disk",
    ]},
    "linux_builder_status_guest": {"type": "bool"},
    "linux_builder_status_guest_timeout": {"type": "int"},
    "linux_builder_stop_timeout": {"type": "int"},
    "linux_builder_substituters": {"type": "list", "elements": "str"},
    "linux_builder_supported_features": {"type": "list", "elements": "str"},
    "linux_builder_systems": {"type": "list", "elements": "str"},
    "linux_builder_time_servers": {"type": "list", "elements": "str"},
    "linux_builder_time_sync": {"type": "bool"},
    "linux_builder_trusted_public_keys": {"type": "list", "elements": "str"},
    "linux_builder_trusted_users": {"type": "list", "elements": "str"},
    "linux_builder_verify_timeout": {"type": "int"},
    "linux_builder_verify_user": {"type": "str"},
    "linux_builder_working_directory": {"type": "path"},
}
# Read by the playbooks, or set by the roles.
OTHERS = frozenset({
    "linux_builder_adopted",
    "linux_builder_bootstrap",
    "linux_builder_bootstrap_python",
    "linux_builder_cache_private_key",
    "linux_builder_diagnosed",
    "linux_builder_hosts",
    "linux_builder_publisher",
    "linux_builder_report",
    "linux_builder_restored",
    "linux_builder_rotation",
    "linux_builder_serial",
    "linux_builder_verified",
})
# fmt: on
