"""What can go wrong in `feature_store`.

    StoreError
    ├── StoreUnavailable  the store cannot be reached, opened, or written just now
    ├── UnknownView       no view of that name: nothing was materialized into it yet
    ├── SchemaMismatch    columns or rows belong to a schema that the view does not have
    ├── CursorExpired     the change log no longer tells what a reader has missed: read the view anew
    ├── DamagedTable      an item table that was altered, or is not whole: build it anew
    ├── InvalidRow        a row to write does not fit its view: names entity, column, value and fix
    └── InvalidInput      files or arguments that cannot be materialized: names the file or column and the fix

A bad argument of a method, such as a negative `ttl_seconds`, is a plain ValueError.
"""


class StoreError(Exception):
    """Base of every error of this package."""


class StoreUnavailable(StoreError):
    """The store cannot be reached, opened, or written just now."""


class UnknownView(StoreError):
    """The store holds no view of that name."""


class SchemaMismatch(StoreError):
    """Columns or rows belong to a schema that the view does not have."""


class CursorExpired(StoreError):
    """The change log no longer tells what a reader has missed."""


class DamagedTable(StoreError):
    """An item table that was altered, or is not whole."""


class InvalidRow(StoreError):
    """A row to write does not fit its view."""


class InvalidInput(StoreError):
    """Files or arguments that cannot be materialized."""


def expired_cursor(view: str, cursor: str) -> CursorExpired:
    """The error of a cursor that the log of a view cannot be read from."""
    return CursorExpired(
        f"view '{view}': the change log no longer tells what came after cursor '{cursor:.100}'; "
        "take a new cursor with `changes(view, None)`, then read the whole view with `scan_rows`"
    )
