"""The libraries that `benchmarks.train` compares with, one script each, and ours in the same form."""
