"""What can go wrong in `ranker`.

RankerError (ValueError)
├── SchemaError      a schema or config contradicts itself
├── DataError        rows do not fit the schema: names the column, the value and the fix
├── FusionError      a fusion policy names an unknown output or leaves its bounds
├── BundleError      a bundle is incomplete, altered, or disagrees with itself
└── RegistryError    a registry has no such version, or no current one
"""


class RankerError(ValueError):
    """Base of every error that a user of this package can cause and mend."""


class SchemaError(RankerError):
    """A schema contradicts itself."""


class DataError(RankerError):
    """Rows do not fit the schema."""


class FusionError(RankerError):
    """A fusion policy names an unknown output or leaves its bounds."""


class BundleError(RankerError):
    """A bundle is incomplete, altered, or disagrees with its own golden rows."""


class RegistryError(RankerError):
    """A registry has no such version, or no current one."""
