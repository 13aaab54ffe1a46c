"""Bounded fuzzing of what comes from outside: pictures, settings, HTTP. A short round always, a
long one if slow."""

import io
import json
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from impasto.config import Config, Machine
from impasto.errors import ImpastoError
from impasto.images.read import read_bytes, settings_in
from impasto.images.write import to_image, write
from studios import running

# gradio 6.31 calls pandas in a way that pandas 4 will not have
pytestmark = pytest.mark.filterwarnings("ignore:The copy keyword is deprecated:DeprecationWarning")
ROUNDS = [100, pytest.param(2000, marks=pytest.mark.slow)]
FORMATS = ["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "PPM", "TGA", "ICO", "JPEG2000", "AVIF"]
VALUES: list[Any] = [
    None,
    True,
    -1,
    0,
    1,
    2**31,
    2**63,
    10**400,
    -1e-320,
    0.5,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "0",
    "1e999",
    "a" * 5000,
    "\0",
    "\ud800",
    "../x",
    "1,2",
    "a=1,a=2",
    "=",
    ",",
    [],
    [[]],
    [1] * 9999,
    {},
    {"": 1},
    {"relu1_1": -1},
    {"content": {}},
    {"a": float("nan")},
    b"\xff",
    object(),
]


def mutated(data: bytes, chance: random.Random) -> bytes:
    """The bytes with some flipped, cut out, doubled or put elsewhere."""
    found = bytearray(data)
    for _ in range(chance.randint(1, 8)):
        at, much = chance.randrange(len(found)), chance.randint(1, 40)
        match chance.randrange(4):
            case 0:
                found[at] ^= 1 << chance.randrange(8)
            case 1:
                found[at : at + much] = chance.randbytes(chance.randint(0, much))
            case 2:
                found[at:at] = found[at : at + much]
            case 3:
                del found[at + 1 : at + much]
    return bytes(found)


def one_line_at_most(do: Callable[..., Any], *given: Any, **more: Any) -> Any:
    """What it gives, or None if it ends with one line of an error for users."""
    try:
        return do(*given, **more)
    except ImpastoError as error:
        line = str(error)
    assert "\n" not in line
    assert len(line) < 1500
    return None


@pytest.mark.parametrize("rounds", ROUNDS)
@pytest.mark.parametrize("kind", FORMATS)
def test_a_mangled_picture_is_read_or_refused(kind: str, rounds: int) -> None:
    out, chance = io.BytesIO(), random.Random(f"{kind} {rounds}")
    pixels = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8).repeat(2, 0)
    Image.fromarray(pixels).save(out, kind)
    for _ in range(rounds):
        data = mutated(out.getvalue(), chance)
        one_line_at_most(read_bytes, data, "it", 1_000_000)
        one_line_at_most(settings_in, data, "it")


@pytest.mark.parametrize("rounds", ROUNDS)
def test_any_settings_make_a_config_or_one_line(rounds: int) -> None:
    chance, names = random.Random(rounds), [*Config.model_fields, "nothing"]
    for _ in range(25 * rounds):
        settings = {
            chance.choice(names): chance.choice(VALUES) for _ in range(chance.randint(1, 3))
        }
        config = one_line_at_most(Config, **settings)
        if config is not None:
            assert Config(**json.loads(json.dumps(config.model_dump(mode="json")))) == config


def mangled_json(record: Any, chance: random.Random) -> Any:
    """The same with something else in one place, at any depth."""
    if isinstance(record, dict) and record and chance.random() < 0.9:
        key = chance.choice(list(record))
        return {**record, key: mangled_json(record[key], chance)}
    if isinstance(record, list) and record and chance.random() < 0.9:
        return [mangled_json(record[0], chance), *record[1:]]
    wrong = [
        value
        for value in VALUES
        if not isinstance(value, (bytes, complex)) and type(value) is not object
    ]
    return chance.choice([*wrong, record, [record], {"x": record}])


@pytest.mark.parametrize("rounds", ROUNDS)
def test_mangled_settings_in_a_painting_are_read_or_refused(impasto, rounds: int) -> None:
    chance = random.Random(rounds)
    inputs = [
        {"role": role, "name": f"{role}.png", "sha256": "0" * 64} for role in ("content", "style")
    ]
    record = {
        "program": "impasto",
        "version": "1",
        "config": Config().model_dump(mode="json"),
        "machine": Machine().model_dump(mode="json"),
        "inputs": inputs,
        "steps_done": 3,
        "objective": 0.5,
        "terms": {"content": 0.1},
    }
    for _ in range(rounds):
        write(to_image(torch.zeros(1, 3, 16, 16)), "it.png", mangled_json(record, chance))
        for command in (
            ("show", "it.png"),
            ("show", "it.png", "--json"),
            ("paint", "--from", "it.png"),
        ):
            code, _, err = impasto(*command)
            assert code in (0, 2)
            assert err.count("\n") == (1 if code else 0), err


# HTTP
# --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def place(tiny_weights):
    with running(tiny_weights, waiting=8, pixels=100_000, steps=20, upload=200_000) as place:
        yield place


def hold(case: Any) -> None:
    """What must hold of every answer: no fault of the server's, no traceback in it, and one line of
    what is wrong."""
    answer = case.call(timeout=20)
    assert answer.status_code < 500 or answer.status_code in (503, 507), answer.text
    assert "Traceback" not in answer.text
    if answer.status_code >= 400 and answer.headers.get("content-type") == "application/json":
        assert isinstance(answer.json()["detail"], str)
        assert "\n" not in answer.json()["detail"]


@pytest.mark.slow  # its quick kin are the odd requests of tests/web/test_api.py
def test_http_holds_against_any_request(place) -> None:
    """Requests as the OpenAPI describes them, and some that it forbids."""
    import hypothesis  # here: the two take four seconds to import
    import schemathesis

    settings = hypothesis.settings(
        max_examples=300,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    tried = 0
    described = schemathesis.openapi.from_url(f"{place.url}/api/openapi.json")
    for found in described.get_all_operations():
        operation = found.ok()
        for mode in schemathesis.GenerationMode:
            with suppress(hypothesis.errors.Unsatisfiable):  # there is nothing to forbid
                settings(hypothesis.given(case=operation.as_strategy(generation_mode=mode))(hold))()
                tried += 1
    assert tried > 15
