"""Which outputs of two schemas mean the same."""

from __future__ import annotations

from collections import Counter

from ranker.schema import Schema, TaskSpec

Meaning = tuple[str, str, frozenset[tuple[str, int]]]


def same_outputs(schema: Schema, other: Schema) -> dict[str, str]:
    """By output of `schema`, the output of `other` that means the same, whatever its name.

    Tasks mean the same with the same label, kind and sample space; derived outputs with the same factors. Outputs that
    mean the same as no other are left out; of several, the one of the same name is taken, or else the first.

    Example:
        >>> def of(name: str, label: str) -> Schema:
        ...     return Schema.model_validate({"features": [{"name": "age", "side": "user", "kind": "numeric"}],
        ...                                   "tasks": [{"name": name, "label": label}]})
        >>> same_outputs(of("ctr", "click"), of("clicks", "click")), same_outputs(of("ctr", "click"), of("ctr", "buy"))
        ({'ctr': 'clicks'}, {})
    """
    found: dict[str, str] = {}
    for output in schema.output_names:
        wanted = _meanings(schema, output)
        alike = [name for name in other.output_names if _meanings(other, name) == wanted]
        if alike:
            found[output] = output if output in alike else alike[0]
    return found


def describe(schema: Schema, output: str) -> str:
    """What an output means, in words."""
    if output in schema.outputs:
        return f"'{output}' = {schema.outputs[output]}"
    task = schema.task(output)
    where = " and ".join(f"{column} = {value}" for column, value in task.conditions.items())
    return f"'{output}', {task.kind} label '{task.label}'" + (f" where {where}" if where else "")


def _meanings(schema: Schema, output: str) -> Counter[Meaning]:
    """The meanings of an output's factors."""
    factors = schema.factors(output) if output in schema.outputs else (output,)
    return Counter(_meaning(schema.task(factor)) for factor in factors)


def _meaning(task: TaskSpec) -> Meaning:
    return task.label, task.kind, frozenset(task.conditions.items())
