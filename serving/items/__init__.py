"""Items encoded for the live model: built once, kept in files that all workers map, and brought up to date.

encoded.py    rows of items as arrays
encoder.py    from rows of the store to such arrays, for one model
snapshot.py   all items at one moment
item_side.py  from the candidates of a request to tensors
source.py     where items come from: the store, or Parquet files
build.py      a table of all of them
folder.py     where tables are kept
tables.py     mapping, building and following the store, in a running server
"""

from serving.items.encoded import EncodedItems, ItemLayout
from serving.items.encoder import EncodedRows, ItemEncoder
from serving.items.item_side import Candidates, ItemSide
from serving.items.snapshot import IndexedItems, ItemSnapshot
from serving.items.source import ParquetItems, StoreItems, StoreSource
from serving.items.tables import ItemTables

__all__ = [
    "Candidates",
    "EncodedItems",
    "EncodedRows",
    "IndexedItems",
    "ItemEncoder",
    "ItemLayout",
    "ItemSide",
    "ItemSnapshot",
    "ItemTables",
    "ParquetItems",
    "StoreItems",
    "StoreSource",
]
