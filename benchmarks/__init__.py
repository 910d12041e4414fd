"""Measurements that the documentation quotes: each is a script that prints its figures and keeps them in `results/`."""
