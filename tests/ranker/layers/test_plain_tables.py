"""Plain tables pool as a loop over bags would."""

from __future__ import annotations

import torch
from hypothesis import given, strategies as st

from ranker.layers.plain_tables import PlainTables

ROWS = {"items": 7, "cities": 5, "tags": 3}
READERS = ("tags", "items", "cities", "items")


@given(
    lengths=st.lists(st.lists(st.integers(0, 3), min_size=2, max_size=2), min_size=4, max_size=4),
    wide=st.booleans(),
    seed=st.integers(0, 99),
)
def test_sums_of_bags(lengths: list[list[int]], wide: bool, seed: int) -> None:
    torch.manual_seed(seed)
    widths = {"items": 4, "cities": 8 if wide else 4, "tags": 4}
    tables = PlainTables(ROWS, widths, READERS)
    for weight in tables.groups:
        torch.nn.init.normal_(weight)
    assert len(tables.groups) == 1 + wide
    by_table = tables.by_table(list(tables.groups))
    assert {name: tuple(weight.shape) for name, weight in by_table.items()} == {
        name: (ROWS[name], widths[name]) for name in ROWS
    }
    ids = [[torch.randint(ROWS[name], (num,)) for num in bags] for name, bags in zip(READERS, lengths, strict=True)]
    expected = [
        torch.stack([by_table[name][bag].sum(0) for bag in bags]) for name, bags in zip(READERS, ids, strict=True)
    ]
    flat = torch.cat([bag for bags in ids for bag in bags])
    ordered = [expected[place] for place in tables.order]
    torch.testing.assert_close(tables(flat, torch.tensor(lengths)), torch.cat(ordered, dim=1))


def test_a_backward_pass_reports_each_row_once() -> None:
    tables = PlainTables(ROWS, {"items": 4, "cities": 4, "tags": 4}, READERS)
    seen: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
    tables.move_rows = lambda group, rows_U, gradients_UV: seen.update({group: (rows_U, gradients_UV)})
    ids, lengths_EB = torch.tensor([1, 1, 6, 0, 2, 6]), torch.tensor([[0, 1], [1, 1], [1, 0], [0, 2]])
    gradient_BP = torch.randn(2, 16)
    tables(ids, lengths_EB).backward(gradient_BP)
    dense_NV = torch.zeros(sum(ROWS.values()), 4)
    by_table = tables.by_table([dense_NV])
    looked_up = iter(ids.tolist())
    for feature, name in enumerate(READERS):
        for row in range(2):
            for _ in range(int(lengths_EB[feature, row])):
                by_table[name][next(looked_up)] += gradient_BP[row, 4 * feature : 4 * feature + 4]
    rows_U, gradients_UV = seen[0]
    assert rows_U.tolist() == dense_NV.abs().sum(1).nonzero().flatten().tolist()
    torch.testing.assert_close(gradients_UV, dense_NV[rows_U])
    assert tables.groups[0].grad is None
