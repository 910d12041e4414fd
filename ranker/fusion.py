"""Fusion: from several outputs per candidate to one score and an order.

The score is linear, `sum of weight x output`, so that a person can read off and change what matters.
"""

# Shapes: L = candidates of one request

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator

from ranker.errors import FusionError
from ranker.schema import FrozenConfig, Name, Schema


class Term(FrozenConfig):
    """One summand of the score: an output, its weight, and the bounds that the weight never leaves."""

    output: Name
    weight: float = Field(allow_inf_nan=False)
    min_weight: float = Field(0.0, allow_inf_nan=False, description="Least weight that anyone may set.")
    max_weight: float = Field(1.0, allow_inf_nan=False, description="Greatest weight that anyone may set.")

    @model_validator(mode="after")
    def _check(self) -> Term:
        if self.min_weight > self.max_weight:
            raise ValueError(
                f"`min_weight` of term '{self.output}' must be at most its `max_weight` {self.max_weight:g}, "
                f"got {self.min_weight:g}"
            )
        if not self.min_weight <= self.weight <= self.max_weight:
            raise ValueError(
                f"`weight` of term '{self.output}' must lie within [{self.min_weight:g}, {self.max_weight:g}], "
                f"got {self.weight:g}; change the weight or the term's bounds"
            )
        return self


class Contribution(NamedTuple):
    """What one term adds to the score of every candidate: `contribution = weight * value`."""

    output: str
    weight: float
    value: NDArray[np.float64]
    contribution: NDArray[np.float64]


class FusionPolicy(FrozenConfig):
    """Which outputs count for the score, and how much.

    Example:
        >>> policy = FusionPolicy(terms=(Term(output="ctr", weight=0.25), Term(output="ctcvr", weight=1.0)))
        >>> policy.score({"ctr": np.array([0.4, 0.2]), "ctcvr": np.array([0.0, 0.1])})
        array([0.1 , 0.15])
    """

    terms: tuple[Term, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> FusionPolicy:
        outputs = [term.output for term in self.terms]
        if repeated := sorted({output for output in outputs if outputs.count(output) > 1}):
            raise ValueError(f"`terms` must name each output once, got {repeated} more than once")
        if not any(term.weight for term in self.terms):
            raise ValueError(f"`terms` must not all weigh 0, got {outputs}: every candidate would score the same")
        return self

    @classmethod
    def default(cls, schema: Schema) -> FusionPolicy:
        """Weight 1 for every output of the schema: what ranks when nobody has configured anything."""
        return cls(terms=tuple(Term(output=output, weight=1.0) for output in schema.output_names))

    def validate_outputs(self, output_names: Collection[str]) -> None:
        """Refuse a policy that a model with these outputs cannot serve.

        Raises:
            FusionError: A term names none of `output_names`.
        """
        if unknown := [term.output for term in self.terms if term.output not in output_names]:
            raise FusionError(
                f"`terms` name {unknown}, which the model does not report; outputs: {sorted(output_names)}"
            )

    def score(self, outputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        """Score of every candidate.

        Args:
            outputs: Calibrated outputs by name, each [L], finite. Outputs that no term names are ignored.

        Returns:
            Scores [L], float64; higher ranks first.

        Raises:
            FusionError: A term's output is absent, or the outputs differ in length.
        """
        contributions = self._contributions(outputs)
        score_L = next(contributions).contribution
        for term in contributions:
            score_L = score_L + term.contribution
        return score_L

    def explain(self, outputs: Mapping[str, NDArray[Any]]) -> list[Contribution]:
        """The summands of `score`, in the order of the terms; added up in that order they equal it exactly.

        Raises:
            FusionError: As `score`.
        """
        return list(self._contributions(outputs))

    def with_weights(self, weights: Mapping[str, float]) -> FusionPolicy:
        """The same policy with some weights replaced; terms that `weights` does not name keep theirs.

        Raises:
            FusionError: A name is no term, a weight is no finite number or out of bounds, or all weights are 0.
        """
        terms = {term.output: term for term in self.terms}
        if unknown := sorted(set(weights) - set(terms)):
            raise FusionError(f"`weights` name {unknown}, which are no terms of this policy; terms: {sorted(terms)}")
        for output, weight in weights.items():
            terms[output] = _reweighted(terms[output], weight)
        try:
            return FusionPolicy(terms=tuple(terms.values()))
        except ValidationError as error:
            raise FusionError(_reason(error)) from error

    def _contributions(self, outputs: Mapping[str, NDArray[Any]]) -> Iterator[Contribution]:
        self.validate_outputs(outputs.keys())
        shapes = {term.output: np.shape(outputs[term.output]) for term in self.terms}
        # numpy would broadcast a lone value over all candidates; here that is always a mistake.
        if len(set(shapes.values())) != 1 or len(next(iter(shapes.values()))) != 1:
            raise FusionError(f"`outputs` must hold one value per candidate for every term, got shapes {shapes}")
        for term in self.terms:
            value_L = np.asarray(outputs[term.output], dtype=np.float64)
            yield Contribution(term.output, term.weight, value_L, term.weight * value_L)


def top_k(scores: NDArray[Any], k: int | None = None) -> NDArray[np.intp]:
    """Indices of the best candidates: score descending, ties by the candidates' order.

    Linear in the number of candidates, plus a sort of the `k` that are returned.

    Args:
        scores: Scores [L], higher is better; infinities order as usual.
        k: How many to return, at least 1; `None`, or more than there are candidates, returns all.

    Returns:
        Indices [min(k, L)]: what a stable full sort would put first.

    Raises:
        FusionError: `k` is below 1, `scores` is not one-dimensional, or a score is NaN.

    Example:
        >>> top_k(np.array([0.2, 0.7, 0.2, 0.9]), 3)
        array([3, 1, 0])
    """
    score_L = np.asarray(scores, dtype=np.float64)
    if score_L.ndim != 1:
        raise FusionError(f"`scores` must be one-dimensional, got shape {score_L.shape}")
    if k is not None and k < 1:
        raise FusionError(f"`k` must be at least 1, got {k}")
    if np.isnan(score_L).any():
        raise FusionError(
            f"`scores` must not be NaN, got NaN for candidate {int(np.isnan(score_L).argmax())}; "
            "a NaN has no place in an order: check the model's outputs"
        )
    num_candidates = len(score_L)
    if k is None or k >= num_candidates:
        return np.argsort(-score_L, kind="stable")
    threshold = np.partition(score_L, num_candidates - k)[num_candidates - k]
    above = np.flatnonzero(score_L > threshold)
    tied = np.flatnonzero(score_L == threshold)[: k - len(above)]
    return np.concatenate([above[np.argsort(-score_L[above], kind="stable")], tied])


def _reweighted(term: Term, weight: float) -> Term:
    try:
        # Strict, because a weight may come from anywhere: "1" and true are mistakes, not numbers.
        return Term.model_validate(term.model_dump() | {"weight": weight}, strict=True)
    except ValidationError as error:
        raise FusionError(f"new weight {weight!r} for term '{term.output}' refused: {_reason(error)}") from error


def _reason(error: ValidationError) -> str:
    return "; ".join(detail["msg"].removeprefix("Value error, ") for detail in error.errors())
