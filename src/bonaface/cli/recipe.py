"""Commands on recipes: `bonaface recipe ...`."""

from __future__ import annotations

from typing import Annotated

import typer

import bonaface
from bonaface.cli.output import echo, echo_lines

app = typer.Typer(rich_markup_mode=None, help="List and show recipes, and describe their settings.")


@app.command("list")
def list_command() -> None:
    """List the recipes that come with Bonaface."""
    from bonaface.config import recipe_summary

    names = bonaface.shipped_recipes()
    width = max(map(len, names))
    for name in names:
        echo(f"{name:<{width}}  {recipe_summary(name)}")


@app.command("show")
def show_command(
    recipe: Annotated[str, typer.Argument(metavar="NAME", help="A shipped recipe, or a YAML file.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings, such as training.epochs=20.")
    ] = None,
) -> None:
    """Print a recipe as YAML with every setting written out: a start for a recipe of your own."""
    from bonaface.config import dump_recipe

    echo_lines(dump_recipe(bonaface.load_recipe(recipe, overrides or [])).splitlines())


@app.command("describe")
def describe_command(
    key: Annotated[
        str,
        typer.Argument(metavar="[KEY]", help="A setting (training.epochs) or a section (training.); by default all."),
    ] = "",
) -> None:
    """Describe settings of a recipe: what each may be, its default and its meaning."""
    for setting in bonaface.recipe_settings(key):
        echo(f"{setting.key}: {setting.meaning}")
        echo(f"  {setting.values}; {f'default {setting.default}' if setting.default else 'empty by default'}")
