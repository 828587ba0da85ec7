# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixed facts: error numbers and their names, exit code names, signals with macOS numbers."""

from __future__ import annotations

import signal

EIO = 5
EINPROGRESS = 36
EALREADY = 37
BAD_PLIST = 109
BAD_LABEL = 110
BAD_PROGRAM = 111
NO_DOMAIN = 112
NO_SERVICE = 113
NO_USER = 114
NO_GROUP = 115
DISABLED = 119
BAD_OWNER = 122
BAD_ACTION = 125
MULTIPLE = 133
BAD_SESSION = 134
SIP = 150
EX_USAGE = 64
EX_CONFIG = 78

# Numbers and words of macOS, not of Linux: 35-37 differ between the two.
ERRORS = {
    1: "Operation not permitted",
    2: "No such file or directory",
    3: "No such process",
    4: "Interrupted system call",
    5: "Input/output error",
    9: "Bad file descriptor",
    12: "Cannot allocate memory",
    13: "Permission denied",
    16: "Resource busy",
    17: "File exists",
    20: "Not a directory",
    21: "Is a directory",
    22: "Invalid argument",
    35: "Resource temporarily unavailable",
    36: "Operation now in progress",
    37: "Operation already in progress",
    107: "Malformed bundle",
    108: "Invalid path",
    109: "Invalid property list",
    110: "Invalid or missing service identifier",
    111: "Invalid or missing Program/ProgramArguments",
    112: "Could not find specified domain",
    113: "Could not find specified service",
    114: "The specified username does not exist",
    115: "The specified group does not exist",
    116: "Routine not yet implemented",
    118: "Bad response from server",
    119: "Service is disabled",
    120: "Bad subsystem destination for request",
    121: "Path not searched for services",
    122: "Path had bad ownership/permissions",
    123: "Path is whitelisted for domain",
    124: "Domain is tearing down",
    125: "Domain does not support specified action",
    126: "Request type is no longer supported",
    127: "The specified service did not ship with the operating system",
    128: "The specified path is not a bundle",
    129: "The service was superseded by a later version",
    131: "The system encountered a condition where behavior was undefined",
    132: "Out of order requests",
    133: "Multiple errors were returned, see stderr",
    134: "Service cannot load in requested session",
    135: "Process is not managed",
    136: "Action not allowed on singleton service",
    137: "Service does not support the specified action",
    138: "Service cannot be loaded on this hardware",
    139: "Service cannot presently execute",
    140: "Service name is reserved or invalid",
    141: "Reentrancy avoided",
    142: "Operation only supported on development build",
    143: "Requested entry was cached",
    144: "Requestor lacks required entitlement",
    145: "Endpoint is hidden",
    146: "Domain is in on-demand-only mode",
    150: "Operation not permitted while System Integrity Protection is engaged",
    151: "Hack",
    152: "Service cannot load in current boot environment",
    153: "Completely unexpected error",
    154: "Requestor is not a platform binary",
    155: "Refusing to execute/trust quarantined program/file",
    158: "Service is not supported on this OS variant",
    159: "Unknown error",
    161: "Service is not allowed by background task management policy",
}

EXIT_NAMES = {
    64: "EX_USAGE", 65: "EX_DATAERR", 66: "EX_NOINPUT", 67: "EX_NOUSER", 68: "EX_NOHOST",
    69: "EX_UNAVAILABLE", 70: "EX_SOFTWARE", 71: "EX_OSERR", 72: "EX_OSFILE", 73: "EX_CANTCREAT",
    74: "EX_IOERR", 75: "EX_TEMPFAIL", 76: "EX_PROTOCOL", 77: "EX_NOPERM", 78: "EX_CONFIG",
}  # fmt: skip

# name -> (number on macOS, word of strsignal(3) on macOS)
MAC_SIGNALS = {
    "HUP": (1, "Hangup"),
    "INT": (2, "Interrupt"),
    "QUIT": (3, "Quit"),
    "ILL": (4, "Illegal instruction"),
    "TRAP": (5, "Trace/BPT trap"),
    "ABRT": (6, "Abort trap"),
    "FPE": (8, "Floating point exception"),
    "KILL": (9, "Killed"),
    "BUS": (10, "Bus error"),
    "SEGV": (11, "Segmentation fault"),
    "SYS": (12, "Bad system call"),
    "PIPE": (13, "Broken pipe"),
    "ALRM": (14, "Alarm clock"),
    "TERM": (15, "Terminated"),
    "URG": (16, "Urgent I/O condition"),
    "STOP": (17, "Suspended (signal)"),
    "TSTP": (18, "Suspended"),
    "CONT": (19, "Continued"),
    "CHLD": (20, "Child exited"),
    "TTIN": (21, "Stopped (tty input)"),
    "TTOU": (22, "Stopped (tty output)"),
    "IO": (23, "I/O possible"),
    "XCPU": (24, "Cputime limit exceeded"),
    "XFSZ": (25, "Filesize limit exceeded"),
    "VTALRM": (26, "Virtual timer expired"),
    "PROF": (27, "Profiling timer expired"),
    "WINCH": (28, "Window size changes"),
    "USR1": (30, "User defined signal 1"),
    "USR2": (31, "User defined signal 2"),
}
_NAME_OF_LINUX = {int(getattr(signal, "SIG" + name)): name for name in MAC_SIGNALS}
_NAME_OF_MAC = {number: name for name, (number, dummy) in MAC_SIGNALS.items()}
CRASH_SIGNALS = frozenset(
    (signal.SIGILL, signal.SIGTRAP, signal.SIGABRT, signal.SIGFPE, signal.SIGBUS, signal.SIGSEGV, signal.SIGSYS, signal.SIGQUIT)
)


class LaunchError(Exception):
    """A launchd error number; `detail` goes to the log only, as the client shows just the number."""

    def __init__(self, number: int, detail: str = "") -> None:
        super().__init__(number, detail)
        self.number = number
        self.detail = detail


def describe(number: int) -> str:
    """`5` -> `Input/output error`; unknown numbers read as macOS prints them."""
    return ERRORS.get(number, f"Unknown error: {number}")


def mac_signal(linux_number: int) -> int:
    """The number macOS gives the signal that Linux calls `linux_number`."""
    name = _NAME_OF_LINUX.get(linux_number)
    return MAC_SIGNALS[name][0] if name else linux_number


def signal_words(linux_number: int) -> str:
    """`Terminated: 15`, as print's `last terminating signal` has it."""
    name = _NAME_OF_LINUX.get(linux_number)
    number, words = MAC_SIGNALS[name] if name else (linux_number, "Unknown signal")
    return f"{words}: {number}"


def parse_signal(word: str) -> int | None:
    """`SIGTERM`, `TERM` or a macOS number -> Linux number; None if unknown."""
    if word.isdigit():
        name = _NAME_OF_MAC.get(int(word))
    else:
        name = word.upper()
        name = name[3:] if name.startswith("SIG") else name
    if name is None or name not in MAC_SIGNALS:
        return None
    return int(getattr(signal, "SIG" + name))
