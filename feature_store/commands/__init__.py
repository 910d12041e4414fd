"""What `ranker-features` can be told to do.

rows.py    get, put, update and delete some rows
files.py   import and export Parquet
upkeep.py  look after a whole view: stats, verify, sweep
options.py options that they share
session.py a store opened for one command
progress.py how far a long command has come
"""

from feature_store.commands.files import export_command, import_command
from feature_store.commands.rows import delete, get, put, update
from feature_store.commands.upkeep import stats, sweep, verify_command

__all__ = [
    "get",
    "put",
    "update",
    "delete",
    "import_command",
    "export_command",
    "stats",
    "verify_command",
    "sweep",
]
