"""Files with tokens and data in them: nobody else's name, link or file is written to, trusted, or replaced."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from dynamostore.batch import BatchIncompleteError, verify
from dynamostore.cli._resume import ResumeFile
from dynamostore.hidden import Hidden
from dynamostore.private_files import create_private, publish, read_private, write_private

from .batch.driving import Drive
from .batch.fixtures import DRIVES, drive
from .batch.meddling import Failing, Meddler
from .test_batch import named

__all__ = ["drive"]

NOBODY = 65534

both = pytest.mark.parametrize("drive", DRIVES[:2], ids="-".join, indirect=True)
one = pytest.mark.parametrize("drive", DRIVES[:1], ids="-".join, indirect=True)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def a_symlink(path: Path) -> None:
    victim = path.with_name("victim")
    victim.write_text("precious")
    path.symlink_to(victim)


def a_dangling_symlink(path: Path) -> None:
    path.symlink_to(path.with_name("nowhere"))


def a_hard_link(path: Path) -> None:
    victim = path.with_name("victim")
    victim.write_text("precious")
    path.hardlink_to(victim)


def a_fifo(path: Path) -> None:
    os.mkfifo(path)


def anybodys(path: Path) -> None:
    path.write_text("precious")
    path.chmod(0o666)


def another_users(path: Path) -> None:
    path.write_text("precious")
    path.chmod(0o644)
    os.chown(path, NOBODY, NOBODY)


TRAPS = [a_symlink, a_dangling_symlink, a_hard_link, a_fifo, anybodys, pytest.param(another_users, marks=as_root)]
traps = pytest.mark.parametrize("trap", TRAPS)


def untouched(folder: Path, path: Path) -> None:
    """Neither what the trap leads to nor the trap itself has a token in it."""
    assert not folder.joinpath("nowhere").exists()
    for file in folder.iterdir():
        if stat.S_ISREG(file.lstat().st_mode):
            assert b"token" not in file.read_bytes(), file
    if folder.joinpath("victim").exists():
        assert folder.joinpath("victim").read_text() == "precious"
        assert mode(folder / "victim") != 0o600
    assert os.path.lexists(path)


# Exports


@both
@traps
def test_an_export_does_not_write_into_what_somebody_else_put_there(
    drive: Drive, tmp_path: Path, trap: Callable[[Path], None]
) -> None:
    batch = drive.batch(drive.table())
    batch.save_many(named(range(3)))
    partial = tmp_path / "x.jsonl.partial"
    trap(partial)
    with pytest.raises(PermissionError, match="it is not used: delete it") as caught:
        batch.export(tmp_path / "x.jsonl")
    assert caught.value.filename == str(partial)
    untouched(tmp_path, partial)
    partial.unlink()
    assert batch.export(tmp_path / "x.jsonl").records == 3


@one
@pytest.mark.parametrize("name", ["x.jsonl.resume", "x.jsonl.resume.new", "x.jsonl.partial"])
@traps
def test_an_export_does_not_go_on_with_what_somebody_else_put_there(
    drive: Drive, tmp_path: Path, trap: Callable[[Path], None], name: str
) -> None:
    table = drive.table()
    drive.batch(table).save_many(named(range(60)))
    later = iter(range(100))
    with pytest.raises(BatchIncompleteError):
        drive.batch(table, Failing(lambda operation, arguments: next(later) >= 3, page=20), attempts=1).export(
            tmp_path / "x.jsonl"
        )
    kept = tmp_path / name
    content = kept.read_bytes() if kept.exists() else b""
    kept.unlink(missing_ok=True)
    trap(kept)
    if name.endswith(".new") and trap in (a_hard_link, anybodys):
        # An earlier run may have left it: the name is removed, and nothing is written into what it leads to.
        assert drive.batch(table).export(tmp_path / "x.jsonl").records == 60
        assert not (tmp_path / "victim").exists() or (tmp_path / "victim").read_text() == "precious"
        return
    if trap in (anybodys, another_users, a_hard_link):
        # What is in it is right; but nobody knows who has changed it.
        kept.write_bytes(content)
    with pytest.raises(PermissionError, match="it is not used: delete it"):
        drive.batch(table, attempts=1).export(tmp_path / "x.jsonl")
    assert not (tmp_path / "x.jsonl").exists()


@one
def test_what_an_export_writes_is_for_its_owner_whatever_the_umask(drive: Drive, tmp_path: Path) -> None:
    table, modes = drive.table(), set[tuple[str, int]]()
    drive.batch(table).save_many(named(range(60)))

    class Watching(Meddler):
        def hinder(self, operation: str, arguments: dict[str, object]) -> object:  # type: ignore[override] # as it is
            modes.update((file.name, mode(file)) for file in tmp_path.iterdir())
            return super().hinder(operation, arguments)

    for umask in (0, 0o777):
        old = os.umask(umask)
        try:
            drive.batch(table, Watching(page=20)).export(tmp_path / "x.jsonl", overwrite=True)
        finally:
            os.umask(old)
    assert modes == {(f"x.jsonl{end}", 0o600) for end in ("", ".partial", ".resume")}


# What appears while it is written


@both
@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_a_file_that_appears_meanwhile_is_not_replaced(
    drive: Drive, tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", unsupported)
    table, path = drive.table(), tmp_path / "x.jsonl"
    drive.batch(table).save_many(named(range(60)))

    class Meanwhile(Meddler):
        def hinder(self, operation: str, arguments: dict[str, object]) -> object:  # type: ignore[override] # as it is
            path.write_text("somebody's work")
            return super().hinder(operation, arguments)

    with pytest.raises(FileExistsError, match="overwrite=True"):
        drive.batch(table, Meanwhile(page=20)).export(path)
    assert path.read_text() == "somebody's work"
    # Nothing is lost: told to overwrite, it goes on, and has only to read on from the last page.
    meddler = Meddler(page=20)
    assert drive.batch(table, meddler).export(path, overwrite=True).records == 60
    assert meddler.calls["scan"] == 0
    assert verify(path).records == 60
    assert [file.name for file in tmp_path.iterdir()] == ["x.jsonl"]


@one
@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_an_export_gets_its_name_with_and_without_hard_links(
    drive: Drive, tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", unsupported)
    batch = drive.batch(drive.table())
    batch.save_many(named(range(3)))
    assert batch.export(tmp_path / "x.jsonl") == verify(tmp_path / "x.jsonl")
    assert (tmp_path / "x.jsonl").stat().st_nlink == 1
    assert mode(tmp_path / "x.jsonl") == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["x.jsonl"]


@one
def test_an_export_that_was_killed_after_it_got_its_name_is_tidied_up(drive: Drive, tmp_path: Path) -> None:
    batch, path = drive.batch(drive.table()), tmp_path / "x.jsonl"
    batch.save_many(named(range(3)))
    batch.export(path)
    for again in (False, True):
        os.link(path, tmp_path / "x.jsonl.partial")
        (tmp_path / "x.jsonl.resume").write_text("notes")
        if again:
            assert batch.export(path, overwrite=True).records == 3
        else:
            with pytest.raises(FileExistsError, match="overwrite=True"):
                batch.export(path)
        assert [file.name for file in tmp_path.iterdir()] == ["x.jsonl"]
        assert verify(path).records == 3


@one
def test_a_link_under_the_files_own_name_is_not_followed(drive: Drive, tmp_path: Path) -> None:
    batch, path = drive.batch(drive.table()), tmp_path / "x.jsonl"
    batch.save_many(named(range(3)))
    a_dangling_symlink(path)
    with pytest.raises(FileExistsError):
        batch.export(path)
    assert not (tmp_path / "nowhere").exists()
    assert batch.export(path, overwrite=True).records == 3
    assert not path.is_symlink()
    assert not (tmp_path / "nowhere").exists()


def unsupported(*arguments: object, **options: object) -> None:
    raise OSError(errno.EOPNOTSUPP, "not here")


# Resume files


@pytest.mark.parametrize("name", ["a.resume", "a.resume.new"])
@traps
def test_a_resume_file_is_nobody_elses(tmp_path: Path, trap: Callable[[Path], None], name: str) -> None:
    trap(tmp_path / name)
    file = ResumeFile(tmp_path / "a.resume")
    if name.endswith(".new") and trap in (a_hard_link, anybodys):
        # An earlier run may have left it: this user's own name is removed, and nothing is written into what it leads to.
        assert file.read() is None
        file.write("the token")
        assert (mode(tmp_path / "a.resume"), file.read()) == (0o600, "the token")
        assert (tmp_path / "a.resume").stat().st_nlink == 1
        assert not (tmp_path / "victim").exists() or (tmp_path / "victim").read_text() == "precious"
        return
    with pytest.raises(PermissionError, match="it is not used: delete it"):
        file.read()
    if name.endswith(".new"):
        with pytest.raises(PermissionError):
            file.write("the token")
        untouched(tmp_path, tmp_path / name)


@pytest.mark.parametrize("umask", [0, 0o022, 0o777], ids=oct)
def test_a_resume_file_is_for_its_owner_whoever_made_it(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "a.resume"
    path.write_text("by hand\n")
    path.chmod(0o644)
    file = ResumeFile(path)
    assert (file.read(), mode(path)) == ("by hand", 0o600)
    path.chmod(0o644)
    old = os.umask(umask)
    try:
        file.write("the token")
    finally:
        os.umask(old)
    assert (file.read(), mode(path)) == ("the token", 0o600)
    assert [other.name for other in tmp_path.iterdir()] == ["a.resume"]


def test_what_is_too_large_to_be_notes_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with create_private(path) as file:
        file.truncate(1 << 30)
    with pytest.raises(OSError, match="larger than"):
        read_private(path)


def test_publishing_fails_as_link_does_for_any_other_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "link", full)
    write_private(tmp_path / "a", Hidden(b"a"), new=tmp_path / "a.new")
    with pytest.raises(OSError, match="full"):
        publish(tmp_path / "a", tmp_path / "b", overwrite=False)
    assert [file.name for file in tmp_path.iterdir()] == ["a"]
