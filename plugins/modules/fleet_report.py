#!/usr/bin/python
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_report
short_description: What the Macs of a play answered, as a page, a JSON file and a table
version_added: 0.1.0
author:
  - The nixmac authors (@nixmac)
description:
  - Makes one row per Mac of what M(nixmac.linux_builder.builder_info) registered there.
  - Writes them as C(fleet.html) and C(fleet.json), and shows them in the terminal.
  - The page stands alone. It needs no server and makes no request. It can be sorted and filtered.
  - A Mac that was unreachable or could not be read is a row too.
  - Only known fields get in. Passwords in URLs, tokens and keys in messages are masked.
  - Runs on the controller and contacts no host.
extends_documentation_fragment:
  - nixmac.linux_builder.attributes
attributes:
  check_mode:
    support: full
    details: The table is shown and nothing is written.
  diff_mode:
    support: none
    details: The report has the time of its making in it.
  idempotent:
    support: N/A
    details: It never reports a change; each run writes a new report.
  platform:
    platforms: all
    support: full
options:
  hosts:
    description: Names of the hosts that shall have a row, usually C(ansible_play_hosts_all).
    type: list
    elements: str
    required: true
  variable:
    description: Name of the variable that the task with M(nixmac.linux_builder.builder_info) registered on each of them.
    type: str
    required: true
  path:
    description: Directory on the controller for both files. A relative one begins where C(ansible-playbook) was started.
    type: path
    required: true
  title:
    description: Heading of the page.
    type: str
    default: Linux builders
  merge:
    description:
      - Reports (C(fleet.json)) of other controllers or earlier runs, on this controller.
      - Of rows with the same name the one that was seen last is kept.
    type: list
    elements: path
    default: []
  fail_on:
    description:
      - Fail, after the report is written, when one of these holds for a Mac.
      - V(down) is a builder that is stopped, silent or not there. V(unverified) is an image without a verified build.
    type: list
    elements: str
    choices: [unreachable, failed, down, broken, unverified, drift, problem, skew, disk]
    default: []
  table:
    description: Show the table in the terminal.
    type: bool
    default: true
seealso:
  - module: nixmac.linux_builder.builder_info
"""

EXAMPLES = r"""
- name: Ask each Mac
  nixmac.linux_builder.builder_info:
    guest: true
  become: true
  register: mac
  ignore_errors: true
  ignore_unreachable: true

- name: Write the report
  nixmac.linux_builder.fleet_report:
    hosts: "{{ ansible_play_hosts_all }}"
    variable: mac
    path: ./linux-builder-status
  run_once: true
"""

RETURN = r"""
html:
  description: Path of the page.
  returned: always
  type: str
  sample: /home/ops/linux-builder-status/fleet.html
json:
  description: Path of the JSON file, which C(docs/fleet-report.schema.json) describes.
  returned: always
  type: str
  sample: /home/ops/linux-builder-status/fleet.json
summary:
  description: Counts of the fleet, as in the JSON file.
  returned: always
  type: dict
  sample: {"macs": 200, "well": 187, "reachable": 198, "verified": 191}
"""
