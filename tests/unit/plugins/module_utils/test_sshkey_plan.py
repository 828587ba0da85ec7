# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is decided about a pair, without a disk: the whole table of states, options and `regenerate`."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import ConfigError, FileError, StateError
from ansible_collections.nixmac.linux_builder.plugins.module_utils._sshkey import parse_private
from ansible_collections.nixmac.linux_builder.plugins.module_utils._sshkey_plan import (
    GENERATE,
    INSTALL,
    KEEP,
    REMOVE,
    REWRITE,
    Half,
    Pair,
    Wish,
    check_given,
    check_type_and_size,
    describe_plan,
    make_plan,
)
from ansible_collections.nixmac.linux_builder.tests.unit.plugins.module_utils import sshkey_samples as keys

PATH = "/etc/nix/builder_ed25519"
REFUSED = "refused"


def half(content: str | None, mode: int = 0o600, uid: int = 0, gid: int = 0, kind: str = "file") -> Half:
    if content is None:
        return Half()
    return Half(kind, content.encode(), uid, gid, mode, (1, 2, len(content), 3))


def line(text: str, comment: str | None = None) -> str:
    key = parse_private(text.encode())
    return key.public.line(key.comment if comment is None else comment) + "\n"


ONE, TWO = keys.ed25519(1), keys.ed25519(2)
GOOD = Pair(half(ONE), half(line(ONE), 0o644))


def wish(**changes: t.Any) -> Wish:
    return Wish(PATH, **changes)


def owner(uid: int, gid: int) -> str:
    return f"{uid}:{gid}"


def decision(pair: Pair, **changes: t.Any) -> str:
    try:
        return make_plan(wish(**changes), pair).key
    except StateError as exc:
        clear = exc.message.startswith(f"{PATH}: ") and "Nothing was changed" in exc.message
        return REFUSED if clear else exc.message


PRIVATE = {
    "nothing": None,
    "good": ONE,
    "truncated": ONE[:200],
    "empty": "",
    "passphrase": keys.encrypted(1),
    "contradicting": keys.ed25519(1, seed=b"\7" * 32),
    "crlf": ONE.replace("\n", "\r\n"),
    "short rsa": keys.rsa(2048),
}

# What `regenerate` does to a private half, with the right public half beside it: never, fail, if_invalid, always.
GENERATING = {
    "nothing": (REFUSED, REFUSED, GENERATE, GENERATE),
    "good": (KEEP, KEEP, KEEP, GENERATE),
    "truncated": (REFUSED, REFUSED, GENERATE, GENERATE),
    "empty": (REFUSED, REFUSED, GENERATE, GENERATE),
    "passphrase": (REFUSED, REFUSED, GENERATE, GENERATE),
    "contradicting": (REFUSED, REFUSED, GENERATE, GENERATE),
    "crlf": (REWRITE, REWRITE, REWRITE, GENERATE),
    "short rsa": (KEEP, REFUSED, GENERATE, GENERATE),
}
# The same with a given private_key of the identity that the public half names.
GIVEN_SAME = {
    "nothing": (INSTALL,) * 4,
    "good": (KEEP,) * 4,
    "truncated": (INSTALL,) * 4,
    "empty": (INSTALL,) * 4,
    "passphrase": (INSTALL,) * 4,
    "contradicting": (INSTALL,) * 4,
    "crlf": (REWRITE,) * 4,
    "short rsa": (REFUSED, REFUSED, INSTALL, INSTALL),
}
# And with one of another identity.
GIVEN_OTHER = dict.fromkeys(PRIVATE, (REFUSED, REFUSED, INSTALL, INSTALL))
REGENERATE = ("never", "fail", "if_invalid", "always")


@pytest.mark.parametrize("regenerate", REGENERATE)
@pytest.mark.parametrize("state", sorted(PRIVATE))
@pytest.mark.parametrize(
    ("table", "given"), [(GENERATING, None), (GIVEN_SAME, ONE), (GIVEN_OTHER, TWO)], ids=["generate", "given same", "given other"]
)
def test_regenerate_decides_as_documented(
    state: str, regenerate: str, table: dict[str, tuple[str, ...]], given: str | None
) -> None:
    pair = Pair(half(PRIVATE[state]), half(line(ONE), 0o644))
    key = None if given is None else parse_private(given.encode())
    assert decision(pair, regenerate=regenerate, given=key) == table[state][REGENERATE.index(regenerate)]


@pytest.mark.parametrize("regenerate", REGENERATE)
def test_pair_that_never_was_is_always_made(regenerate: str) -> None:
    assert decision(Pair(), regenerate=regenerate) == GENERATE
    assert decision(Pair(), regenerate=regenerate, given=parse_private(ONE.encode())) == INSTALL


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"type": "ed25519"}, (REFUSED, GENERATE)),
        ({"type": "rsa"}, (KEEP, KEEP)),
        ({"type": "rsa", "size": 3072}, (KEEP, KEEP)),
        ({"type": "rsa", "size": 4096}, (REFUSED, GENERATE)),
        ({}, (KEEP, KEEP)),
    ],
)
def test_type_and_size_that_are_asked_for_are_held_to(options: dict[str, t.Any], expected: tuple[str, str]) -> None:
    text = keys.rsa(3072)
    pair = Pair(half(text), half(line(text), 0o644))
    assert decision(pair, regenerate="fail", **options) == expected[0]
    assert decision(pair, regenerate="if_invalid", **options) == expected[1]


def test_never_keeps_another_type_and_says_so() -> None:
    text = keys.rsa(2048)
    plan = make_plan(wish(regenerate="never", type="ed25519"), Pair(half(text), half(line(text), 0o644)))
    assert not plan.changed
    assert plan.warnings == [f"{PATH}: the key is of type rsa, not ed25519; it is kept because regenerate is 'never'."]


def test_good_pair_needs_nothing() -> None:
    plan = make_plan(wish(), GOOD)
    assert not plan.changed
    assert plan.warnings == []
    assert plan.public is not None
    assert plan.comment == "builder@localhost"


@pytest.mark.parametrize("public", [None, "", "junk\n", line(TWO), line(ONE).rstrip("\n"), line(ONE) + line(TWO)])
def test_public_half_follows_the_private_one(public: str | None) -> None:
    plan = make_plan(wish(regenerate="fail"), Pair(half(ONE), half(public, 0o644)))
    assert plan.key == KEEP
    assert plan.public_text == line(ONE)
    assert plan.back_up_public == (public in ("junk\n", line(TWO), line(ONE) + line(TWO)))
    assert not plan.back_up_private


@pytest.mark.parametrize(
    ("asked", "there", "expected"),
    [(None, "mine", "mine"), ("other", "mine", "other"), (None, None, "builder@localhost"), ("", "mine", "")],
)
def test_comment_is_what_is_asked_else_what_is_there_else_that_of_the_private_half(
    asked: str | None, there: str | None, expected: str
) -> None:
    public = half(None if there is None else line(ONE, there), 0o644)
    plan = make_plan(wish(comment=asked), Pair(half(ONE), public))
    assert plan.comment == expected
    assert (plan.public_text is None) == (there == expected)


@pytest.mark.parametrize(("asked", "expected"), [(None, "builder@localhost"), ("new", "new")])
def test_rotation_keeps_the_comment(asked: str | None, expected: str) -> None:
    assert make_plan(wish(regenerate="always", comment=asked), GOOD).comment == expected


@pytest.mark.parametrize("name", ["private", "public"])
@pytest.mark.parametrize(
    ("change", "options"),
    [
        ({"mode": 0o666}, {}),
        ({"uid": 5}, {"uid": 0}),
        ({"gid": 5}, {"gid": 0}),
    ],
)
def test_owner_group_and_mode_of_either_half_are_set(name: str, change: dict[str, int], options: dict[str, int]) -> None:
    pair = GOOD._replace(**{name: dataclasses.replace(getattr(GOOD, name), **change)})
    plan = make_plan(wish(**options), pair)
    assert (plan.fix_private, plan.fix_public) == (name == "private", name == "public")
    assert plan.key == KEEP
    assert plan.public_text is None


def test_owner_that_is_not_asked_for_stays() -> None:
    pair = Pair(half(ONE, uid=501, gid=20), half(line(ONE), 0o644, uid=502, gid=21))
    plan = make_plan(wish(), pair)
    assert not plan.changed
    assert (plan.private_access.uid, plan.public_access.uid) == (501, 502)


def test_new_files_belong_to_the_caller_and_a_new_public_half_to_the_private_ones_owner() -> None:
    assert make_plan(wish(caller=(7, 8)), Pair()).private_access.uid == 7
    assert make_plan(wish(caller=(7, 8)), Pair(half(ONE, uid=501, gid=20))).public_access.gid == 20


@pytest.mark.parametrize("kind", ["symlink", "directory", "other"])
@pytest.mark.parametrize("name", ["private", "public"])
@pytest.mark.parametrize("state", ["present", "absent"])
def test_what_is_no_regular_file_is_refused(kind: str, name: str, state: str) -> None:
    pair = GOOD._replace(**{name: Half(kind, None, 0, 0, 0o777)})
    with pytest.raises(FileError) as caught:
        make_plan(wish(state=state, regenerate="always"), pair)
    assert caught.value.message.startswith(PATH + (".pub:" if name == "public" else ":"))
    assert "Nothing was changed" in caught.value.message


def test_key_that_others_could_read_is_reported() -> None:
    plan = make_plan(wish(), Pair(half(ONE, 0o644), half(line(ONE), 0o644)))
    assert "others may have read it" in plan.warnings[0]
    assert make_plan(wish(regenerate="always"), Pair(half(ONE, 0o644))).warnings == []


@pytest.mark.parametrize("backup", [True, False])
def test_backup_of_what_identified_another_key(backup: bool) -> None:
    plan = make_plan(wish(regenerate="always", backup=backup), GOOD)
    assert (plan.back_up_private, plan.back_up_public) == (backup, backup)


def test_damaged_private_half_is_backed_up_too() -> None:
    plan = make_plan(wish(), Pair(half(ONE[:150]), half(line(ONE), 0o644)))
    assert (plan.back_up_private, plan.back_up_public) == (True, True)
    assert not make_plan(wish(), Pair(half(""), half(line(ONE), 0o644))).back_up_private


def test_same_key_in_a_better_form_needs_no_backup() -> None:
    plan = make_plan(wish(), Pair(half(ONE.rstrip("\n")), half(line(ONE), 0o644)))
    assert (plan.key, plan.back_up_private) == (REWRITE, False)


@pytest.mark.parametrize("backup", [True, False])
def test_absent_removes_both(backup: bool) -> None:
    plan = make_plan(wish(state="absent", backup=backup), GOOD)
    assert plan.key == REMOVE
    assert (plan.back_up_private, plan.back_up_public) == (backup, backup)
    assert not make_plan(wish(state="absent"), Pair()).changed


def test_absent_removes_old_backups_only_when_asked() -> None:
    pair = Pair(old_backups=("/x~",))
    assert not make_plan(wish(state="absent"), pair).changed
    assert make_plan(wish(state="absent", remove_backups=True), pair).remove == ("/x~",)


def test_unfinished_run_is_a_change() -> None:
    plan = make_plan(wish(), GOOD._replace(unfinished=True))
    assert plan.changed
    assert plan.key == KEEP
    before, _after = describe_plan(plan, wish(), GOOD, owner)
    assert "journal: an interrupted run left one" in before


@pytest.mark.parametrize(("key_type", "size"), [("ed25519", 521), (None, 521), ("ecdsa", 512), ("rsa", 2048), ("rsa", 32768)])
def test_size_that_no_key_has_is_refused(key_type: str | None, size: int) -> None:
    with pytest.raises(ConfigError) as caught:
        check_type_and_size(key_type, size)
    assert str(size) in caught.value.message


@pytest.mark.parametrize(("key_type", "size"), [("ed25519", 256), (None, None), ("ecdsa", 521), ("rsa", 3072), ("rsa", 16384)])
def test_size_that_a_key_has_is_accepted(key_type: str | None, size: int | None) -> None:
    check_type_and_size(key_type, size)


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("junk", {}, "does not begin with"),
        (keys.encrypted(), {}, "passphrase"),
        (ONE[:300], {}, "truncated"),
        (keys.rsa(2048), {}, "at least 3072"),
        (ONE, {"key_type": "rsa"}, "is of type ed25519, not rsa"),
        (keys.ecdsa(), {"size": 521}, "has 256 bits, not 521"),
    ],
)
def test_given_key_that_cannot_serve_is_refused_without_being_quoted(text: str, options: dict[str, t.Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_given(text, options.get("key_type"), options.get("size"))
    message = caught.value.message
    assert message.startswith("private_key: ")
    assert words in message
    assert not any(piece in message for piece in text.split("\n")[1:] if piece)


def test_diff_names_fingerprints_and_never_key_material() -> None:
    pair = Pair(half(ONE, 0o644), half(line(TWO), 0o600, uid=3))
    given = parse_private(keys.ed25519(3).encode())
    plan = make_plan(wish(given=given, uid=0, gid=0), pair)
    before, after = describe_plan(plan, wish(), pair, owner)
    first, second = parse_private(ONE.encode()).public, parse_private(TWO.encode()).public
    assert before == [
        f"private: file 0:0 0644 ed25519 256 {first.fingerprint}",
        f"public: file 3:0 0600 ed25519 256 {second.fingerprint} comment='builder@localhost'",
    ]
    assert after == [
        f"private: file 0:0 0600 ed25519 256 {given.public.fingerprint}",
        f"public: file 0:0 0644 ed25519 256 {given.public.fingerprint} comment='builder@localhost'",
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [("", "is empty"), ("junk", "unusable"), (ONE[:99], "unusable"), (ONE + "\n", "in a form that ssh refuses")],
)
def test_diff_says_what_is_wrong_with_a_file(content: str, words: str) -> None:
    pair = Pair(half(content))
    before, _after = describe_plan(make_plan(wish(), pair), wish(), pair, owner)
    assert words in before[0]
    assert before[1] == "public: absent"
