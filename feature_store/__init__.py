"""Features by entity id, written in bulk from Parquet and read many at once.

    base.py         the contract of a store
    embedded/       LMDB files in a directory: nothing to install
    redis/          a Redis server, Sentinels or a Cluster
    materialize.py  Parquet files into either
    export.py       and out of them
    verify.py       whether a view holds what it should
    item_table.py   numbers by id in mapped files, for whoever keeps a copy of a view in another form

Example:
    >>> import asyncio, tempfile
    >>> async def main(folder):
    ...     async with parse_store(f"lmdb:{folder}").build() as store:
    ...         await store.create_view(ViewSchema("item", (Column("price", "float"), Column("tags", "string_list"))))
    ...         await store.put_many("item", [("i1", {"price": 9.5}, None), (7, {"tags": ["new"]}, None)])
    ...         return await store.get_many("item", ["7", "i2", "i1"])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     rows = asyncio.run(main(folder))
    >>> [row and row.values for row in rows]
    [{'price': None, 'tags': ['new']}, None, {'price': 9.5, 'tags': None}]
"""

from feature_store.base import FeatureStore
from feature_store.config import StoreConfig, parse_store
from feature_store.decoder import FeatureColumns
from feature_store.embedded import EmbeddedStore
from feature_store.entity import EntityId
from feature_store.errors import (
    CursorExpired,
    DamagedTable,
    InvalidInput,
    InvalidRow,
    SchemaMismatch,
    StoreError,
    StoreUnavailable,
    UnknownView,
)
from feature_store.export import export
from feature_store.item_index import HashedIds, IdIndex
from feature_store.item_table import ItemTable, ItemTableWriter, Lists
from feature_store.materialize import Materialized, Progress, materialize
from feature_store.packing import Row
from feature_store.redis import RedisStore
from feature_store.rows import FeatureRow
from feature_store.statistics import ViewStats
from feature_store.verify import Verified, verify
from feature_store.view import Column, ViewSchema

__all__ = [
    "FeatureStore",
    "EmbeddedStore",
    "RedisStore",
    "StoreConfig",
    "parse_store",
    "Column",
    "ViewSchema",
    "ViewStats",
    "EntityId",
    "FeatureRow",
    "FeatureColumns",
    "Row",
    "materialize",
    "Materialized",
    "Progress",
    "export",
    "verify",
    "Verified",
    "ItemTable",
    "ItemTableWriter",
    "Lists",
    "HashedIds",
    "IdIndex",
    "StoreError",
    "StoreUnavailable",
    "UnknownView",
    "SchemaMismatch",
    "CursorExpired",
    "DamagedTable",
    "InvalidRow",
    "InvalidInput",
]
