"""MkDocs hook: pages generated from the code (commands, recipe settings, datasets) and from repository files."""

from __future__ import annotations

import inspect
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    pages = {
        "commands.md": commands(),
        "recipes.md": recipes(),
        "datasets.md": datasets(),
        "security.md": (ROOT / "SECURITY.md").read_text(encoding="utf-8"),
        "contributing.md": (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"),
    }
    for name, content in pages.items():
        files.append(File.generated(config, name, content=content))
    return files


def commands() -> str:
    """Every command with its arguments and options, from the command line itself."""
    import typer

    from bonaface.cli import app

    root = typer.main.get_command(app)
    lines = ["# Commands", "", "The same text as `bonaface COMMAND --help`.", ""]
    for path, command in _walk(root, "bonaface"):
        lines += [f"## {path}", "", _plain(command.help or ""), ""]
        rows = [_row(parameter) for parameter in command.params if not getattr(parameter, "hidden", False)]
        rows = [row for row in rows if row[0] != "`--help`, `-h`"]
        if rows:
            lines += _table(("argument or option", "default", "meaning"), rows)
    return "\n".join(lines)


def _walk(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path, command
        return
    for name in sorted(inner):
        yield from _walk(inner[name], f"{path} {name}")


def _row(parameter: Any) -> tuple[str, str, str]:
    names = [*parameter.opts, *parameter.secondary_opts]
    is_argument = parameter.param_type_name == "argument"
    shown = f"`{(parameter.metavar or parameter.name).upper()}`" if is_argument else ", ".join(f"`{n}`" for n in names)
    default = parameter.default
    empty = default in (None, False, (), "") or callable(default) or parameter.required
    return shown, "" if empty else f"`{default}`", _plain(getattr(parameter, "help", "") or "")


def recipes() -> str:
    """Every setting of a recipe, from the models that read it."""
    import bonaface
    from bonaface.config import Recipe, Settings, recipe_summary

    lines = [
        "# Recipe settings",
        "",
        "A recipe is a YAML file with these keys. Any key can be changed on the command line: "
        "`bonaface train default training.epochs=40`. `bonaface recipe show default` prints a recipe with every value, "
        "`bonaface recipe describe training.` this page.",
        "",
    ]
    lines += _table(
        ("recipe", "what it is"), [(f"`{name}`", recipe_summary(name)) for name in bonaface.shipped_recipes()]
    )
    for section, settings in itertools.groupby(
        bonaface.recipe_settings(), key=lambda setting: setting.key.partition(".")[0]
    ):
        model = Recipe.model_fields[section].annotation
        about = (
            inspect.getdoc(model) if inspect.isclass(model) and issubclass(model, Settings) else "A setting of its own."
        )
        lines += [f"## {section}", "", _plain(about or ""), ""]
        rows = [
            (f"`{each.key}`", _plain(each.values), f"`{each.default}`" if each.default else "", _plain(each.meaning))
            for each in settings
        ]
        lines += _table(("key", "values", "default", "meaning"), rows)
    return "\n".join(lines)


def datasets() -> str:
    """Every dataset layout that `bonaface data index` reads."""
    import bonaface

    lines = ["# Datasets", "", "Bonaface reads a user's own copy. Each dataset has a licence of its own.", ""]
    for layout in bonaface.layouts():
        lines += [
            f"## {layout.title}",
            "",
            f"    bonaface data index FOLDER --layout {layout.name} -o manifest.csv",
            "",
        ]
        lines += [f"Expected on disk: {_plain(layout.expects)}", ""]
        if layout.protocols:
            lines += ["Protocols: " + ", ".join(f"`{name}`" for name in layout.protocols), ""]
        if layout.splits:
            lines += ["Public splits: " + ", ".join(f"`{name}`" for name in layout.splits), ""]
    return "\n".join(lines)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    cells = [head, ("---",) * len(head), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells] + [""]


def _plain(text: str) -> str:
    return " ".join(text.split()).replace("<", "&lt;").replace("{", "&#123;")


if __name__ == "__main__":
    sys.stdout.write("\n\n".join((commands(), recipes(), datasets())))
