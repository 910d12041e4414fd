"""Large tables are apart from their graph, and it scores as before; processes share what they read of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ranker.errors import BundleError
from ranker.graph_tables import map_tables, tables_apart
from ranker.torchscript import load_graph, save_graph, script

LARGE, SMALL, DIM = 2**17 + 3, 11, 2  # rows; of 8 bytes each


class TwoTables(nn.Module):
    """Rows of a large table that two modules share, plus those of a small one."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Embedding(LARGE, DIM)
        self.second = nn.Embedding(LARGE, DIM)
        self.second.weight = self.first.weight
        self.small = nn.Embedding(SMALL, DIM)

    def forward(self, ids_B: Tensor) -> Tensor:
        """Sums [B, D]."""
        sums_BD: Tensor = self.first(ids_B) - 3 * self.second(ids_B.flip(0)) + self.small(ids_B % 11)
        return sums_BD


IDS_B = torch.tensor([0, 5, LARGE - 1, 70_000])


@pytest.fixture
def graph() -> torch.jit.ScriptModule:
    """Random weights."""
    return script(TwoTables().eval())


def test_a_graph_is_read_back_with_its_tables(graph: torch.jit.ScriptModule, tmp_path: Path) -> None:
    expected_BD = graph(IDS_B)
    with tables_apart(graph, tmp_path / "tables"):
        save_graph(graph, tmp_path / "model.pt")
    assert torch.equal(graph(IDS_B), expected_BD)  # whole again
    assert [path.name for path in (tmp_path / "tables").iterdir()] == ["first.weight.npy"]
    assert (tmp_path / "model.pt").stat().st_size < 2**17 < (tmp_path / "tables/first.weight.npy").stat().st_size
    found = load_graph(tmp_path / "model.pt")
    map_tables(found, tmp_path / "tables")
    assert torch.equal(found(IDS_B), expected_BD)


def test_rows_begin_where_a_line_of_the_cache_does(graph: torch.jit.ScriptModule, tmp_path: Path) -> None:
    with tables_apart(graph, tmp_path / "tables"):
        save_graph(graph, tmp_path / "model.pt")
    found = load_graph(tmp_path / "model.pt")
    map_tables(found, tmp_path / "tables")
    assert dict(found.named_parameters())["first.weight"].data_ptr() % 64 == 0


def test_what_is_done_to_a_table_stays_in_the_process(graph: torch.jit.ScriptModule, tmp_path: Path) -> None:
    with tables_apart(graph, tmp_path / "tables"):
        save_graph(graph, tmp_path / "model.pt")
    before = (tmp_path / "tables/first.weight.npy").read_bytes()
    found = load_graph(tmp_path / "model.pt")
    map_tables(found, tmp_path / "tables")
    with torch.no_grad():
        dict(found.named_parameters())["first.weight"].add_(1.0)
    assert (tmp_path / "tables/first.weight.npy").read_bytes() == before


def test_removed_files_are_still_there_for_who_has_mapped_them(graph: torch.jit.ScriptModule, tmp_path: Path) -> None:
    expected_BD = graph(IDS_B)
    with tables_apart(graph, tmp_path / "tables"):
        save_graph(graph, tmp_path / "model.pt")
    found = load_graph(tmp_path / "model.pt")
    map_tables(found, tmp_path / "tables")
    (tmp_path / "tables/first.weight.npy").unlink()
    assert torch.equal(found(IDS_B), expected_BD)


def test_a_graph_without_large_tables_has_no_folder(tmp_path: Path) -> None:
    graph = script(nn.Embedding(SMALL, DIM).eval())
    with tables_apart(graph, tmp_path / "tables"):
        save_graph(graph, tmp_path / "model.pt")
    assert not (tmp_path / "tables").exists()
    found = load_graph(tmp_path / "model.pt")
    map_tables(found, tmp_path / "tables")
    assert torch.equal(found(torch.arange(SMALL)), graph(torch.arange(SMALL)))


def test_an_error_inside_leaves_the_graph_whole(graph: torch.jit.ScriptModule, tmp_path: Path) -> None:
    expected_BD = graph(IDS_B)
    with pytest.raises(OSError, match="disk full"), tables_apart(graph, tmp_path / "tables"):
        raise OSError("disk full")
    assert torch.equal(graph(IDS_B), expected_BD)


@pytest.mark.parametrize(("name", "message"), [("third.weight", "first.weight"), ("first.weight", "no table")])
def test_what_is_no_table_of_the_graph_is_refused(
    graph: torch.jit.ScriptModule, tmp_path: Path, name: str, message: str
) -> None:
    if message == "no table":
        (tmp_path / f"{name}.npy").write_bytes(b"nothing")
    else:
        np.save(tmp_path / f"{name}.npy", np.zeros((2, 3), np.float32))
    with pytest.raises(BundleError, match=message):
        map_tables(graph, tmp_path)
