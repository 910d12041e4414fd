"""The schema: what it refuses, in words that help, and what follows from it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from ranker.schema import (
    CategoricalFeature,
    CategoricalListFeature,
    FrozenConfig,
    Hashing,
    Ids,
    NumericFeature,
    Schema,
    TableSpec,
    TaskSpec,
    Vocabulary,
    embedded,
    table_name,
)

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "config.md").read_text(encoding="utf-8")

Config = dict[str, Any]


def schema_config() -> Config:
    """Features on all sides, given out of side order, with a shared table, and a funnel of three tasks."""
    return {
        "ids": {"user": "user_id", "item": "item_id", "request": "request_id", "timestamp": "ts"},
        "embedding_dim": 8,
        "tables": {"brand": {"encoding": {"kind": "hash", "num_buckets": 100}, "embedding_dim": 4}},
        "features": [
            {"name": "brand_id", "side": "item", "kind": "categorical", "table": "brand"},
            {"name": "hour", "side": "context", "kind": "categorical"},
            {"name": "liked_brands", "side": "user", "kind": "categorical_list", "table": "brand", "pooling": "sum"},
            {"name": "age", "side": "user", "kind": "numeric", "source": "age_years", "missing_indicator": True},
            {
                "name": "age_bucket",
                "side": "user",
                "kind": "numeric",
                "source": "age_years",
                "transforms": ["bucketize"],
            },
        ],
        "tasks": [
            {"name": "ctr", "label": "click"},
            {"name": "cvr", "label": "buy", "space": {"where": {"click": 1}}},
            {"name": "amount", "label": "euros", "kind": "regression", "space": {"where": {"buy": 1}}},
        ],
        "outputs": {"ctcvr": "ctr * cvr"},
    }


@pytest.fixture
def config() -> Config:
    return schema_config()


def test_everything_derived_follows_from_the_config(config: Config) -> None:
    schema = Schema.model_validate(config)
    assert schema.task_names == ("ctr", "cvr", "amount")
    assert schema.output_names == ("ctr", "cvr", "amount", "ctcvr")
    assert schema.factors("ctcvr") == ("ctr", "cvr")
    assert schema.label_columns == ("click", "buy", "euros")
    assert [f.name for f in schema.side_features("request")] == ["liked_brands", "age", "age_bucket", "hour"]
    assert [f.name for f in schema.side_features("item")] == ["brand_id"]
    assert schema.columns("user") == ("liked_brands", "age_years")
    assert schema.feature_columns == ("brand_id", "hour", "liked_brands", "age_years")
    assert [f.name for f in schema.features if embedded(f)] == ["brand_id", "hour", "liked_brands", "age_bucket"]
    assert [table_name(f) for f in schema.features] == ["brand", "hour", "brand", "age", "age_bucket"]
    assert schema.task("cvr").conditions == {"click": 1}
    assert schema.task("ctr").conditions == {}


def test_defaults_are_the_documented_ones() -> None:
    schema = Schema.model_validate(
        {
            "features": [{"name": "brand", "side": "item", "kind": "categorical"}],
            "tasks": [{"name": "ctr", "label": "y"}],
        }
    )
    (feature,) = schema.features
    assert isinstance(feature, CategoricalFeature)
    assert feature.encoding.model_dump() == {"kind": "vocabulary", "min_count": 2, "max_size": None}
    assert (schema.embedding_dim, schema.outputs, schema.ids.user) == (16, {}, None)


def test_json_round_trip_keeps_the_schema_and_its_fingerprint(config: Config) -> None:
    schema = Schema.model_validate(config)
    again = Schema.model_validate_json(schema.model_dump_json())
    assert again == schema
    assert again.fingerprint == schema.fingerprint
    assert re.fullmatch("[0-9a-f]{16}", schema.fingerprint)


def test_a_schema_without_newer_options_keeps_its_fingerprint() -> None:
    """Bundles carry it: another fingerprint for the same meaning would make every one of them unreadable."""
    encoding: Config = {"kind": "vocabulary", "min_count": 3}
    content: Config = {
        "features": [
            {"name": "brand", "side": "item", "kind": "categorical", "encoding": encoding},
            {"name": "age", "side": "user", "kind": "numeric"},
        ],
        "tasks": [{"name": "ctr", "label": "click"}],
    }
    assert Schema.model_validate(content).fingerprint == "a82cfd2160f0d80e"
    encoding.update(overflow="hash", overflow_buckets=7)
    hashed = Schema.model_validate(content)
    assert hashed.fingerprint != "a82cfd2160f0d80e"
    assert Schema.model_validate_json(hashed.model_dump_json()) == hashed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"overflow": "hash"}, "`overflow: hash` needs `overflow_buckets`"),
        ({"overflow_buckets": 5}, "`overflow_buckets` needs `overflow: hash`"),
        ({"overflow": "hash", "overflow_buckets": 0}, "greater than or equal to 1"),
        ({"overflow": "hash", "overflow_buckets": 2**30 + 1}, "less than or equal to 1073741824"),
        ({"overflow": "drop"}, "'unknown' or 'hash'"),
    ],
)
def test_overflow_rows_and_their_number_go_together(options: Config, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Vocabulary.model_validate(options)


def test_a_changed_copy_has_its_own_derived_values(config: Config) -> None:
    schema = Schema.model_validate(config)
    before = schema.fingerprint, schema.task_names
    copy = schema.model_copy(update={"tasks": schema.tasks[:1], "outputs": {}})
    assert copy.task_names == ("ctr",)
    assert copy.fingerprint != schema.fingerprint
    assert (schema.fingerprint, schema.task_names) == before


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("embedding_dim",), 9),
        (("features", 1, "name"), "hour_of_day"),
        (("features", 2, "max_length"), 7),
        (("features", 2, "pooling"), "mean"),
        (("tables", "brand", "encoding", "num_buckets"), 101),
        (("tasks", 1, "space"), "everywhere"),
        (("outputs",), {}),
        (("ids", "user"), "uid"),
    ],
)
def test_fingerprint_changes_with_every_part(config: Config, path: tuple[str | int, ...], value: object) -> None:
    before = Schema.model_validate(config).fingerprint
    assert Schema.model_validate(_changed(config, path, value)).fingerprint != before


def test_schema_is_immutable(config: Config) -> None:
    schema = Schema.model_validate(config)
    with pytest.raises(ValidationError, match="frozen"):
        schema.embedding_dim = 3  # type: ignore[misc]  # that it is read-only is the point


def test_unknown_task_names_the_known_ones(config: Config) -> None:
    with pytest.raises(KeyError, match=r"no task named 'cvt'; tasks: \['amount', 'ctr', 'cvr'\]"):
        Schema.model_validate(config).task("cvt")


_NUMERIC = {"name": "x", "side": "user", "kind": "numeric"}
_SHARED = {"name": "x", "side": "user", "kind": "categorical", "table": "brand"}

BAD: list[tuple[tuple[str | int, ...], object, str]] = [
    (("embeding_dim",), 3, r"embeding_dim\s+Extra inputs are not permitted"),
    (("features", 1, "poling"), "sum", r"features.1.categorical.poling\s+Extra inputs are not permitted"),
    (
        ("features", 1, "kind"),
        "categoric",
        "does not match any of the expected tags: 'categorical', 'categorical_list', 'num",
    ),
    (("features", 1, "side"), "usr", "should be 'user', 'item' or 'context'"),
    (("features", 1, "name"), "hour of day", "features.1.categorical.name"),
    (("features", 1, "source"), "", "at least 1 character"),
    (("features", 2, "max_length"), 0, "greater than or equal to 1"),
    (("features",), [], "at least 1 item"),
    (("tasks",), [], "at least 1 item"),
    (("embedding_dim",), 0, "greater than or equal to 1"),
    (("tables", "brand", "encoding", "num_buckets"), 0, "greater than or equal to 1"),
    (("features", 1, "name"), "age", r"feature names must be unique, got \['age'\] more than once"),
    (("tasks", 1, "name"), "ctr", r"task names must be unique, got \['ctr'\] more than once"),
    (("ids", "user"), "item_id", r"id column names must be unique, got \['item_id'\]"),
    (("ids", "user"), "click", "`ids.user` must not be the label column 'click'"),
    (("features", 1, "source"), "euros", "feature 'hour' reads the label column 'euros'.*remove the feature"),
    (("features", 0, "table"), "brnd", r"names table 'brnd', which `tables` does not define; defined: \['brand'\]"),
    (("tables", "unused"), {}, r"tables \['unused'\] are used by no feature; remove them"),
    (("tables", "hour"), {}, r"tables \['hour'\] are used by no feature"),
    (("features", 1), _SHARED | {"embedding_dim": 3}, "`embedding_dim` of feature 'x' must be set in `tables.brand`"),
    (
        ("features", 1),
        _SHARED | {"encoding": {"kind": "vocabulary", "min_count": 9}},
        "`encoding` of feature 'x' must be set",
    ),
    (("features", 1), _NUMERIC | {"transforms": ["standardize", "log1p"]}, "`transforms` of feature 'x' must be log1p"),
    (("features", 1), _NUMERIC | {"transforms": ["log1p", "log1p"]}, "`transforms` of feature 'x'"),
    (("features", 1), _NUMERIC | {"transforms": ["quantile", "bucketize"]}, "`transforms` of feature 'x'"),
    (
        ("features", 1),
        _NUMERIC | {"transforms": ["logp"]},
        "should be 'log1p', 'standardize', 'quantile' or 'bucketize'",
    ),
    (("features", 1), _NUMERIC | {"boundaries": [1, 2]}, "`boundaries` of feature 'x' needs `bucketize`"),
    (("features", 1), _NUMERIC | {"embedding_dim": 2}, "`embedding_dim` of feature 'x' needs `bucketize`"),
    (("features", 1), _NUMERIC | {"num_buckets": 5}, "`num_buckets` of feature 'x' needs `bucketize`"),
    (
        ("features", 1),
        _NUMERIC | {"transforms": ["bucketize"], "boundaries": [2, 1]},
        r"ascend strictly, got \[2.0, 1.0\]",
    ),
    (("features", 1), _NUMERIC | {"transforms": ["bucketize"], "boundaries": [1, 1]}, "ascend strictly"),
    (("features", 1), _NUMERIC | {"transforms": ["bucketize"], "boundaries": []}, "at least 1 item"),
    (("features", 1), _NUMERIC | {"transforms": ["bucketize"], "boundaries": [float("inf")]}, "finite number"),
    (
        ("features", 1),
        _NUMERIC | {"transforms": ["bucketize"], "missing_indicator": True},
        "must be false with `bucketize`",
    ),
    (("tasks", 1, "space"), {"where": {"buy": 1}}, "`space` of task 'cvr' must not fix its own label 'buy'"),
    (("tasks", 1, "space"), {"where": {}}, "at least 1 item"),
    (("tasks", 1, "space"), {"where": {"click": "yes"}}, "valid integer"),
    (("tasks", 1, "space"), "clicked", "'everywhere'"),
    (("tasks", 1, "kind"), "multiclass", "'binary' or 'regression'"),
    (("outputs", "ctcvr"), "ctr * cvt", r"output 'ctcvr' multiplies \['cvt'\], which are no tasks; tasks: \['amount'"),
    (("outputs", "ctcvr"), "ctr + cvr", "which are no tasks"),
    (("outputs", "ctcvr"), "", "which are no tasks"),
    (("outputs", "ctcvr"), "ctr", "must be a product of different tasks, like 'ctr \\* cvr', got 'ctr'"),
    (("outputs", "ctcvr"), "ctr * ctr", "must be a product of different tasks"),
    (("outputs", "ctcvr"), "ctr * amount", r"multiplies \['amount'\], which are not binary"),
    (("outputs", "cvr"), "ctr * cvr", "output 'cvr' is also a task; give it another name"),
]


@pytest.mark.parametrize(("path", "value", "message"), BAD, ids=[f"{'.'.join(map(str, p))}={v}" for p, v, _ in BAD])
def test_bad_schema_is_refused_with_field_and_fix(
    config: Config, path: tuple[str | int, ...], value: object, message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        Schema.model_validate(_changed(config, path, value))


def test_a_shared_table_may_not_take_a_features_name(config: Config) -> None:
    config["tables"]["hour"] = {}
    config["features"].append({"name": "x", "side": "user", "kind": "categorical", "table": "hour"})
    with pytest.raises(ValidationError, match=r"tables \['hour'\] are named like features that do not use them"):
        Schema.model_validate(config)


# ------------------------------------------------------------------------------------------------ docs/config.md


def test_every_example_of_the_page_is_a_valid_schema() -> None:
    examples = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
    assert examples
    for example in examples:
        Schema.model_validate(yaml.safe_load(example)["schema"])


@pytest.mark.parametrize(
    "section",
    [Schema, Ids, TableSpec, CategoricalFeature, CategoricalListFeature, NumericFeature, Vocabulary, Hashing, TaskSpec],
)
def test_the_page_gives_every_option_with_its_default(section: type[FrozenConfig]) -> None:
    options = dict(re.findall(r"^\| `(\w+)` \| ([^|]+?) \|", _table_of(section), flags=re.MULTILINE))
    assert options.keys() == section.model_fields.keys() - {"kind"} or options.keys() == section.model_fields.keys()
    for name, default in options.items():
        field = section.model_fields[name]
        if field.is_required():
            assert default == "required", name
        elif field.default is None:
            assert default.startswith("none"), name
        elif isinstance(field.default, (str, int, bool)):
            assert default == f"`{str(field.default).lower()}`", name


def _table_of(section: type[FrozenConfig]) -> str:
    """The part of the page that belongs to a section: from its marker to the next heading."""
    return PAGE.split(f"<!-- {section.__name__} -->")[1].split("\n#")[0].split("<!--")[0]


def _changed(config: Config, path: tuple[str | int, ...], value: object) -> Config:
    place: Any = config
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return config
