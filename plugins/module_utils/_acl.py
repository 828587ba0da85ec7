# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""Access control lists and extended attributes of a file that is replaced by a new one."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
import typing as t

# <copyfile.h>: Python offers no ACL calls, and a rename would drop the list that an administrator set.
_COPYFILE_ACL = 1 << 0
_COPYFILE_XATTR = 1 << 2
_NOT_HERE = (errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM, errno.ENODATA)


def copy(path: str, descriptor: int) -> None:
    """Give the open file the ACL and the extended attributes of `path`. OSError when that fails.

    File systems without them, and attributes that only the kernel may set, are passed over.
    """
    if sys.platform == "darwin":
        copy_with_copyfile(ctypes.CDLL(None, use_errno=True), path, descriptor)
    else:
        _copy_attributes(path, descriptor)


def copy_with_copyfile(libc: t.Any, path: str, descriptor: int) -> None:
    """fcopyfile(3) of macOS, for ACL and extended attributes alone."""
    source = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        if libc.fcopyfile(source, descriptor, None, _COPYFILE_ACL | _COPYFILE_XATTR) != 0:
            number = ctypes.get_errno()
            if number not in _NOT_HERE:
                raise OSError(number, os.strerror(number), path)
    finally:
        os.close(source)


def _copy_attributes(path: str, descriptor: int) -> None:
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError as exc:
        if exc.errno in _NOT_HERE:
            return
        raise
    for name in names:
        try:
            os.setxattr(descriptor, name, os.getxattr(path, name, follow_symlinks=False))
        except OSError as exc:
            if exc.errno not in _NOT_HERE:
                raise
