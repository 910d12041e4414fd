"""Feast: its online read of the same rows, from its SQLite and its Redis store."""
