"""What is checked, one file a subject: each rule looks at the evidence and yields findings."""

from __future__ import annotations

__all__: list[str] = []  # `training.data_check.check` applies them all
