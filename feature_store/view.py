"""A view: a named set of feature columns by entity id, such as `item` or `user`."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import Literal, get_args

import msgspec
import pyarrow as pa

from feature_store.arrow import column_type
from feature_store.errors import InvalidInput

ColumnType = Literal["int", "float", "bool", "string", "int_list", "float_list", "string_list"]

_VIEW_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")


class Column(msgspec.Struct, frozen=True):
    """One feature column. Every type is nullable, and so are the elements of lists."""

    name: str
    type: ColumnType

    def __post_init__(self) -> None:
        """Refuse an empty name and an unknown type."""
        if not self.name:
            raise ValueError("`name` of a column must not be empty")
        if self.type not in get_args(ColumnType):
            raise ValueError(f"`type` of column '{self.name}' must be one of {get_args(ColumnType)}, got '{self.type}'")


class ViewSchema(msgspec.Struct, frozen=True, dict=True):
    """The columns of a view, in the order in which rows are packed.

    Args:
        view: Name of the view: letters, digits, `_` and `-`, at most 64.
        columns: At least one; names unique. The entity id is the key of a row, not a column.

    Raises:
        ValueError: The name or the columns break these rules.

    Example:
        >>> schema = ViewSchema("item", (Column("price", "float"), Column("tags", "string_list")))
        >>> schema.names
        ('price', 'tags')
        >>> len(schema.hash)
        16
    """

    view: str
    columns: tuple[Column, ...]

    def __post_init__(self) -> None:
        """Refuse a bad view name, no columns, and repeated columns."""
        if not _VIEW_NAME.fullmatch(self.view):
            raise ValueError(f"`view` must be letters, digits, '_' or '-', at most 64, got '{self.view}'; rename it")
        if not self.columns:
            raise ValueError(f"view '{self.view}' must have at least one column besides the key")
        if repeated := [name for name, count in Counter(self.names).items() if count > 1]:
            raise ValueError(f"column names of view '{self.view}' must be unique, got {repeated} more than once")

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the columns, in order."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def digest(self) -> bytes:
        """Eight bytes that every packed row carries; they change whenever name, type or order of a column does."""
        return hashlib.sha256(msgspec.json.encode(self.columns)).digest()[:8]

    @cached_property
    def hash(self) -> str:
        """`digest` as sixteen hex digits."""
        return self.digest.hex()

    def difference(self, other: ViewSchema) -> str:
        """What would change from this schema to `other`, in words; empty when nothing would.

        Example:
            >>> old = ViewSchema("item", (Column("price", "int"), Column("old", "bool")))
            >>> old.difference(ViewSchema("item", (Column("price", "float"), Column("new", "bool"))))
            "new column 'new'; without column 'old'; column 'price' from int to float"
        """
        before = {column.name: column.type for column in self.columns}
        after = {column.name: column.type for column in other.columns}
        changes = [f"new column '{name}'" for name in after if name not in before]
        changes += [f"without column '{name}'" for name in before if name not in after]
        changes += [
            f"column '{name}' from {kind} to {after[name]}"
            for name, kind in before.items()
            if after.get(name, kind) != kind
        ]
        if not changes and self.names != other.names:
            changes = [f"columns in the order {list(other.names)}"]
        return "; ".join(changes)

    @classmethod
    def from_arrow(cls, view: str, schema: pa.Schema, key: str, columns: Sequence[str] | None = None) -> ViewSchema:
        """The view that an Arrow table with a key column makes; `feature_store.arrow` tells how types map.

        Args:
            view: Name of the view.
            schema: Arrow schema of the table.
            key: Column of the entity ids; becomes the key, not a column of the view.
            columns: Columns to take, in this order; None takes all but the key.

        Raises:
            InvalidInput: A column is missing or of a type that no view can hold.
        """
        taken = [name for name in schema.names if name != key] if columns is None else list(columns)
        if missing := [name for name in (key, *taken) if name not in schema.names]:
            raise InvalidInput(f"column '{missing[0]}' is missing; there are {sorted(schema.names)}; correct the name")
        if repeated := [name for name in (key, *taken) if schema.names.count(name) > 1]:
            raise InvalidInput(f"column '{repeated[0]}' is there more than once; rename or drop the others")
        if key in taken:
            raise InvalidInput(f"key column '{key}' cannot also be a feature column; leave it out of `columns`")
        try:
            return cls(view, tuple(Column(name, column_type(name, schema.field(name).type)) for name in taken))
        except ValueError as exc:
            raise InvalidInput(str(exc)) from exc
