"""The Redis store: one server, a master behind Sentinels, or a Cluster.

store.py       the store and its settings
address.py     where the servers are, from a URL
client.py      redis-py's client for each kind of address
keys.py        how keys are named, and spread over a cluster
scripts.py     writes that run on the server in one atomic step
change_log.py  which entities changed, in the same step as the change
"""

from feature_store.redis.store import RedisStore

__all__ = ["RedisStore"]
