"""Parquet files as one log: the same columns of the same types in every file, read row group by row group."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from ranker.errors import DataError
from training.source import Source

_FOOTERS = 16  # files whose footers are read at once: over a network each costs a round trip
_CODES = pa.dictionary(pa.int32(), pa.string())


class ParquetLog:
    """Row groups of one or many files.

    Args:
        source: The files.
        columns: Wanted of each; a column may also be a hive partition.
        text_columns: Those of them whose strings, or lists of strings, are wanted as codes with a dictionary. Parquet
            keeps them so: nothing has to be looked up but each distinct value once.

    Raises:
        DataError: A file cannot be read, lacks a column, or has another type than the files before it.
    """

    def __init__(self, source: Source, columns: tuple[str, ...], text_columns: Iterable[str]) -> None:
        self.source, self.columns = source, columns
        text = frozenset(text_columns)
        fields: dict[str, pa.Field] = {}
        leaves: set[str] = set()
        with ThreadPoolExecutor(_FOOTERS) as threads:
            for file, footer in zip(source.files, threads.map(self._footer, source.files), strict=True):
                _merge(fields, source.label(file), self._own_fields(file, footer))
                paths = (footer.schema.column(place).path for place in range(footer.num_columns))
                leaves.update(path for path in paths if path.split(".")[0] in text)
        fields = {name: _coded(field) if name in text else field for name, field in fields.items()}
        self._dataset = self._open(fields, sorted(leaves))
        self.groups = [group for file in self._dataset.get_fragments() for group in self._split(file)]

    @property
    def num_rows(self) -> int:
        """Rows of all files."""
        return sum(self.num_rows_of(group) for group in range(len(self.groups)))

    @property
    def no_rows(self) -> pa.Table:
        """The columns without rows."""
        return self._dataset.schema.empty_table()

    def num_rows_of(self, group: int) -> int:
        """Rows of one row group."""
        return int(self.groups[group].row_groups[0].num_rows)

    def file(self, group: int) -> str:
        """The file of a row group, as messages call it."""
        return self.source.label(self.groups[group].path)

    def read(self, group: int, columns: tuple[str, ...], batch_size: int) -> Iterator[pa.RecordBatch]:
        """Rows of one row group in file order.

        Raises:
            DataError: The file is gone or damaged.
        """
        try:
            yield from self.groups[group].to_batches(
                schema=self._dataset.schema,
                columns=list(columns),
                batch_size=batch_size,
                batch_readahead=1,
                use_threads=False,
            )
        except (OSError, pa.ArrowException) as exc:
            raise _unreadable(self.file(group), exc) from exc

    def _split(self, file: ds.ParquetFileFragment) -> list[ds.ParquetFileFragment]:
        try:
            return [group for group in file.split_by_row_group() if group.row_groups[0].num_rows]
        except (OSError, pa.ArrowException) as exc:
            raise _unreadable(self.source.label(file.path), exc) from exc

    def _footer(self, file: str) -> pq.FileMetaData:
        try:
            return pq.read_metadata(file, filesystem=self.source.filesystem)
        except (OSError, pa.ArrowException) as exc:
            raise DataError(
                f"file '{self.source.label(file)}' is not readable Parquet ({exc}); write it again, it may be truncated"
            ) from exc

    def _own_fields(self, file: str, footer: pq.FileMetaData) -> list[pa.Field]:
        """Those of the columns that the file itself holds; the others are names of its folders."""
        schema, name = footer.schema.to_arrow_schema(), self.source.label(file)
        partitions = self.source.partitions(file)
        if missing := [column for column in self.columns if column not in schema.names and column not in partitions]:
            raise DataError(
                f"file '{name}' lacks column {missing[0]!r}, which the config names; it has {sorted(schema.names)}; "
                "add the column, or correct the config"
            )
        if repeated := [column for column in self.columns if schema.names.count(column) > 1]:
            raise DataError(f"file '{name}' has column {repeated[0]!r} more than once; keep one of them")
        return [schema.field(column).remove_metadata() for column in self.columns if column not in partitions]

    def _open(self, fields: dict[str, pa.Field], coded: list[str]) -> ds.Dataset:
        # Folders above the root may be called key=value as well; they are none of ours.
        options = {
            "filesystem": self.source.filesystem,
            "partitioning": "hive",
            "partition_base_dir": self.source.root,
            "format": ds.ParquetFileFormat(
                read_options=ds.ParquetReadOptions(dictionary_columns=coded),
                default_fragment_scan_options=ds.ParquetFragmentScanOptions(pre_buffer=self.source.remote),
            ),
        }
        files = list(self.source.files)
        try:
            found = ds.dataset(files, **options).schema
            schema = pa.schema([fields[name] if name in fields else found.field(name) for name in self.columns])
            dataset: ds.Dataset = ds.dataset(files, schema=schema, **options)
        except pa.ArrowException as exc:
            raise DataError(
                f"files of '{self.source.where}' do not fit together: {exc}; write them with the same columns"
            ) from exc
        return dataset


def _merge(fields: dict[str, pa.Field], file: str, new: Iterable[pa.Field]) -> None:
    """Widen each column's type so that it holds the file's values: null to anything, integers to floats."""
    for field in new:
        known = fields.get(field.name, field)
        try:
            both = pa.unify_schemas([pa.schema([known]), pa.schema([field])], promote_options="permissive")
        except pa.ArrowException as exc:
            raise DataError(
                f"file '{file}' holds {field.type} in column '{field.name}', files before it {known.type}; "
                "write all files with one type"
            ) from exc
        fields[field.name] = both.field(0)


def _coded(field: pa.Field) -> pa.Field:
    """Strings, and lists of them, as codes with a dictionary."""
    kind = field.type
    if _is_text(kind):
        return field.with_type(_CODES)
    if (pa.types.is_list(kind) or pa.types.is_large_list(kind)) and _is_text(kind.value_type):
        make = pa.list_ if pa.types.is_list(kind) else pa.large_list
        return field.with_type(make(kind.value_field.with_type(_CODES)))
    return field


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _unreadable(file: str, error: Exception) -> DataError:
    return DataError(f"file '{file}' cannot be read: {error}; write it again")
