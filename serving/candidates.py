"""From the wire to what is looked up and scored: a request's ids and values, checked against the live model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from serving.errors import FieldError, InvalidRequest
from serving.feature_plan import FeaturePlan
from serving.schemas import Candidate, RankRequest
from serving.values import check, is_plain
from serving.wanted import Id, Wanted

_MAX_FAULTS = 100  # that one answer tells


def wanted(request: RankRequest, plan: FeaturePlan) -> Wanted:
    """Ids and values of a request.

    Raises:
        InvalidRequest: A candidate is there twice, or a value does not fit the live model; names every fault.
    """
    item_ids, given = _taken_apart(request.candidates)
    wishes = Wanted(request.user_id, item_ids, request.context, given)
    faults = [*check(request.context, plan.context, "context"), *_faults(wishes, plan)]
    if repeated := _first_repeated(item_ids):
        faults.append(repeated)
    if faults:
        raise InvalidRequest(*faults[:_MAX_FAULTS])
    return wishes


def _taken_apart(candidates: Sequence[str | int | Candidate]) -> tuple[Sequence[Id], dict[int, Mapping[str, Any]]]:
    """The ids of candidates, and by place what those that bring something bring."""
    if Candidate not in set(map(type, candidates)):
        return cast(Sequence[Id], candidates), {}
    # `type(...) is`: `isinstance` asks the metaclass of msgspec's structs, which takes much longer
    item_ids = [one.item_id if type(one) is Candidate else one for one in candidates]
    return item_ids, {n: one.features for n, one in enumerate(candidates) if type(one) is Candidate and one.features}


def _faults(wishes: Wanted, plan: FeaturePlan) -> Iterator[FieldError]:
    """What is wrong with the values that candidates bring; looked at one by one only where something may be."""
    columns = wishes.given.items()
    doubtful = [name for name, of in columns if name not in plan.item or not is_plain(of.arrow, plan.item[name])]
    for place, features in wishes.overrides.items() if doubtful else ():
        values = {name: features[name] for name in doubtful if name in features}
        yield from check(values, plan.item, f"candidates[{place}].features")


def _first_repeated(item_ids: Sequence[Id]) -> FieldError | None:
    """The first candidate that was there before; 5 and "5" are one item."""
    if len(set(item_ids)) == len(item_ids) and len(set(map(type, item_ids))) == 1:
        return None
    texts = [str(item_id) for item_id in item_ids]
    if len(set(texts)) == len(texts):
        return None
    seen: set[str] = set()
    for place, text in enumerate(texts):
        if text in seen:
            message = f"repeats item '{text}'; each item must be there once (5 and \"5\" are one)"
            return FieldError(f"candidates[{place}]", message, "remove the repetition", item_ids[place])
        seen.add(text)
    return None
