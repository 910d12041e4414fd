"""The servers that `benchmarks.serve` compares with: one folder each, with its own environment.

All of them do the same in the way of a tutorial: decode JSON, read packed rows, put 500 rows of all features together,
run the network, sort, answer JSON. `ranker.py` is that, `network.py` the network. What runs here knows none of our
packages.
"""
