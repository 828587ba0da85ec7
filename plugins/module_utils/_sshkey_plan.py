# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module_util is PRIVATE to the collection: it may change at any time.

"""What has to happen to a key pair: pure decisions from what is asked and what was read.

The private half is the authority: the public half is always made from it, never the other way round.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import ConfigError, FileError, StateError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._sshkey import (
    PrivateKey,
    PublicKey,
    parse_blob,
    parse_private,
    parse_public,
)
from ansible_collections.nixmac.linux_builder.plugins.module_utils._sshkey_wire import KeyFormatError, normalise

PUBLIC_MODE = 0o644
RSA_MINIMUM = 3072
SIZES = {"ed25519": (256,), "ecdsa": (256, 384, 521), "rsa": range(RSA_MINIMUM, 16385)}

KEEP, GENERATE, INSTALL, REWRITE, REMOVE = "keep", "generate", "install", "rewrite", "remove"


@dataclasses.dataclass(frozen=True)
class Half:
    """One file of the pair as it was read; `kind`: absent, file, symlink, directory or other."""

    kind: str = "absent"
    content: bytes | None = dataclasses.field(default=None, repr=False)
    uid: int = -1
    gid: int = -1
    mode: int = 0
    identity: tuple[int, ...] = ()  # device, inode, size and mtime, to notice somebody else's change

    @property
    def there(self) -> bool:
        """Whether there is anything at the path."""
        return self.kind != "absent"


class Pair(t.NamedTuple):
    """Both halves. `unfinished`: an interrupted run left its journal; the halves are those that it will be resolved to."""

    private: Half = Half()
    public: Half = Half()
    unfinished: bool = False
    old_backups: tuple[str, ...] = ()


class Wish(t.NamedTuple):
    """What the user asks for, checked: ids are -1 and type, size, comment None where nothing is asked."""

    path: str
    state: str = "present"
    type: str | None = None
    size: int | None = None
    comment: str | None = None
    uid: int = -1
    gid: int = -1
    mode: int = 0o600
    regenerate: str = "if_invalid"
    given: PrivateKey | None = None
    backup: bool = True
    remove_backups: bool = False
    caller: tuple[int, int] = (0, 0)  # uid and gid that new files get where nothing is asked

    @property
    def public_path(self) -> str:
        """The .pub file."""
        return self.path + ".pub"

    @property
    def new_type(self) -> str:
        """Type of a generated key."""
        return self.type or "ed25519"

    @property
    def new_size(self) -> int:
        """Bits of a generated key."""
        return self.size or {"ed25519": 256, "ecdsa": 256, "rsa": RSA_MINIMUM}[self.new_type]


class Access(t.NamedTuple):
    """Owner, group and mode that one file shall have."""

    uid: int
    gid: int
    mode: int


@dataclasses.dataclass
class Plan:
    """The steps, and what the pair will be.

    key: keep, generate, install (the given key), rewrite (the same key in a form that ssh reads) or remove.
    public_text: the .pub file to write, "" when it follows from a key that is yet to be generated, None to leave it.
    private_access, public_access: wanted owner and mode; fix_private, fix_public: change them on the file that stays.
    """

    key: str
    private_access: Access
    public_access: Access
    public: PublicKey | None = None
    comment: str = ""
    public_text: str | None = None
    fix_private: bool = False
    fix_public: bool = False
    back_up_private: bool = False
    back_up_public: bool = False
    recover: bool = False
    remove: tuple[str, ...] = ()
    reason: str = ""
    warnings: list[str] = dataclasses.field(default_factory=list)

    @property
    def replaces_private(self) -> bool:
        """Whether the private file is written anew."""
        return self.key in (GENERATE, INSTALL, REWRITE)

    @property
    def changed(self) -> bool:
        """Whether any step changes the disk."""
        return bool(
            self.key != KEEP or self.public_text is not None or self.fix_private or self.fix_public or self.recover or self.remove
        )


class Found(t.NamedTuple):
    """What the private file turned out to be: a key, or a problem and perhaps the identity it stood for."""

    key: PrivateKey | None = None
    problem: str = ""
    identity: PublicKey | None = None


def make_plan(wish: Wish, pair: Pair) -> Plan:
    """Decide. Raises FileError for what is never touched (symlinks, directories), StateError where `regenerate` forbids."""
    _refuse_odd_files(wish, pair)
    if wish.state == "absent":
        return _plan_absent(wish, pair)
    found = _look(pair)
    key, reason, warnings = _decide(wish, pair, found)
    plan = Plan(
        key,
        private_access=_access(wish, pair.private, None, wish.mode),
        public_access=_access(wish, pair.public, pair.private, PUBLIC_MODE),
        reason=reason,
        warnings=warnings,
        recover=pair.unfinished,
    )
    if key == GENERATE:
        plan.comment, plan.public_text = _comment(wish, pair, None, found.key), ""
    else:
        _plan_public(plan, wish, pair, found)
    _plan_backups(plan, wish, pair)
    _plan_access(plan, wish, pair)
    return plan


def _refuse_odd_files(wish: Wish, pair: Pair) -> None:
    for path, half in ((wish.path, pair.private), (wish.public_path, pair.public)):
        if half.kind not in ("absent", "file"):
            what = {"symlink": "a symbolic link", "directory": "a directory"}.get(half.kind, "no regular file")
            raise FileError(
                f"{path}: is {what}, and a key is only ever a regular file here. Nothing was changed. "
                "Move it away, or name another path.",
                path=path,
            )


def _plan_absent(wish: Wish, pair: Pair) -> Plan:
    there = pair.private.there or pair.public.there
    plan = Plan(
        REMOVE if there else KEEP,
        _access(wish, pair.private, None, wish.mode),
        _access(wish, pair.public, None, PUBLIC_MODE),
        recover=pair.unfinished,
        remove=pair.old_backups if wish.remove_backups else (),
    )
    plan.back_up_private = wish.backup and bool(pair.private.content)
    plan.back_up_public = wish.backup and bool(pair.public.content)
    return plan


def _look(pair: Pair) -> Found:
    if not pair.private.there:
        return Found(problem="is missing", identity=_public_of(pair))
    try:
        return Found(parse_private(pair.private.content or b""))
    except KeyFormatError as exc:
        problem = exc.message if pair.private.content else "is empty"
        try:
            return Found(problem=problem, identity=parse_blob(exc.blob) if exc.blob else _public_of(pair))
        except KeyFormatError:
            return Found(problem=problem, identity=_public_of(pair))


def _public_of(pair: Pair) -> PublicKey | None:
    try:
        return parse_public(pair.public.content or b"")[0]
    except KeyFormatError:
        return None


def _decide(wish: Wish, pair: Pair, found: Found) -> tuple[str, str, list[str]]:
    """(key step, reason, warnings)."""
    unfit = _unfit(wish, found)
    if wish.given is not None:
        return _decide_given(wish, pair, found)
    if found.key is None and not pair.private.there and not pair.public.there:
        return GENERATE, "there is no key yet", []
    if wish.regenerate == "always":
        return GENERATE, "regenerate is 'always'", []
    if not unfit:
        return _keep(found, pair), "", []
    if wish.regenerate == "if_invalid":
        return GENERATE, f"the key {unfit}", []
    if wish.regenerate == "never" and found.key is not None:
        warning = f"{wish.path}: the key {unfit}; it is kept because regenerate is 'never'."
        return _keep(found, pair), "", [warning]
    raise _refusal(wish, unfit)


def _keep(found: Found, pair: Pair) -> str:
    """A key that is right but in a form that ssh refuses (CRLF, no last newline) is written anew."""
    text = found.key.text if found.key else ""
    return KEEP if pair.private.content == text.encode() else REWRITE


def _decide_given(wish: Wish, pair: Pair, found: Found) -> tuple[str, str, list[str]]:
    given = t.cast(PrivateKey, wish.given)
    if found.key is not None and found.key.public == given.public:
        return _keep(found, pair), "", []
    if found.key is None and found.identity in (None, given.public) and (found.identity or not _anything(pair)):
        return INSTALL, f"the private key {found.problem}", []
    if wish.regenerate in ("if_invalid", "always"):
        return INSTALL, f"the key {found.problem or 'is another one than the given private_key'}", []
    raise _refusal(wish, found.problem or "is another one than the given private_key")


def _anything(pair: Pair) -> bool:
    return pair.private.there or pair.public.there


def _unfit(wish: Wish, found: Found) -> str:
    """Why the key is not what is asked for; "" when it is."""
    if found.key is None:
        return found.problem
    return mismatch(wish.type, wish.size, found.key.public)


def mismatch(wanted_type: str | None, wanted_size: int | None, key: PublicKey) -> str:
    """Why a key is not of the wanted type and size; "" when it is. None accepts each accepted one."""
    if wanted_type is not None and key.type != wanted_type:
        return f"is of type {key.type}, not {wanted_type}"
    if wanted_size is not None and key.bits != wanted_size:
        return f"has {key.bits} bits, not {wanted_size}"
    if key.bits not in SIZES[key.type]:
        return f"has {key.bits} bits; at least {RSA_MINIMUM} are accepted for rsa"
    return ""


def _refusal(wish: Wish, problem: str) -> StateError:
    return StateError(
        f"{wish.path}: the private key {problem}, and regenerate is {wish.regenerate!r}. Nothing was changed. "
        "Put the right key back (a backup is named after it, ending in ~), give it as private_key, "
        "or set regenerate to 'if_invalid' to replace it.",
        path=wish.path,
    )


def _plan_public(plan: Plan, wish: Wish, pair: Pair, found: Found) -> None:
    """The .pub file for a key that is known."""
    key = t.cast(PrivateKey, wish.given if plan.key == INSTALL else found.key)
    plan.public = key.public
    plan.comment = _comment(wish, pair, key.public, key)
    text = plan.public.line(plan.comment) + "\n"
    plan.public_text = None if pair.public.content == text.encode() else text


def _comment(wish: Wish, pair: Pair, public: PublicKey | None, key: PrivateKey | None) -> str:
    """What is asked, else what the .pub file says (if it is that of `public`; None: of any key), else the private half."""
    if wish.comment is not None:
        return wish.comment
    try:
        old, comment = parse_public(pair.public.content or b"")
        if public in (None, old):
            return comment
    except KeyFormatError:
        pass
    return key.comment if key else ""


def _plan_backups(plan: Plan, wish: Wish, pair: Pair) -> None:
    """Back up all content but that of the very key that will be there, even if it looks like rubbish."""
    if not wish.backup:
        return
    plan.back_up_private = plan.key in (GENERATE, INSTALL) and bool(pair.private.content)
    same = plan.public is not None and _public_of(pair) == plan.public
    plan.back_up_public = plan.public_text is not None and bool(pair.public.content) and not same


def _plan_access(plan: Plan, wish: Wish, pair: Pair) -> None:
    plan.fix_private = pair.private.there and not plan.replaces_private and _differs(pair.private, plan.private_access)
    plan.fix_public = pair.public.there and plan.public_text is None and _differs(pair.public, plan.public_access)
    if pair.private.there and pair.private.mode & 0o077 and plan.key in (KEEP, REWRITE):
        plan.warnings.append(
            f"{wish.path}: the private key had mode {pair.private.mode:04o}, so others may have read it. "
            "Rotate it (regenerate: always) unless you know better."
        )


def _differs(half: Half, access: Access) -> bool:
    return (half.uid, half.gid, half.mode) != (access.uid, access.gid, access.mode)


def _access(wish: Wish, half: Half, model: Half | None, mode: int) -> Access:
    """What is asked, else what the file has, else what the other half has, else the caller."""
    known = next((one for one in (half, model) if one is not None and one.there), None)
    uid, gid = wish.caller if known is None else (known.uid, known.gid)
    return Access(uid if wish.uid == -1 else wish.uid, gid if wish.gid == -1 else wish.gid, mode)


def check_type_and_size(key_type: str | None, size: int | None) -> None:
    """ConfigError when no key of that type and size is accepted."""
    if size is None:
        return
    key_type = key_type or "ed25519"
    if size not in SIZES[key_type]:
        accepted = {"ed25519": "256", "ecdsa": "256, 384 or 521", "rsa": f"{RSA_MINIMUM} to 16384"}[key_type]
        raise ConfigError(f"size: {size} is not a size of a {key_type} key. Use {accepted}, or leave size out.")


def describe_half(half: Half, name: str, owner: t.Callable[[int, int], str]) -> str:
    """One line of the diff for a file as it is; fingerprints only."""
    if not half.there:
        return f"{name}: absent"
    return f"{name}: {half.kind} {owner(half.uid, half.gid)} {half.mode:04o} {describe_content(half, name)}".rstrip()


def describe_content(half: Half, name: str) -> str:
    """Fingerprint, or what is wrong with it."""
    if half.content is None:
        return ""
    try:
        if name == "private":
            key = parse_private(half.content)
            form = "" if key.text.encode() == half.content else " in a form that ssh refuses"
            return describe_key(key.public) + form
        public, comment = parse_public(half.content)
        form = "" if half.content == (public.line(comment) + "\n").encode() else " in an unusual form"
        return f"{describe_key(public)} comment={comment!r}{form}"
    except KeyFormatError as exc:
        return f"unusable: the file {exc.message}" if half.content else "unusable: the file is empty"


def describe_key(key: PublicKey) -> str:
    """type, bits and fingerprint."""
    return f"{key.type} {key.bits} {key.fingerprint}"


def describe_plan(plan: Plan, wish: Wish, pair: Pair, owner: t.Callable[[int, int], str]) -> tuple[list[str], list[str]]:
    """(lines before, lines after) for the diff."""
    before = [describe_half(pair.private, "private", owner), describe_half(pair.public, "public", owner)]
    if plan.recover:
        before.append("journal: an interrupted run left one")
    before += [f"backup: {path}" for path in plan.remove]
    if wish.state == "absent":
        return before, ["private: absent", "public: absent"]
    known = f"{wish.new_type} {wish.new_size} (new key)" if plan.public is None else describe_key(plan.public)
    after = [
        f"private: file {_access_text(plan.private_access, owner)} {known}",
        f"public: file {_access_text(plan.public_access, owner)} {known} comment={plan.comment!r}",
    ]
    return before, after


def _access_text(access: Access, owner: t.Callable[[int, int], str]) -> str:
    return f"{owner(access.uid, access.gid)} {access.mode:04o}"


def check_given(text: str, key_type: str | None, size: int | None) -> PrivateKey:
    """The key from the option private_key; ConfigError (which never quotes it) when it is not usable."""
    try:
        key = parse_private(normalise(text.encode("utf-8", "replace")).encode())
    except KeyFormatError as exc:
        raise ConfigError(f"private_key: the given key {exc.message}. Check the vault entry; nothing was changed.") from exc
    problem = mismatch(key_type, size, key.public)
    if problem:
        raise ConfigError(f"private_key: the given key {problem}. Change type or size, or give another key.")
    return key
