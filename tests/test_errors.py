"""Errors that are one line, and parameters that are explained in one."""

from __future__ import annotations

import pickle
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from procezo_assets import errors
from procezo_assets.errors import (
    DialectError,
    FlowError,
    ParameterError,
    ProcezoError,
    did_you_mean,
)
from procezo_assets.parameters import (
    canonical_json,
    masked,
    parameter_names,
    parameters_hash,
    validated,
)

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, ProcezoError) and kind is not DialectError
]


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    size: int = 1


class Secret(BaseModel):
    model_config = ConfigDict(extra="forbid")
    env: str


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)
    window: str = "1s"
    from_: int = Field(0, alias="from")
    kind: Literal["a", "b"] = "a"
    parts: dict[str, Inner] = {}
    chosen: tuple[str, ...] | dict[str, Inner] = ()
    named: dict[Annotated[str, Field(pattern="^[a-z]+$")], Inner] = {}
    password: SecretStr | Secret | None = None


@pytest.mark.parametrize("kind", KINDS)
def test_errors_survive_pickling(kind):
    error = pickle.loads(pickle.dumps(kind("it broke", "mend it")))  # noqa: S301 - our own error

    assert type(error) is kind
    assert (error.problem, error.hint, str(error)) == ("it broke", "mend it", "it broke; mend it")


def test_the_error_of_a_dialect_keeps_its_reason():
    error = pickle.loads(pickle.dumps(DialectError("delimiter", "it broke", "mend it")))  # noqa: S301

    assert (error.reason, str(error)) == ("delimiter", "it broke; mend it")


def test_an_error_is_one_line():
    assert str(FlowError("a\n  b", "c\td")) == "a b; c d"
    assert str(FlowError("alone")) == "alone"


@pytest.mark.parametrize("sign", ["\x1b[31m", "\0", "\ud800", "\u202e", "\x7f"])
def test_an_error_can_be_printed_whatever_names_are_in_it(sign):
    told = str(FlowError(f"step '{sign}'", sign))

    assert told.isprintable()
    assert told == f"step '{ascii(sign)[1:-1]}'; {ascii(sign)[1:-1]}"


def test_an_error_is_no_longer_than_a_screen():
    told = str(FlowError(f"step '{'x' * 100_000}' is unknown", "y" * 100_000 + " rename it"))

    assert len(told) < 2_100
    assert "' is unknown; y" in told
    assert told.endswith(" rename it")


@pytest.mark.parametrize(
    ("name", "valid", "hint"),
    [
        ("windos", ["window", "x"], "did you mean 'window'?"),
        ("zzz", ["window", "a"], "valid: a, window"),
        ("zzz", [], "there are none"),
    ],
)
def test_hints(name, valid, hint):
    assert did_you_mean(name, valid) == hint


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"windw": "1s"}, "here: unknown parameter 'windw'; did you mean 'window'?"),
        ({"frm": 1}, "here: unknown parameter 'frm'; did you mean 'from'?"),
        ({"from": "x"}, "here: parameter 'from': input should be a valid integer"),
        ({"kind": "c"}, "here: parameter 'kind': input should be 'a' or 'b'; found \"c\""),
        ({"parts": {"p": {"siz": 1}}}, "unknown parameter 'parts.p.siz'; did you mean 'size'?"),
        ({"chosen": {"p": {"siz": 1}}}, "parameter 'chosen.p.siz'; did you mean 'size'?"),
        ({"chosen": ["a", 1]}, "parameter 'chosen.1': input should be a valid string; found 1"),
        ({"named": {"p": {"siz": 1}}}, "parameter 'named.p.siz'; did you mean 'size'?"),
        ({"password": {"evn": "X"}}, "parameter 'password.env' is missing; add it"),
        ({"chosen": 5}, "parameter 'chosen': input should be a valid tuple; found 5"),
        ({"window": ["x" * 500]}, "..."),
    ],
)
def test_parameters_are_explained_in_one_line(values, message):
    with pytest.raises(ParameterError) as caught:
        validated(Model, values, where="here")

    assert message in str(caught.value)
    assert len(str(caught.value)) < 250


def test_valid_values():
    model = validated(Model, {"from": 5}, where="here")

    assert model.from_ == 5
    assert "from" in parameter_names(Model)


def test_the_hash_is_of_effective_values_and_shows_no_secret():
    plain = Model()

    assert parameters_hash(Model.model_validate({"from": 0, "window": "1s"})) == parameters_hash(
        plain
    )
    assert parameters_hash(Model.model_validate({"from": 1})) != parameters_hash(plain)
    assert "hunter2" not in canonical_json(Model(password=SecretStr("hunter2")))


def test_what_is_shown_of_parameters_has_no_text_that_looks_like_a_secret():
    given = {
        "host": "db",
        "source": "https://u:x@example.org",
        "api_token": "x",
        "password": {"env": "PGPASSWORD"},
        "more": [{"dsn": "x", "level": 1}, "host=h password=x"],
    }
    assert masked(given) == {
        "host": "db",
        "source": "**********",
        "api_token": "**********",
        "password": {"env": "PGPASSWORD"},
        "more": [{"dsn": "**********", "level": 1}, "**********"],
    }
    assert masked({"source": "https://example.org"}) == {"source": "https://example.org"}
