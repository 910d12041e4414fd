"""The embedded store: LMDB files in a directory, read by any number of processes while one writes.

store.py        the store
environment.py  open files, one per directory and process
keys.py         how the file's keys are laid out
change_log.py   which entities changed, in the same transaction as the change
sweep.py        lets expired rows go, a few with each write
"""

from feature_store.embedded.store import EmbeddedStore

__all__ = ["EmbeddedStore"]
