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
      - Reports (C(fleet.json)) of other controllers or earlier runs, each a file on this controller or a URL.
      - A directory, or a URL that ends in a slash, is a place where each Mac leaves its own report as C(<name>.json). There only
        what a file says of the Mac whose name it has counts. Over HTTP the files of O(hosts) are asked for.
      - Of rows with the same name the one that was seen last is kept.
    type: list
    elements: path
    default: []
  asked:
    description:
      - V(false) where no task asked the O(hosts) in this run, because all is in O(merge). A host without a report is then a
        row that says so.
    type: bool
    default: true
  max_age:
    description: A Mac that was last seen more than this many hours ago counts as unreachable. V(0) is any age.
    type: int
    default: 0
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

- name: One page of what Macs that pull their configuration have left on a file share
  nixmac.linux_builder.fleet_report:
    hosts: "{{ groups.macs }}"
    variable: mac
    asked: false
    merge: [/srv/linux-builder-reports]
    max_age: 48
    path: ./linux-builder-status
  run_once: true
  delegate_to: localhost
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
