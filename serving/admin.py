"""What admins do with policies: read, change within the bundle's bounds, look back, go back."""

from __future__ import annotations

import re

from ranker.fusion import FusionPolicy, Term
from serving.engine import Engine
from serving.errors import FieldError, InvalidRequest, NotFound, PolicyConflict, PreconditionRequired
from serving.models import Models
from serving.policies import PolicyCache, SavedPolicy
from serving.schemas import PolicyRollback, PolicyUpdate, PolicyView, TermUpdate

_ENTITY_TAG = re.compile(r'\s*(?P<weak>W/)?"(?P<value>[^"]*)"\s*')


class PolicyAdmin:
    """Reads and changes the policies of scenes. What is saved can be served: it is checked against the live model."""

    def __init__(self, models: Models, policies: PolicyCache) -> None:
        self._models = models
        self._policies = policies

    async def view(self, scene: str) -> PolicyView:
        """The newest policy of a scene; version 0 with the bundle's default where nobody has saved one.

        Raises:
            NotReady: The scene has no policy, and there is no model whose default could be shown.
        """
        saved = await self._policies.store.get(scene)
        if saved is None:
            return PolicyView(scene=scene, version=0, terms=self._models.live().fusion.terms)
        return _view(saved)

    async def update(self, scene: str, update: PolicyUpdate, if_match: str | None) -> PolicyView:
        """Save a new policy for a scene.

        Args:
            scene: Whose policy it is.
            update: The new terms, the author and a comment.
            if_match: The `If-Match` header: the version (entity tag) that the caller has read, or `*` for any.

        Raises:
            InvalidRequest: A term is unknown to the live model, or leaves the bundle's bounds.
            PreconditionRequired: The scene has a policy and `if_match` is absent.
            PolicyConflict: The policy is no longer the one that `if_match` names.
            NotReady: No model is live to check the policy against.
        """
        policy = _checked(update.terms, self._models.live())
        expected = await self._expected(scene, if_match)
        saved = await self._policies.save(
            scene, policy, author=update.author, comment=update.comment, expected_version=expected
        )
        return _view(saved)

    async def history(self, scene: str, limit: int) -> list[PolicyView]:
        """The newest versions of a scene's policy, newest first."""
        return [_view(saved) for saved in await self._policies.store.history(scene, limit)]

    async def roll_back(self, scene: str, wish: PolicyRollback, if_match: str | None) -> PolicyView:
        """Save an earlier version's terms as a new version; history stays as it is.

        Raises:
            NotFound: There is no such version. For the rest see `update`.
        """
        earlier = await self._policies.store.get(scene, wish.version)
        if earlier is None:
            raise NotFound(f"scene '{scene}' has no policy version {wish.version}; see /admin/policies/{scene}/history")
        terms = tuple(TermUpdate(**term.model_dump()) for term in earlier.policy.terms)
        comment = wish.comment or f"back to version {wish.version}"
        return await self.update(scene, PolicyUpdate(terms=terms, author=wish.author, comment=comment), if_match)

    async def _expected(self, scene: str, if_match: str | None) -> int | None:
        """The version that a save must find, 0 for none; `None` if it may find any."""
        saved = await self._policies.store.get(scene)
        version = saved.version if saved else 0
        if if_match is None:
            if version:
                raise PreconditionRequired(
                    f"the policy of scene '{scene}' is at version {version}: read it, then send its ETag as If-Match"
                )
            return 0
        if if_match.strip() == "*":
            return None
        if entity_tag(version) not in _strong_tags(if_match):
            raise PolicyConflict(
                f"the policy of scene '{scene}' is at version {version}, If-Match says {if_match}: someone changed it "
                "meanwhile; read it again and repeat the change on what is there now"
            )
        return version


def entity_tag(version: int) -> str:
    """The `ETag` of a policy version."""
    return f'"{version}"'


def _strong_tags(header: str) -> set[str]:
    tags = [_ENTITY_TAG.fullmatch(part) for part in header.split(",")]
    if not all(tags):
        fix = 'send the ETag of the policy as it came, quotes included, like "7"'
        raise InvalidRequest(FieldError("If-Match", "must be an entity tag in quotes", fix, header))
    return {f'"{tag["value"]}"' for tag in tags if tag and not tag["weak"]}


def _checked(terms: tuple[TermUpdate, ...], engine: Engine) -> FusionPolicy:
    """The policy that the terms make, if the live model reports their outputs and the bundle's bounds allow them."""
    bounds = {term.output: term for term in engine.fusion.terms}
    made: list[Term] = []
    faults: list[FieldError] = []
    for place, update in enumerate(terms):
        at = f"terms[{place}]"
        if update.output not in engine.output_names:
            fix = f"choose one of {', '.join(engine.output_names)}"
            faults.append(FieldError(f"{at}.output", "must be an output of the live model", fix, update.output))
            continue
        # An output that the bundle does not weigh has the bounds that any new term has.
        widest = bounds.get(update.output) or Term(output=update.output, weight=0.0)
        low = widest.min_weight if update.min_weight is None else update.min_weight
        high = widest.max_weight if update.max_weight is None else update.max_weight
        span = f"[{widest.min_weight:g}, {widest.max_weight:g}]"
        if not widest.min_weight <= low <= high <= widest.max_weight:
            message = f"bounds of term '{update.output}' must lie within those of the bundle, {span}"
            faults.append(FieldError(f"{at}.min_weight, {at}.max_weight", message, "narrow them", [low, high]))
        elif not low <= update.weight <= high:
            message = f"weight of term '{update.output}' must lie within [{low:g}, {high:g}]"
            faults.append(FieldError(f"{at}.weight", message, "choose a weight between its bounds", update.weight))
        else:
            made.append(Term(output=update.output, weight=update.weight, min_weight=low, max_weight=high))
    outputs = [update.output for update in terms]
    if repeated := sorted({output for output in outputs if outputs.count(output) > 1}):
        faults.append(FieldError("terms", "must name each output once", "remove the repetition", repeated))
    elif not any(update.weight for update in terms):
        fix = "give at least one term a weight"
        faults.append(FieldError("terms", "must not all weigh 0: every candidate would score the same", fix))
    if faults:
        raise InvalidRequest(*faults)
    return FusionPolicy(terms=tuple(made))


def _view(saved: SavedPolicy) -> PolicyView:
    return PolicyView(
        scene=saved.scene,
        version=saved.version,
        terms=saved.policy.terms,
        author=saved.author,
        comment=saved.comment,
        created_at=saved.created_at,
    )
