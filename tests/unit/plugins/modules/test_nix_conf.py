# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""nix_conf as a whole, on real files, with a Nix that answers from records."""

from __future__ import annotations

import os
import stat
import typing as t
from pathlib import Path

import pytest

from ansible_collections.nixmac.linux_builder.plugins.module_utils import _files, _nixconf, _nixconf_layout
from ansible_collections.nixmac.linux_builder.plugins.module_utils import _nixconf_table as tables
from ansible_collections.nixmac.linux_builder.plugins.module_utils._errors import (
    CommandError,
    ConfigError,
    FileError,
    LinuxBuilderError,
)
from ansible_collections.nixmac.linux_builder.tests.unit.plugins.module_utils import nixconf_support as support
from ansible_collections.nixmac.linux_builder.tests.unit.plugins.module_utils.nixconf_fake import FakeNix

OWNER = "nixmac.linux_builder"
ORDERS = (tables.INLINE, tables.DEFERRED)


class Mac:
    """A directory that stands for /etc/nix."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = path
        self.nix = FakeNix()
        self.determinate = path / "determinate-nixd"
        choose = _nixconf_layout.choose
        monkeypatch.setattr(
            _nixconf_layout,
            "choose",
            lambda given, names, **more: choose(given, names, conf_dir=str(path), determinate=str(self.determinate), **more),
        )

    def write(self, name: str, content: bytes) -> Path:
        target = self.path / name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(content)
        return target

    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()

    def run(self, check_mode: bool = False, **options: t.Any) -> _nixconf.Outcome:
        return _nixconf.run(options, check_mode, self.nix)


@pytest.fixture
def mac(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mac:
    return Mac(tmp_path, monkeypatch)


def refused(mac: Mac, **options: t.Any) -> str:
    with pytest.raises(LinuxBuilderError) as caught:
        mac.run(**options)
    return caught.value.message


def test_run_that_changes_nothing_starts_one_process(mac: Mac) -> None:
    mac.write("nix.conf", b"!include nix.custom.conf\n")
    options = {"owner": OWNER, "settings": {"cores": 3}, "append": {"trusted-users": ["ann"]}}
    assert mac.run(**options).changed
    mac.nix = FakeNix()  # as in another execution, which remembers nothing
    assert not mac.run(**options).changed
    assert len(mac.nix.calls) == 1


def test_check_mode_changes_nothing_and_says_what_would(mac: Mac) -> None:
    mac.write("nix.conf", b"cores = 2\n")
    done = mac.run(check_mode=True, settings={"cores": 3})
    assert done.changed
    assert (done.before, done.after) == ("cores = 2\n", "cores = 3\n")
    assert mac.read("nix.conf") == b"cores = 2\n"


def test_check_mode_refuses_what_nix_would_refuse(mac: Mac) -> None:
    mac.write("nix.conf", b"cores = 2\n")
    with pytest.raises(ConfigError, match="invalid value 'auto'"):
        mac.run(check_mode=True, settings={"cores": "auto"})


def test_file_that_nix_rejects_is_not_installed_and_nix_is_quoted(mac: Mac) -> None:
    mac.write("nix.conf", b"cores = 2\n")
    message = refused(mac, settings={"fallback": "on"})
    assert "rejects the new configuration, nothing was installed" in message
    assert "Boolean setting 'fallback' has invalid value 'on'" in message
    assert mac.read("nix.conf") == b"cores = 2\n"


def test_bad_value_that_is_there_can_be_corrected(mac: Mac) -> None:
    mac.write("nix.conf", b"cores = auto # wrong\n")
    done = mac.run(settings={"cores": 0})
    assert mac.read("nix.conf") == b"cores = 0 # wrong\n"
    assert done.result["restart_required"]


def test_malformed_line_is_named_and_not_quoted(mac: Mac) -> None:
    mac.write("nix.conf", b"cores = 2\naccess-tokens=github.com=abcdef\n")
    message = refused(mac, settings={"cores": 3})
    assert message.startswith(f"{mac.path}/nix.conf:2: ")
    assert "abcdef" not in message


def test_custom_file_is_chosen_where_it_is_included(mac: Mac) -> None:
    mac.write("nix.conf", b"max-jobs = auto\n\n!include nix.custom.conf\n")
    done = mac.run(settings={"max-jobs": 4})
    assert done.result["path"] == f"{mac.path}/nix.custom.conf"
    assert b"max-jobs = 4\n" in mac.read("nix.custom.conf")
    assert done.result["overridden"] == [{"name": "max-jobs", "value": "auto", "path": f"{mac.path}/nix.conf", "line": 1}]


def test_plain_file_is_chosen_else(mac: Mac) -> None:
    mac.write("nix.conf", b"build-users-group = nixbld\n")
    assert mac.run(settings={"cores": 4}).result["path"] == f"{mac.path}/nix.conf"


@pytest.mark.parametrize("owner", [None, OWNER])
def test_later_line_of_the_including_file_is_named(mac: Mac, owner: str | None) -> None:
    mac.write("nix.conf", b"# DETERMINATE NIX CONFIG\n!include nix.custom.conf\nmax-jobs = auto\n")
    message = refused(mac, owner=owner, settings={"max-jobs": 4})
    assert message.startswith(f"{mac.path}/nix.conf:3: ")
    assert not (mac.path / "nix.custom.conf").exists()


def test_same_value_in_the_later_line_is_no_conflict(mac: Mac) -> None:
    mac.write("nix.conf", b"!include nix.custom.conf\nmax-jobs = auto\n")
    assert mac.run(owner=OWNER, settings={"max-jobs": "auto"}).changed


@pytest.mark.parametrize("name", sorted(_nixconf_layout.FORBIDDEN - {"extra-nix-path"}))
def test_settings_reserved_by_determinate_are_refused(mac: Mac, name: str) -> None:
    mac.write("nix.conf", b"# DETERMINATE NIX CONFIG\n!include nix.custom.conf\n")
    assert name in refused(mac, settings={name: "x"}, allow_unknown=True)


def test_determinate_is_recognised_by_its_program_too(mac: Mac) -> None:
    mac.write("nix.conf", b"# Generated\n!include nix.custom.conf\n")
    mac.determinate.touch()
    assert "reserved by Determinate" in refused(mac, append={"nix-path": ["a=b"]})


def test_determinates_own_file_is_refused(mac: Mac) -> None:
    mac.write("nix.conf", b"# DETERMINATE NIX CONFIG\n!include nix.custom.conf\n")
    message = refused(mac, path=f"{mac.path}/nix.conf", settings={"cores": 3})
    assert "determinate-nixd" in message
    assert "nix.custom.conf" in message


def test_nix_darwins_symlink_is_refused_with_its_option(mac: Mac) -> None:
    os.symlink("/etc/static/nix/nix.conf", mac.path / "nix.conf")
    message = refused(mac, settings={"cores": 3}, append={"trusted-users": ["ann"]})
    assert "nix.settings.cores, nix.settings.trusted-users" in message


def test_removing_what_is_not_there_is_no_error_on_nix_darwin(mac: Mac) -> None:
    text = b"# WARNING: this file is generated from the nix.* options in\n# your nix-darwin configuration.\ncores = 3\n"
    mac.write("nix.conf", text)
    assert not mac.run(owner=OWNER, absent=["builders", "trusted-users"]).changed
    assert "nix.settings" in refused(mac, absent=["cores"])
    assert (mac.path / "nix.conf").read_bytes() == text


def test_nix_darwins_custom_file_is_refused_with_its_option(mac: Mac) -> None:
    mac.write("nix.conf", b"!include nix.custom.conf\n")
    os.symlink("/nix/store/00000000000000000000000000000000-etc/nix.custom.conf", mac.path / "nix.custom.conf")
    assert "determinateNix.customSettings.cores" in refused(mac, settings={"cores": 3})


def test_nix_darwins_header_is_enough(mac: Mac) -> None:
    mac.write("nix.conf", b"# WARNING: this file is generated from the nix.* options in\n# your nix-darwin configuration.\n")
    assert "nix.settings.cores" in refused(mac, settings={"cores": 3})


def test_other_symlink_is_followed_and_stays(mac: Mac) -> None:
    real = mac.write("elsewhere/real.conf", b"cores = 1\n")
    os.symlink("elsewhere/real.conf", mac.path / "nix.conf")
    mac.run(settings={"cores": 3})
    assert (mac.path / "nix.conf").is_symlink()
    assert real.read_bytes() == b"cores = 3\n"


def test_include_is_relative_to_the_name_not_to_the_symlinks_target(mac: Mac) -> None:
    mac.write("elsewhere/real.conf", b"!include more.conf\n")
    mac.write("more.conf", b"cores = 5\n")
    os.symlink("elsewhere/real.conf", mac.path / "nix.conf")
    assert mac.run(settings={"fallback": True}).result["effective"] == {"fallback": "true"}
    assert not mac.run(settings={"cores": 5}).changed


def test_symlink_in_a_circle_is_an_error(mac: Mac) -> None:
    os.symlink("nix.conf", mac.path / "nix.conf")
    assert "circle" in refused(mac, settings={"cores": 3})


def test_secrets_are_in_no_output(mac: Mac) -> None:
    mac.write(
        "nix.conf",
        b"# access-tokens = old.example=hush1\naccess-tokens = a.example=hush2\nsubstituters = https://u:hush3@c.example\n",
    )
    done = mac.run(settings={"access-tokens": {"a.example": "hush4"}}, append={"substituters": ["https://x:hush5@d.example"]})
    shown = repr(done)
    assert b"hush4" in mac.read("nix.conf")
    assert not [number for number in range(1, 6) if f"hush{number}" in shown]
    assert done.result["effective"]["access-tokens"] == ["a.example=********"]


def test_changed_secret_shows_as_a_change_in_the_diff(mac: Mac) -> None:
    mac.write("nix.conf", b"access-tokens = a.example=hush2\n")
    done = mac.run(settings={"access-tokens": {"a.example": "hush4"}})
    assert done.changed
    assert done.before != done.after


def test_secret_in_the_words_of_nix_is_masked(mac: Mac) -> None:
    mac.write("nix.conf", b"")
    message = refused(mac, settings={"cores": "hush1", "access-tokens": {"a.example": "hush1"}})
    assert "invalid value" in message
    assert "hush1" not in message


def test_unknown_name_is_refused_with_the_nearest_known(mac: Mac) -> None:
    mac.write("nix.conf", b"")
    assert "Did you mean max-jobs?" in refused(mac, settings={"max-job": 3})


def test_unknown_name_is_written_when_allowed_and_idempotent(mac: Mac) -> None:
    mac.write("nix.conf", b"")
    options = {"settings": {"lazy-trees": True}, "append": {"eval-things": ["a"]}, "allow_unknown": True}
    assert mac.run(**options).changed
    assert mac.read("nix.conf") == b"lazy-trees = true\nextra-eval-things = a\n"
    assert not mac.run(**options).changed
    mac.run(absent=["lazy-trees", "eval-things"])
    assert mac.read("nix.conf") == b""


def test_absent_of_an_unknown_name_is_no_error(mac: Mac) -> None:
    mac.write("nix.conf", b"cores = 1\n")
    assert not mac.run(absent=["no-such-setting"]).changed


def test_no_nix_is_said(mac: Mac, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(_runner: t.Any) -> t.NoReturn:
        raise CommandError("nix: not found.")

    mac.write("nix.conf", b"cores = 1\n")
    monkeypatch.setattr(_nixconf, "find_nix", nothing)
    with pytest.raises(CommandError, match="no Nix on this host"):
        _nixconf.run({"settings": {"cores": 3}}, False)
    done = _nixconf.run({"settings": {"cores": 3}, "validate": False}, False)
    assert "not checked" in done.warnings[0]
    assert mac.read("nix.conf") == b"cores = 3\n"


@pytest.mark.parametrize(
    ("options", "required"),
    [
        ({"settings": {"max-jobs": 3}}, True),
        ({"settings": {"bash-prompt": "x"}}, False),
        ({"settings": {"cores": 2}}, False),
        ({"append": {"experimental-features": ["flakes"]}}, True),
        ({"append": {"trusted-users": ["ann"]}}, True),
    ],
)
@pytest.mark.parametrize("validate", [True, False])
def test_restart_is_required_when_the_daemons_settings_change(
    mac: Mac, options: dict[str, t.Any], required: bool, validate: bool
) -> None:
    mac.write("nix.conf", b"# c\ncores = 2\n")
    assert mac.run(**options, validate=validate).result["restart_required"] is required


def test_writing_out_the_value_that_holds_already_needs_no_restart(mac: Mac) -> None:
    mac.write("nix.conf", b"")
    done = mac.run(settings={"fallback": False})
    assert done.changed
    assert not done.result["restart_required"]


def test_file_that_was_made_is_removed_with_its_last_setting(mac: Mac) -> None:
    for owner in (None, OWNER):
        mac.run(owner=owner, settings={"cores": 3})
        assert stat.S_IMODE((mac.path / "nix.conf").stat().st_mode) == 0o644
        mac.run(owner=owner, absent=["cores"])
        assert not (mac.path / "nix.conf").exists()


def test_file_that_was_empty_stays(mac: Mac) -> None:
    mac.write("nix.conf", b"")
    mac.run(owner=OWNER, settings={"cores": 3})
    mac.run(owner=OWNER, absent=["cores"])
    assert mac.read("nix.conf") == b""


def test_owner_and_mode_stay(mac: Mac) -> None:
    target = mac.write("nix.conf", b"cores = 1\n")
    target.chmod(0o640)
    mac.run(settings={"cores": 3})
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_backup_has_the_old_bytes(mac: Mac) -> None:
    mac.write("nix.conf", b"cores = 1\n")
    done = mac.run(settings={"cores": 3}, backup=True)
    assert Path(done.result["backup_file"]).read_bytes() == b"cores = 1\n"
    assert mac.run(settings={"cores": 3}, backup=True).result["backup_file"] is None


def test_edit_by_somebody_else_meanwhile_is_not_lost(mac: Mac, monkeypatch: pytest.MonkeyPatch) -> None:
    target = mac.write("nix.conf", b"cores = 1\n")
    write = _files.write

    def meanwhile(*arguments: t.Any, **options: t.Any) -> None:
        target.write_bytes(b"cores = 1\nfallback = true\n")
        write(*arguments, **options)

    monkeypatch.setattr(_files, "write", meanwhile)
    with pytest.raises(FileError, match="somebody else"):
        mac.run(settings={"cores": 3})
    assert target.read_bytes() == b"cores = 1\nfallback = true\n"
    assert sorted(item.name for item in mac.path.iterdir()) == ["nix.conf"]


def test_edit_in_the_very_moment_of_the_rename_is_not_lost(mac: Mac, monkeypatch: pytest.MonkeyPatch) -> None:
    target = mac.write("nix.conf", b"cores = 1\n")
    rename = os.replace

    def meanwhile(source: str, path: str) -> None:
        monkeypatch.setattr(os, "replace", rename)
        target.write_bytes(b"cores = 1\nfallback = true\n")
        rename(source, path)

    monkeypatch.setattr(os, "replace", meanwhile)
    with pytest.raises(FileError, match="put back"):
        mac.run(settings={"cores": 3})
    assert target.read_bytes() == b"cores = 1\nfallback = true\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"cores = 1\n\0\n", ":2: has a NUL byte"), (b"#" * (_nixconf_layout.SIZE_LIMIT + 1), "bytes, more than")],
)
def test_nul_and_size_are_clear_errors(mac: Mac, content: bytes, words: str) -> None:
    mac.write("nix.conf", content)
    assert words in refused(mac, settings={"cores": 3})


def test_directory_in_its_place_is_a_clear_error(mac: Mac) -> None:
    (mac.path / "nix.conf").mkdir()
    assert "not a regular file" in refused(mac, settings={"cores": 3})


def test_include_in_a_circle_is_refused(mac: Mac) -> None:
    mac.write("nix.conf", b"include more.conf\n")
    mac.write("more.conf", b"include nix.conf\n")
    assert "more.conf:1: " in refused(mac, settings={"cores": 3})


def test_missing_include_is_named(mac: Mac) -> None:
    mac.write("nix.conf", b"cores = 1\ninclude none.conf\n")
    assert "nix.conf:2: " in refused(mac, settings={"cores": 3})


def test_included_directory_is_ignored_as_nix_does(mac: Mac) -> None:
    (mac.path / "d").mkdir()
    mac.write("nix.conf", b"include d\n")
    assert mac.run(settings={"cores": 3}).changed


def test_file_that_nothing_includes_is_refused(mac: Mac) -> None:
    mac.write("nix.conf", b"cores = 1\n")
    assert "is not included" in refused(mac, path=f"{mac.path}/other.conf", settings={"cores": 3})


def test_nix_without_working_includes_is_named(mac: Mac) -> None:
    mac.nix = FakeNix(order=tables.LOST)
    mac.write("nix.conf", b"!include nix.custom.conf\n")
    mac.write("nix.custom.conf", b"")
    assert "does not read included files" in refused(mac, settings={"cores": 3})


def test_order_of_includes_is_that_of_the_macs_nix(mac: Mac) -> None:
    mac.write("nix.conf", b"cores = 3\n!include more.conf\n")
    mac.write("more.conf", b"cores = 5\n")
    assert mac.run(check_mode=True, settings={"cores": 3}).changed
    mac.nix = FakeNix(order=tables.DEFERRED)
    assert not mac.run(check_mode=True, settings={"cores": 3}).changed


def test_byte_order_mark_is_reported(mac: Mac) -> None:
    mac.write("nix.conf", b"\xef\xbb\xbfcores = 3\n")
    assert "byte order mark" in mac.run(settings={"fallback": True}).warnings[0]


def test_several_calls_share_the_block(mac: Mac) -> None:
    mac.write("nix.conf", b"cores = 1")
    mac.run(owner=OWNER, settings={"cores": 3})
    mac.run(owner=OWNER, append={"trusted-users": ["ann"]})
    mac.run(owner="somebody.else", settings={"fallback": True})
    mac.run(owner=OWNER, append={"trusted-users": ["bob"]})
    text = mac.read("nix.conf").decode()
    assert text.count("# BEGIN nixmac.linux_builder ") == 1
    assert "cores = 3\nextra-trusted-users = ann bob\n# END nixmac.linux_builder\n" in text
    mac.run(owner="somebody.else", absent=["fallback"])
    mac.run(owner=OWNER, absent=["cores", {"trusted-users": ["ann", "bob"]}])
    assert mac.read("nix.conf") == b"cores = 1"


def test_block_moves_behind_a_line_that_would_win(mac: Mac) -> None:
    mac.write("nix.conf", b"")
    mac.run(owner=OWNER, settings={"cores": 3})
    mac.write("nix.conf", mac.read("nix.conf") + b"cores = 9\n")
    done = mac.run(owner=OWNER, settings={"cores": 3})
    assert mac.read("nix.conf").startswith(b"cores = 9\n# BEGIN")
    assert done.result["overridden"][0]["line"] == 1
    mac.run(owner=OWNER, absent=["cores"])
    assert mac.read("nix.conf") == b"cores = 9\n"


def test_broken_markers_are_named(mac: Mac) -> None:
    mac.write("nix.conf", b"# BEGIN nixmac.linux_builder x\ncores = 3\n")
    assert "lines 1" in refused(mac, owner=OWNER, settings={"cores": 3})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"settings": {"extra-trusted-users": "a"}}, "append: {trusted-users"),
        ({"settings": {"cores": None}}, "use `absent`"),
        ({"settings": {"bash-prompt": "a # b"}}, "cannot hold"),
        ({"settings": {"bash-prompt": "a\nb"}}, "cannot hold"),
        ({"settings": {"a b": "x"}}, "cannot be the name"),
        ({"settings": {"include": "x"}}, "cannot be the name"),
        ({"append": {"cores": ["3"]}}, "is no list"),
        ({"append": {"trusted-users": ["a b"]}}, "without blanks"),
        ({"append": {"trusted-users": [""]}}, "without blanks"),
        ({"append": {"access-tokens": ["abc"]}}, "key=value"),
        ({"settings": {"cores": 1}, "absent": ["build-cores"]}, "Keep one"),
        ({"append": {"trusted-users": ["a"]}, "absent": {"trusted-users": ["a"]}}, "Keep one"),
        ({"absent": 3}, "a list of names"),
        ({"owner": "a b", "settings": {"cores": 1}}, "owner:"),
        ({"path": "nix.conf", "settings": {"cores": 1}}, "not absolute"),
    ],
)
def test_malformed_requests_are_explained(mac: Mac, options: dict[str, t.Any], words: str) -> None:
    mac.write("nix.conf", b"")
    assert words in refused(mac, **options)


def test_element_of_the_default_cannot_be_removed_alone(mac: Mac) -> None:
    mac.write("nix.conf", b"")
    assert "built in" in refused(mac, absent={"substituters": ["https://cache.nixos.org/"]})


def test_element_from_another_file_is_named(mac: Mac) -> None:
    mac.write("nix.conf", b"!include nix.custom.conf\nextra-trusted-users = eve\n")
    assert f"{mac.path}/nix.conf:2" in refused(mac, absent={"trusted-users": ["eve"]})


@pytest.mark.parametrize("version", support.VERSIONS)
@pytest.mark.parametrize("label", sorted(support.load("golden.json")))
def test_no_input_makes_a_traceback_and_what_is_written_reads_back(mac: Mac, version: str, label: str) -> None:
    mac.nix = FakeNix(version)
    for name, text in support.load("golden.json")[label]["files"].items():
        if name.endswith("/"):
            (mac.path / name).mkdir()
        else:
            mac.write(name, text.encode("latin-1"))
    before = mac.read("nix.conf")
    for owner in (None, OWNER):
        try:
            mac.run(owner=owner, path=f"{mac.path}/nix.conf", settings={"timeout": 7}, validate=False)
        except LinuxBuilderError:
            assert mac.read("nix.conf") == before
            continue
        assert mac.read("nix.conf") != before
        mac.run(owner=owner, path=f"{mac.path}/nix.conf", absent=["timeout"], validate=False)
        assert mac.read("nix.conf") == before
