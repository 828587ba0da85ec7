# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""The script that launchd runs, and the launchd job that runs it.

The script is POSIX sh: launchd's world on a Mac has no Python. It holds one VM, turns a SIGTERM into an
orderly `shutdown now` in the guest, and never leaves a VM behind that the next start would not find.

While the VM runs, the log is the runner's own: a descriptor that launchd opened, or QEMU's, would follow a log that
newsyslog(8) renames. launchd opens the same file for what is said before, and by a shell that does not find the runner.
"""

from __future__ import annotations

import hashlib
import shlex
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_layout import SSH, USER, ssh_options
from ansible_collections.nixmac.linux_builder.plugins.module_utils._builder_spec import Spec

# After stop_timeout: 5 s between SIGTERM and SIGKILL for QEMU, 5 s for the log's last lines, and what the shell itself needs.
_STOP_MARGIN = 20


_HEAD = """\
#!/bin/sh
# Written by nixmac.linux_builder.builder_vm; changes are lost at its next run.
# Runs the Linux builder's VM until it ends or until SIGTERM, which becomes an orderly shutdown of the guest.
set -u
umask 022
PATH=/usr/bin:/bin:/usr/sbin:/sbin
export PATH
"""

# Everything below knows its host only through the variables that `text` puts before it.
_BODY = r"""
claims=$directory/run
pid_file=$directory/run/vm.pid
runner_pid=$directory/run/runner.pid
console=$directory/run/console
reopen='run-builder: open the log again'
claim=
sole=
keeper=
starting=
vm=
spent=0

say() {
    printf '%s run-builder[%s]: %s\n' "$(date '+%Y-%m-%dT%H:%M:%S%z')" "$$" "$*"
}

# Whether process $1 lives. A zombie does not: it only waits to be reaped, kill -0 would take it for alive.
running() {
    case $(ps -o stat= -p "$1" 2>/dev/null) in
        '' | Z* | *' Z'*) return 1 ;;
    esac
    return 0
}

# Whether process $1 lives and has one of the further arguments in its command line. Process ids are used
# again, after a reboot above all; a number in a file alone proves nothing.
running_as() {
    running "$1" || return 1
    command_line=$(ps -ww -o args= -p "$1" 2>/dev/null) || return 1
    shift
    for word in "$@"; do
        case $command_line in
            *"$word"*) return 0 ;;
        esac
    done
    return 1
}

# Copy lines to standard output to their end (status 0), or until the log has to be opened again (status 3).
copy_lines() {
    while IFS= read -r line; do
        case $line in
            "$reopen") return 3 ;;
            # After a prompt, which no line's end follows.
            *"$reopen")
                printf '%s\n' "${line%"$reopen"}"
                return 3
                ;;
        esac
        printf '%s\n' "$line"
        [ -e "$log" ] || return 3
    done
    [ -z "$line" ] || printf '%s\n' "$line"
    return 0
}

# Append standard input to the log, whatever becomes of the log meanwhile. What cannot be written is lost: a VM whose
# console nobody reads would stand still.
write_log() {
    while :; do
        copy_lines >>"$log"
        case $? in
            0) return 0 ;;
            3) continue ;;
        esac
        if [ ! -d "${log%/*}" ] && mkdir -p "${log%/*}"; then
            continue
        fi
        IFS= read -r line || return 0
    done
}

# Ends with the last writer of its standard input, and by no signal but SIGKILL; a killed reader is followed by another.
keep_log() {
    trap '' TERM INT HUP
    until (write_log); do
        sleep 1
    done
}

# Make descriptor 3, through which the VM's console comes into the log. Opened for reading too: nobody waits for the other
# end then, nor gets SIGPIPE when it is gone.
start_log() {
    rm -f "$console"
    mkfifo -m 0600 "$console" || leave 73
    exec 3<>"$console"
    exec 4<"$console"
    # exec, as a shell keeps what it redirects for a function only, and an end would stay open with it.
    (
        exec <&4 >/dev/null 2>&1 3>&- 4<&-
        keep_log
    ) &
    keeper=$!
    # What newsyslog sends when it has renamed the log becomes a line among the console's lines, so none is lost or torn. In
    # the background, as the reader may be stuck.
    trap '(printf "%s\n" "$reopen" >"$console" &)' HUP
    echo "$$" >"$runner_pid"
}

# From here on what is said goes into the log itself: the reader may be stuck, and the guest's shutdown must not wait for it.
say_directly() {
    trap : HUP
    if (: >>"$log") 2>/dev/null; then
        exec >>"$log" 2>&1
    fi
}

# Let the console's last lines come into the log; but not longer than 5 s, as a stray process of the VM may hold it open.
end_log() {
    [ -n "$keeper" ] || return 0
    rm -f "$console" "$runner_pid"
    say_directly
    exec 3>&- 4<&-
    (
        sleep 5
        kill -KILL "$keeper"
    ) >/dev/null 2>&1 &
    limit=$!
    # bash would tell of those that were killed.
    {
        while running "$keeper"; do
            wait "$keeper"
        done
        kill -KILL "$limit"
        wait "$limit"
    } 2>/dev/null
    keeper=
}

# Wait a second and add to `spent` what it really took, which is more on a busy Mac; but never more than 5, or
# a Mac that slept meanwhile would cut its guest short.
tick() {
    sleep 1
    now=$(date +%s)
    step=$((now - last))
    [ "$step" -ge 1 ] || step=1
    [ "$step" -le 5 ] || step=5
    last=$now
    spent=$((spent + step))
}

# Ask the guest of process $1 to power off; not longer than 15 s, nor than stop_timeout leaves.
ask_guest() {
    # shellcheck disable=SC2016 # PATH is the guest's
    ssh_to_guest 'PATH=$PATH:/run/current-system/sw/bin:/usr/sbin:/sbin; exec shutdown now' </dev/null >/dev/null 2>&1 &
    ask=$!
    until=$((spent + 15))
    while [ "$spent" -lt "$until" ] && [ "$spent" -lt "$stop_timeout" ] && running "$ask" && running "$1"; do
        tick
    done
    kill -KILL "$ask" 2>/dev/null
    wait "$ask" 2>/dev/null
}

# Stop the VM of process $1: orderly within stop_timeout, else by signal.
stop_vm() {
    spent=0
    next=0
    last=$(date +%s)
    while running "$1" && [ "$spent" -lt "$stop_timeout" ]; do
        # Asked again now and then: a guest that is still booting hears only a later question.
        if [ "$spent" -ge "$next" ]; then
            ask_guest "$1"
            next=$((spent + 10))
        fi
        running "$1" || break
        tick
    done
    if ! running "$1"; then
        end_log
        say "the guest has powered off after $spent s"
        return
    fi
    say "the guest has not powered off within $stop_timeout s; stopping the VM (process $1) by signal"
    kill -TERM "$1" 2>/dev/null
    until=$((spent + 5))
    while [ "$spent" -lt "$until" ] && running "$1"; do
        tick
    done
    kill -KILL "$1" 2>/dev/null
}

# End with status $1. What belongs to a VM is removed only by the instance that may have one.
leave() {
    trap '' TERM INT HUP
    end_log
    if [ -n "$sole" ]; then
        rm -f "$pid_file"
        rm -rf "$directory/tmp"
        mkdir -m 0700 "$directory/tmp"
    fi
    [ -z "$claim" ] || rm -f "$claim"
    exit "$1"
}

# shellcheck disable=SC2317 # called by trap
on_stop() {
    trap '' TERM INT
    # The signal may come between the VM's start and the assignment that remembers it.
    if [ -z "$vm" ] && [ -n "$starting" ] && [ "$!" != "$started_before" ]; then
        vm=$!
    fi
    [ -z "$keeper" ] || say_directly
    if [ -n "$vm" ] && running "$vm"; then
        say "asked to stop: shutting the guest down"
        stop_vm "$vm"
        wait "$vm" 2>/dev/null
    else
        say "asked to stop: no VM runs"
    fi
    leave 0
}

# Two VMs on one disk would destroy it. Everybody first writes a claim and then looks for other living ones, so
# of two that start at once at least one sees the other. A claim of a dead process is nobody's and is removed.
take_claim() {
    claim=$claims/instance.$$.$(date +%s)
    : >"$claim" || exit 73
    for other in "$claims"/instance.*; do
        [ "$other" != "$claim" ] || continue
        pid=${other##*/instance.}
        pid=${pid%%.*}
        if [ "$pid" != "$$" ] && running_as "$pid" run-builder; then
            say "process $pid already runs the builder on $disk; this one ends"
            leave 75
        fi
        rm -f "$other"
    done
    sole=yes
}

# A VM that outlived its runner (kill -9) still writes to the disk: stop it first.
stop_leftover() {
    [ -s "$pid_file" ] || return 0
    read -r pid <"$pid_file" || return 0
    case $pid in
        '' | *[!0-9]*) pid=0 ;;
    esac
    if [ "$pid" -gt 1 ] && running_as "$pid" "$disk" "$(pwd -P)/${disk##*/}" "$program" "$directory/vzvm.json"; then
        say "a VM of an earlier run is left (process $pid): stopping it first"
        vm=$pid
        stop_vm "$pid"
        # A killed one may still be at the disk for a moment, and not every system has QEMU's lock on it.
        while running "$pid"; do tick; done
        vm=
    fi
    rm -f "$pid_file"
}

cd "$directory" || exit 78
trap on_stop TERM INT
trap : HUP
take_claim
stop_leftover

if [ ! -x "$program" ]; then
    say "$program is missing: run the builder role again"
    leave 78
fi
if [ ! -s "$directory/keys/builder_ed25519.pub" ]; then
    say "$directory/keys/builder_ed25519.pub is missing: the guest would let nobody in; run the builder role again"
    leave 78
fi
if [ ! -s "${NIX_SSL_CERT_FILE:=$ca_file}" ]; then
    say "NIX_SSL_CERT_FILE ($NIX_SSL_CERT_FILE) is missing: the guest will have no CA certificates"
fi

rm -rf "$directory/tmp"
mkdir -m 0700 "$directory/tmp" || leave 73
KEYS=$directory/keys
NIX_DISK_IMAGE=$disk
VZVM_STATE_DIR=$directory
TMPDIR=$directory/tmp
USE_TMPDIR=1
export KEYS NIX_DISK_IMAGE NIX_SSL_CERT_FILE QEMU_OPTS TMPDIR USE_TMPDIR VZVM_STATE_DIR
unset QEMU_NET_OPTS QEMU_KERNEL_PARAMS

say "starting the VM: $QEMU_OPTS, ssh on $address port $port"
start_log
started_before=$!
starting=yes
# The VM's process writes its own number before it becomes the VM: no moment in which it runs unrecorded.
/bin/sh -c 'echo "$$" >"$1" && exec "$2"' run-builder-vm "$pid_file" "$program" </dev/null >&3 2>&1 3>&- 4<&- &
vm=$!
# Nobody but the reader holds the log open now.
exec >/dev/null 2>&1 3>&- 4<&-
while :; do
    status=0
    wait "$vm" || status=$?
    running "$vm" || break # else only a signal ended the wait
done
# The signal may have come in the moment in which the VM ended; then the VM's own status is still to be had (else 127).
again=0
wait "$vm" || again=$?
[ "$again" -eq 127 ] || status=$again
end_log
say "the VM has ended with status $status"
leave "$status"
"""


def text(spec: Spec, program: str) -> str:
    """The runner script. program: name of the VM's start script in the profile's bin."""
    layout = spec.layout
    options = ssh_options(layout.known_hosts, spec.client_key, connect_timeout=5)
    variables = {
        "directory": layout.working_directory,
        "disk": layout.disk,
        "program": f"{layout.profile}/bin/{program}",
        "log": layout.log_path,
        "address": spec.host_address,
        "port": str(spec.port),
        "ca_file": spec.ca_file,
        "stop_timeout": str(spec.stop_timeout),
        "QEMU_OPTS": f"-m {spec.memory_mib} -smp {spec.cores}",
    }
    lines = [f"{name}={shlex.quote(value)}\n" for name, value in variables.items()]
    command = shlex.join([SSH, *options, "-p", str(spec.port), f"{USER}@{spec.connect_address}", "--"])
    ssh = f'\nssh_to_guest() {{\n    {command} "$1"\n}}\n'
    return _HEAD + "".join(lines) + ssh + _BODY


def digest(runner: str, store_path: str | None) -> str:
    """Short digest of everything that needs a new process when it changes; store_path None: not realised yet."""
    return hashlib.sha256(f"{runner}\0{store_path or 'to be realised'}".encode()).hexdigest()[:16]


def definition(spec: Spec, runner: str, store_path: str | None) -> dict[str, t.Any]:
    """The launchd job as a property list's dict."""
    layout = spec.layout
    return {
        "Label": layout.label,
        "ProgramArguments": [
            "/bin/sh",
            "-c",
            # The Nix volume is mounted some time after launchd starts its daemons.
            f"/bin/wait4path /nix/store && exec {shlex.quote(layout.runner)}",
        ],
        "RunAtLoad": True,
        "KeepAlive": True,
        "WorkingDirectory": layout.working_directory,
        "StandardOutPath": layout.log_path,
        "StandardErrorPath": layout.log_path,
        "EnvironmentVariables": {
            "NIX_SSL_CERT_FILE": spec.ca_file,
            "TMPDIR": layout.temporary,
            "USE_TMPDIR": "1",
            "LINUX_BUILDER_DIGEST": digest(runner, store_path),
        },
        "ExitTimeOut": spec.stop_timeout + _STOP_MARGIN,
        # The default, Standard, lets macOS throttle processor and disk of what looks like background work.
        "ProcessType": "Interactive",
    }
