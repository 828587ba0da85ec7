#!/usr/bin/python
# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: launchd_service
short_description: One launchd job, from property list to running process
version_added: 0.1.0
author: The nixmac authors (@nixmac)
description:
  - Writes the property list of a launchd job, loads it, and sees to it that its process holds.
    Also manages jobs that exist already.
  - Uses C(bootstrap), C(bootout), C(kickstart), C(enable), C(disable) and C(print), never C(load) and C(unload).
  - A changed property list is put in place only after the old job is gone, so that an interrupted run is completed
    by the next one.
  - If a changed job cannot be loaded or does not hold, the old property list and job are put back and the error says why.
options:
  label:
    description:
      - The job's label.
      - Read from O(definition) or from the property list at O(path) when omitted.
    type: str
  domain:
    description:
      - V(system), C(gui/<uid>), C(user/<uid>), or a user's name, which means that user's C(gui) domain.
      - Where nobody is logged in at the screen a C(gui) domain does not exist. The property list is then put in place, launchd
        loads it at the next login, and RV(pending_login) is V(true).
    type: str
    default: system
  definition:
    description:
      - The property list as a dictionary, see the manual page C(launchd.plist). C(Label) may be left out.
      - Wrong types, contradictions, relative paths and misspelt keys are refused. Keys that nobody knows pass with a warning.
      - Compared with the file by value and type. A file that says the same, be it binary, is left alone.
      - When omitted, the job is managed as its property list defines it.
    type: dict
  path:
    description:
      - The property list.
      - When omitted, C(<label>.plist) in C(/Library/LaunchDaemons) for the V(system) domain, and in the user's
        C(~/Library/LaunchAgents) for the others. Without O(definition) the file of the loaded job, or a file of the domain
        that names the label, is used too.
    type: path
  state:
    description:
      - V(started) has the job loaded, and running if it is one that should run. A job with C(KeepAlive) has a process
        all the time, one with only C(RunAtLoad) is running or has ended with exit code 0. Jobs that wait for an interval,
        a date, a path, a socket or a request are right when loaded.
      - V(loaded) has the job loaded, whatever its process does.
      - V(stopped) has the job not loaded. Its property list stays, so it comes back at the next start unless O(enabled=false).
      - V(restarted) boots the job out and loads it again, always. A job without a file is restarted by C(kickstart -k).
      - V(absent) has the job not loaded and its property list removed.
    type: str
    choices: [started, stopped, restarted, loaded, absent]
    default: started
  enabled:
    description:
      - What launchd's override database says about the job, that is whether it may be loaded, now and at the next start.
        The property list is never changed for it.
      - When omitted, the job is enabled only where it is disabled and has to be loaded. The database knows no deletion.
    type: bool
  ready_when:
    description:
      - When the started job is taken for ready. Asked after a change only.
      - When omitted, a job that should run has to outlive its throttle window once (C(ThrottleInterval), 10 seconds by default).
    type: dict
    suboptions:
      tcp:
        description: A C(host:port), C([IPv6 address]:port), or port of 127.0.0.1 that accepts a connection.
        type: str
      command:
        description: A program with its arguments that ends with exit code 0. No shell is involved.
        type: list
        elements: str
  timeout:
    description:
      - Seconds within which a started job has to hold.
      - Waiting for the old job to stop is bounded by its C(ExitTimeOut) instead.
    type: int
    default: 60
  no_log_environment:
    description: Names of C(EnvironmentVariables) in O(definition) whose values are kept out of logs, results and diff.
    type: list
    elements: str
    default: []
  manifest:
    description:
      - Record what lay at the property list's path before this task first changed it, so that
        M(nixmac.linux_builder.builder_manifest) can put it back. Meant for this collection's own roles.
    type: bool
    default: false
extends_documentation_fragment:
  - nixmac.linux_builder.attributes
attributes:
  idempotent:
    support: partial
    details: O(state=restarted) changes at every run.
"""

EXAMPLES = r"""
- name: Keep a daemon running
  nixmac.linux_builder.launchd_service:
    label: org.example.web
    definition:
      ProgramArguments: [/usr/local/bin/web, --port, "8080"]
      KeepAlive: true
      RunAtLoad: true
      StandardErrorPath: /var/log/web.log
    ready_when:
      tcp: 127.0.0.1:8080
  become: true

- name: Run a script every hour
  nixmac.linux_builder.launchd_service:
    label: org.example.sweep
    definition:
      ProgramArguments: [/usr/local/bin/sweep]
      StartInterval: 3600
    state: loaded
  become: true

- name: Run an agent in a user's session
  nixmac.linux_builder.launchd_service:
    label: org.example.agent
    domain: alice
    definition:
      ProgramArguments: [/usr/local/bin/agent]
      KeepAlive: true
      EnvironmentVariables:
        TOKEN: "{{ agent_token }}"
    no_log_environment: [TOKEN]
  become: true

- name: Stop a job that is there already, also after the next start
  nixmac.linux_builder.launchd_service:
    label: com.openssh.sshd
    state: stopped
    enabled: false
  become: true
"""

RETURN = r"""
service:
  description: The job as it is after the module ran. Nothing of its environment is in it.
  returned: success
  type: dict
  contains:
    label:
      description: Its label.
      type: str
    domain:
      description: Its domain.
      type: str
    path:
      description: Its property list, V(null) where there is none.
      type: str
    type:
      description: launchd's word, such as V(LaunchDaemon).
      type: str
    loaded:
      description: Whether launchd knows the job.
      type: bool
    enabled:
      description: Whether launchd may load it. V(null) where that was not looked up.
      type: bool
    state:
      description: launchd's word, such as V(running), V(not running) or V(spawn scheduled), or V(not loaded).
      type: str
    pid:
      description: Its process.
      type: int
    runs:
      description: How often it was started since it was loaded.
      type: int
    last_exit_code:
      description: Exit code of the previous run, so a running job may show one.
      type: int
    last_signal:
      description: Number of the signal that ended the previous run.
      type: int
    program:
      description: What it runs.
      type: str
    run_interval:
      description: Seconds between two starts of an interval job.
      type: int
  sample:
    label: org.example.web
    domain: system
    path: /Library/LaunchDaemons/org.example.web.plist
    type: LaunchDaemon
    loaded: true
    enabled: true
    state: running
    pid: 4711
    runs: 1
    last_exit_code: null
    last_signal: null
    program: /usr/local/bin/web
    run_interval: null
actions:
  description: The steps that were taken, or in check mode would be.
  returned: success
  type: list
  elements: str
  sample: [bootout, write property list, bootstrap]
pending_login:
  description: Whether the job waits for its user to log in at the screen.
  returned: success
  type: bool
failure:
  description: What is known about a job that does not hold.
  returned: when a started job does not hold
  type: dict
  contains:
    exit_code:
      description: Exit code of its last run.
      type: int
    exit_name:
      description: Name of that exit code, such as V(EX_CONFIG).
      type: str
    signal:
      description: Number of the signal that ended its last run.
      type: int
    reason:
      description: launchd's word for a run that macOS ended.
      type: str
    state:
      description: launchd's word for its state.
      type: str
    runs:
      description: How often it was started.
      type: int
    throttled:
      description: Whether launchd holds its next start back.
      type: bool
    log_path:
      description: File with its log.
      type: str
    log_lines:
      description: The last lines of its log.
      type: list
      elements: str
restored:
  description: Whether the old property list and job could be put back.
  returned: when a changed job could not be loaded or does not hold
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _module
from ansible_collections.nixmac.linux_builder.plugins.module_utils._launchd_service import execute, secrets
from ansible_collections.nixmac.linux_builder.plugins.module_utils._outcome import Outcome


class LaunchdModule(AnsibleModule):
    """Knows the secret values before the first line is logged."""

    def _log_invocation(self) -> None:
        self.no_log_values.update(secrets(self.params))
        super()._log_invocation()


def run(params: dict, check_mode: bool) -> Outcome:
    done = execute(params, check_mode)
    result = {"service": done.service, "actions": done.actions, "pending_login": done.pending_login}
    return Outcome(done.changed, result, done.before, done.after, done.path, done.warnings)


def main() -> None:
    module = LaunchdModule(
        argument_spec={
            "label": {"type": "str"},
            "domain": {"type": "str", "default": "system"},
            "definition": {"type": "dict"},
            "path": {"type": "path"},
            "state": {
                "type": "str",
                "default": "started",
                "choices": ["started", "stopped", "restarted", "loaded", "absent"],
            },
            "enabled": {"type": "bool"},
            "ready_when": {
                "type": "dict",
                "options": {"tcp": {"type": "str"}, "command": {"type": "list", "elements": "str"}},
                "mutually_exclusive": [["tcp", "command"]],
                "required_one_of": [["tcp", "command"]],
            },
            "timeout": {"type": "int", "default": 60},
            "no_log_environment": {"type": "list", "elements": "str", "default": [], "no_log": False},
            "manifest": {"type": "bool", "default": False},
        },
        required_one_of=[["label", "definition", "path"]],
        supports_check_mode=True,
    )
    _module.run_module(module, run)


if __name__ == "__main__":
    main()
