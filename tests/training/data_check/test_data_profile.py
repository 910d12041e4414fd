"""A profile is plain JSON, and comes back as it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ranker.errors import DataError
from training.data_check import DataProfile


def test_comes_back_as_it_was(second: DataProfile, tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    second.save(path)
    assert DataProfile.load(path) == second
    json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


@pytest.mark.parametrize("content", [None, b"{", b'{"version": 1}', b'{"version": 2}'])
def test_what_is_no_profile_is_named(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"data profile '.*profile\.json' cannot be read") as caught:
        DataProfile.load(path)
    assert "remove it" in str(caught.value)
