"""Describe recipes and their settings, from the models that read them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bonaface.config.recipe import Recipe, Settings, shipped_recipes
from bonaface.errors import SettingsError, did_you_mean


def recipe_summary(name: str) -> str:
    """Return the first sentence of the comment at the head of a shipped recipe."""
    lines = shipped_recipes()[name].read_text(encoding="utf-8").splitlines()
    comment = " ".join(line.lstrip("# ") for line in itertools.takewhile(lambda line: line.startswith("#"), lines))
    return comment.partition(". ")[0].rstrip(".") + "."


@dataclass(frozen=True)
class Setting:
    """A setting of a recipe: its key, such as `training.epochs`, what it may be, its default and its meaning."""

    key: str
    values: str
    default: str
    meaning: str


def recipe_settings(key: str = "") -> list[Setting]:
    """Return the settings of a recipe: all, those of a section (`training.`), or one (`training.epochs`).

    Args:
        key: the section or the setting; all settings where it is empty.

    Returns:
        The settings, in the order of the recipe.

    Raises:
        SettingsError: there is no such key.

    Examples:
        >>> import bonaface
        >>> bonaface.recipe_settings("training.epochs")[0].values
        'whole number, at least 1'
        >>> [setting.key for setting in bonaface.recipe_settings("scoring.")]
        ['scoring.frames', 'scoring.fusion', 'scoring.widen', 'scoring.criterion']
    """
    settings: list[Setting] = []
    for name, field in Recipe.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, Settings):
            settings += _settings_of(section, f"{name}.")
        else:
            settings += [setting for setting in _settings_of(Recipe, "") if setting.key == name]
    wanted = key.strip().removesuffix(".")
    found = [each for each in settings if wanted in ("", each.key) or each.key.startswith(f"{wanted}.")]
    if not found:
        known = dict.fromkeys([*(each.key.partition(".")[0] for each in settings), *(each.key for each in settings)])
        same_name = [name for name in known if name.rpartition(".")[2] == wanted]
        hint = f" (did you mean '{same_name[0]}'?)" if same_name else did_you_mean(wanted, known)
        sections = ", ".join(name for name in known if "." not in name)
        raise SettingsError(f"no setting {key!r}{hint}; sections are {sections}")
    return found


def _settings_of(model: type[Settings], prefix: str) -> list[Setting]:
    schema: dict[str, dict[str, Any]] = model.model_json_schema()["properties"]
    return [
        Setting(f"{prefix}{name}", _values(field), _written(field.get("default")), field.get("description", ""))
        for name, field in schema.items()
    ]


def _values(schema: Mapping[str, Any]) -> str:
    """Return in words what a JSON schema allows."""
    if "anyOf" in schema:
        return ", or ".join(_values(each) for each in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return " | ".join(schema.get("enum", [schema.get("const")]))
    words = {"integer": "whole number", "number": "number", "boolean": "true | false", "null": "empty"}
    word = words.get(schema.get("type", ""), "path" if schema.get("format") == "path" else "text")
    bounds = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    return ", ".join([word, *(f"{text} {schema[name]:g}" for name, text in bounds.items() if name in schema)])


def _written(default: object) -> str:
    """Return a default as a recipe writes it; empty for none."""
    return "" if default is None else str(default).lower() if isinstance(default, bool) else str(default)
