"""Entity ids: whoever a row of features is about, as canonical text."""

from __future__ import annotations

from feature_store.errors import InvalidRow

EntityId = str | int


def entity_key(entity_id: EntityId) -> bytes:
    """The bytes that an entity is stored under; 5 and "5" are one entity.

    Text is taken as it is: no trimming, no Unicode normalisation. Lone surrogates, which JSON can smuggle in, pass.

    Raises:
        InvalidRow: The id is neither text nor an integer (a float 5.0 could mean "5" or "5.0").

    Example:
        >>> entity_key(5) == entity_key("5")
        True
    """
    if type(entity_id) is str:  # the hot path of every request
        return entity_id.encode("utf-8", "surrogatepass")
    if isinstance(entity_id, bool) or not isinstance(entity_id, (str, int)):
        raise InvalidRow(
            f"entity id must be a string or an integer, got {entity_id!r} ({type(entity_id).__name__}); convert it"
        )
    return str(entity_id).encode("utf-8", "surrogatepass")


def entity_text(key: bytes) -> str:
    """The id that `entity_key` turned into these bytes, as text.

    Example:
        >>> entity_text(entity_key(5))
        '5'
    """
    return key.decode("utf-8", "surrogatepass")
