"""Files are written whole or not at all; what cannot be read is one sentence."""

import os

import pytest

from ganlib.files import cache_folder, read_bytes, write_atomic


def tree(folder):
    """Every file below `folder`, as a path of text."""
    return sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()
    )


def test_a_reader_sees_the_old_file_or_the_new_one(tmp_path):
    path = tmp_path / "new" / "folder" / "a.bin"
    write_atomic(path, b"one")
    with open(path, "rb") as reader:
        write_atomic(str(path), b"two")
        assert reader.read() == b"one"
    assert path.read_bytes() == b"two"
    assert tree(tmp_path) == ["new/folder/a.bin"]


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch, says):
    path = tmp_path / "a.bin"
    write_atomic(path, b"old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with says("Cannot write", path, "No space left on device", "make room"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old" and tree(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("path", ["file/a", "file/deeper/a", "folder"])
def test_a_place_where_nothing_can_be_written(tmp_path, path, says):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder" / "full").mkdir(parents=True)
    with says("Cannot write", tmp_path / path, "choose another folder"):
        write_atomic(tmp_path / path, b"")
    assert (tmp_path / "file").read_text() == "in the way"
    assert tree(tmp_path) == ["file"]


def test_the_bytes_of_a_file_or_the_first_of_them(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"12345")
    assert read_bytes(path) == b"12345"
    assert read_bytes(str(path), 2) == b"12"
    assert read_bytes(path, 99) == b"12345"


@pytest.mark.parametrize("name", ["missing", "."])
def test_what_cannot_be_read_is_named(tmp_path, name, says):
    with says(tmp_path / name, "cannot be read"):
        read_bytes(tmp_path / name)


def test_the_cache_folder_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "ganlib"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "ganlib"
    assert tree(tmp_path) == [] and not cache_folder().exists()
