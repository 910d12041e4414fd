"""Whatever fails, a reader finds all of the old or all of the new."""

from __future__ import annotations

from pathlib import Path

import pytest

from ranker.atomic import atomic_folder, partial_path, remove_folder, replace_file


def test_a_folder_appears_with_its_content_at_the_end_of_the_block(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder"
    with atomic_folder(target) as partial:
        (partial / "deep").mkdir()
        (partial / "deep" / "file").write_text("content")
        assert not target.exists()
        assert partial.parent == target.parent
    assert (target / "deep" / "file").read_text() == "content"
    assert [path.name for path in target.parent.iterdir()] == ["folder"]


@pytest.mark.parametrize("failure", [ValueError("bad"), KeyboardInterrupt()])
def test_a_failing_block_leaves_nothing(tmp_path: Path, failure: BaseException) -> None:
    def fill(partial: Path) -> None:
        (partial / "file").write_text("half")
        raise failure

    with pytest.raises(type(failure)), atomic_folder(tmp_path / "folder") as partial:
        fill(partial)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileExistsError), atomic_folder(tmp_path / "folder"):
        pytest.fail("the block must not run")


def test_a_folder_that_appeared_meanwhile_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "folder"

    def fill(partial: Path) -> None:
        (partial / "file").write_text("mine")
        target.mkdir()
        (target / "file").write_text("theirs")

    with pytest.raises(FileExistsError), atomic_folder(target) as partial:
        fill(partial)
    assert (target / "file").read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [target]


def test_a_file_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / "file"
    for content in (b"first", b"second, longer", b""):
        replace_file(target, content)
        assert target.read_bytes() == content
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("step", ["ranker.atomic.os.fsync", "ranker.atomic.os.replace"])
def test_a_failed_replacement_keeps_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def fail(*args: object) -> None:
        raise OSError("disk full")

    target = tmp_path / "file"
    target.write_bytes(b"old")
    monkeypatch.setattr(step, fail)
    with pytest.raises(OSError, match="disk full"):
        replace_file(target, b"new")
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_removed_folder_is_gone(tmp_path: Path) -> None:
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    remove_folder(tmp_path / "folder")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_removal_leaves_nothing_under_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise OSError("busy")

    (tmp_path / "folder").mkdir()
    monkeypatch.setattr("ranker.atomic.shutil.rmtree", fail)
    with pytest.raises(OSError, match="busy"):
        remove_folder(tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


def test_partial_paths_are_hidden_fresh_and_beside(tmp_path: Path) -> None:
    paths = {partial_path(tmp_path / "name") for _ in range(20)}
    assert len(paths) == 20
    assert all(path.parent == tmp_path and path.name.startswith(".name.") for path in paths)
