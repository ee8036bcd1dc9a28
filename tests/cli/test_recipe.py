"""`bonaface recipe`: every recipe and setting, and what an unknown one gets."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from pydantic import BaseModel

import bonaface
from bonaface.config import Recipe, load_recipe
from bonaface.errors import SettingsError
from tests.conftest import Ended


@pytest.fixture
def recipe(program: Callable[..., Ended]) -> Callable[..., Ended]:
    return partial(program, "recipe")


def test_list_names_every_recipe_with_a_sentence(recipe):
    lines = recipe("list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(bonaface.shipped_recipes())
    assert all(line.endswith(".") and len(line.split()) > 5 for line in lines)


def test_shown_recipe_is_a_recipe(recipe, tmp_path: Path):
    shown = tmp_path / "mine.yaml"
    shown.write_text(recipe("show", "demo", "training.epochs=7").stdout)
    assert load_recipe(shown) == load_recipe("demo", ["training.epochs=7"])
    assert recipe("show", str(shown)).stdout == shown.read_text()


def test_every_setting_is_described():
    described = {setting.key: setting for setting in bonaface.recipe_settings()}
    keys = []
    for name, field in Recipe.model_fields.items():
        inner = field.annotation
        is_section = isinstance(inner, type) and issubclass(inner, BaseModel)
        keys += [f"{name}.{key}" for key in inner.model_fields] if is_section else [name]  # type: ignore[union-attr]
    assert list(described) == keys
    assert all(setting.meaning and setting.values for setting in described.values())
    defaults = Recipe()
    assert described["training.batch_size"].default == str(defaults.training.batch_size)
    assert described["data.allow_leak"].default == "false"
    assert described["data.manifest"].default == ""


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("seed", "whole number, at least 0"),
        ("crop.frames", "whole number, at least 1, or all"),
        ("training.monitor", "val_loss | val_hter"),
        ("training.scheduler_factor", "number, above 0, below 1"),
        ("training.early_stopping", "whole number, at least 1, or empty"),
        ("data.crops", "path, or empty"),
        ("data.allow_leak", "true | false"),
        ("model.name", "text"),
    ],
)
def test_values_in_words(key: str, values: str):
    assert [setting.values for setting in bonaface.recipe_settings(key)] == [values]


@pytest.mark.parametrize("key", ["training.", "training", " training. "])
def test_section_lists_its_settings_alone(key: str):
    found = bonaface.recipe_settings(key)
    assert [setting.key for setting in found] == [f"training.{name}" for name in type(Recipe().training).model_fields]


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("training.epoch", "did you mean 'training.epochs'?"),
        ("epochs", "did you mean 'training.epochs'?"),
        ("trainig.", "did you mean 'training'?"),
        ("train", "sections are seed, data"),
        ("training.epochs.x", "did you mean 'training.epochs'?"),
        ("seed.x", "no setting 'seed.x'"),
        ("zzz", "no setting 'zzz'; sections are"),
    ],
)
def test_unknown_key_gets_the_nearest(key: str, hint: str):
    with pytest.raises(SettingsError) as caught:
        bonaface.recipe_settings(key)
    assert hint in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("describe", "training.epoch"), "did you mean 'training.epochs'"),
        (("show", "defualt"), "did you mean 'default'"),
        (("show", "default", "training.epoch=3"), "did you mean 'epochs'"),
        (("show",), "Missing argument"),
        (("lst",), "No such command"),
    ],
)
def test_a_mistake_is_one_line(recipe, arguments: tuple[str, ...], said: str):
    done = recipe(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_describe_prints_a_section(recipe):
    lines = recipe("describe", "scoring.").stdout.splitlines()
    assert lines[0] == "scoring.frames: frames of a video, spread over it, whose scores are fused"
    assert lines[1] == "  whole number, at least 1; default 8"
    assert len(lines) == 8
