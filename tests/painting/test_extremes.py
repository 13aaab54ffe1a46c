"""Every number of Config at its extremes, alone and in pairs: refused in one line, or bounded in
time and memory."""

import itertools
import json
import math
import subprocess
import sys
import time
from typing import Any

import httpx
import pytest
import torch

from impasto.config import MOST_LEVELS, Config, Machine, changed_by
from impasto.errors import ImpastoError
from impasto.images.read import Picture, read
from impasto.images.write import to_image, write
from impasto.painting.levels import levels_for, style_size
from studios import running

# gradio 6.31 calls pandas in a way that pandas 4 will not have
pytestmark = pytest.mark.filterwarnings("ignore:The copy keyword is deprecated:DeprecationWarning")
SCHEMA = {
    name: schema
    for model in (Config, Machine)
    for name, schema in model.model_json_schema()["properties"].items()
}
QUICK = {"size": 32, "steps": 2, "levels": 1}
SECONDS = 3.0  # that no order may take to be answered


def extremes() -> dict[str, list[Any]]:
    """The smallest and the largest value of every number in Config, and those just within."""
    found = {}
    for name, schema in SCHEMA.items():
        number = next(
            (
                each
                for each in schema.get("anyOf", [schema])
                if each.get("type") in ("integer", "number")
            ),
            None,
        )
        if number is None:
            continue
        low = number.get("minimum", number.get("exclusiveMinimum"))
        high = number["maximum"]
        if number["type"] == "integer":
            found[name] = sorted({low, low + 1, high - 1, high})
        else:
            above = math.nextafter(low, math.inf)
            found[name] = [above, high] if "exclusiveMinimum" in number else [low, above, high]
    return found


EXTREMES = extremes()


def test_every_number_of_a_config_has_both_ends() -> None:
    assert len(EXTREMES) >= 20
    assert all(math.isfinite(value) for values in EXTREMES.values() for value in values)


def test_levels_are_counted_before_they_are_built() -> None:
    content = Picture(torch.zeros(1, 3, 400, 300), None, "content", "")
    pairs = itertools.combinations_with_replacement(EXTREMES.items(), 2)
    began = time.monotonic()
    for (one, ones), (other, others) in pairs:
        for a, b in itertools.product(ones, others):
            try:
                config, _ = changed_by({one: a, other: b}, Config())
                levels = levels_for(content, config)
            except ImpastoError:
                continue
            assert 1 <= len([level for level in levels if not level.finish]) <= MOST_LEVELS
            assert sum(level.steps for level in levels) == config.steps
            assert all(level.steps >= 1 for level in levels)
            assert all(
                math.isfinite(side) for side in style_size(levels[0], content, config, levels[-1])
            )
    assert time.monotonic() - began < 60


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (
            {"level_ratio": 1.0000000000000002, "size": 512},
            "--level-ratio is 1.0000000000000002: it takes a number from",
        ),
        ({"step_ratio": 16, "level_ratio": 1.001, "steps": 2000}, "--level-ratio is 1.001"),
        ({"memory": 10**5000}, "--memory is"),
        ({"blend": [1] * 1000}, "--blend lists 1,000 values: it takes at most 64"),
        ({"mask": ["a=b"] * 1000}, "--mask lists 1,000 values"),
        ({"start": {str(k): 1 for k in range(1000)}}, "--start lists 1,000 values"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(settings, line) -> None:
    with pytest.raises(ImpastoError, match="^" + line.replace("(", r"\(")):
        changed_by(settings, Config())


def painted_with(**settings: Any) -> list[str]:
    return [
        f"--{name.replace('_', '-')}={value!r}" for name, value in {**QUICK, **settings}.items()
    ]


def cases() -> list[tuple[str, Any]]:
    alone = [(name, value) for name, values in EXTREMES.items() for value in values]
    return [
        (name, value)
        for name, value in alone
        if (name, value) not in TOO_LONG and name not in ("size", "steps")
    ]


TOO_LONG = {
    # as steps and size: legal, and only long
    *(("history", count) for count in (999, 1000)),
    # as many threads would stay in this process to the end: below they are in one of their own
    *(("threads", count) for count in (1023, 1024)),
}


@pytest.mark.parametrize(("name", "value"), cases())
def test_a_number_at_its_extreme_paints_or_is_refused(
    impasto, photo, style, tiny_weights, name, value
) -> None:
    options = f"--backbone {tiny_weights} --device cpu --precision float32".split()
    code, _, err = impasto(
        "paint", photo, style, "-o", "out.png", "--quiet", *options, *painted_with(**{name: value})
    )
    assert code in (0, 2, 4)
    assert err.count("\n") == (code != 0), err


@pytest.mark.slow
def test_the_most_threads_paint(photo, style, tiny_weights, tmp_path) -> None:
    options = f"--backbone {tiny_weights} --device cpu --precision float32 --quiet".split()
    given = [photo, style, "-o", tmp_path / "out.png", *options, *painted_with(threads=1024)]
    subprocess.run([sys.executable, "-m", "impasto", "paint", *given], check=True)


@pytest.mark.parametrize(
    "settings", [{"level_ratio": 1.0000000000000002}, {"memory": 10**400}, {"steps": 10**40}]
)
def test_a_painting_with_such_settings_inside_is_refused(impasto, photo, style, settings) -> None:
    config, machine = (
        {name: settings.get(name, value) for name, value in model.model_dump(mode="json").items()}
        for model in (Config(), Machine())
    )
    inputs = [
        {"role": role, "name": str(each), "sha256": read(each).sha256}
        for role, each in (("content", photo), ("style", style))
    ]
    record = {
        "program": "impasto",
        "version": "0",
        "config": config,
        "machine": machine,
        "inputs": inputs,
        "steps_done": 1,
    }
    write(to_image(torch.zeros(1, 3, 32, 32)), "settings.png", record)
    code, out, err = impasto("paint", "--from", "settings.png", "-o", "out.png")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert f"--{next(iter(settings)).replace('_', '-')}" in err


@pytest.mark.slow
def test_no_number_keeps_the_studio_from_answering(tiny_weights, photo, style) -> None:
    files = [("content", ("p.png", photo.read_bytes())), ("style", ("s.png", style.read_bytes()))]
    with (
        running(tiny_weights, waiting=500, pixels=300_000) as place,
        httpx.Client(base_url=place.url) as client,
    ):
        for name, values in EXTREMES.items():
            for value in values:
                began = time.monotonic()
                data = {"settings": json.dumps({**QUICK, name: value})}
                answer = client.post("/api/paintings", files=files, data=data, timeout=20)
                assert answer.status_code in (202, 422), answer.text
                assert time.monotonic() - began < SECONDS, (name, value)
                if answer.status_code == 202:
                    client.delete(f"/api/paintings/{answer.json()['id']}")
