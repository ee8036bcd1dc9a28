"""MkDocs hook: pages generated from the code (commands, recipe settings, datasets) and from repository files."""

from __future__ import annotations

import importlib
import inspect
import itertools
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

if TYPE_CHECKING:
    from bonaface.data.datasets.adapter import Layout

ROOT = Path(__file__).parents[1]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    pages = {
        "commands.md": commands(),
        "recipes.md": recipes(),
        "datasets.md": datasets(),
        **dataset_pages(),
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
    """Every dataset layout that `bonaface data index` reads, with a link to its page."""
    import bonaface

    lines = ["# Datasets", "", "Bonaface reads a user's own copy. Each dataset has a licence of its own.", ""]
    rows = [(f"[{layout.title}](datasets/{layout.name}.md)", f"`{layout.name}`") for layout in bonaface.layouts()]
    return "\n".join([*lines, *_table(("dataset", "`--layout`"), rows)])


def dataset_pages() -> dict[str, str]:
    """A page for each layout, by its name: how it lies on disk, its licence and its citation."""
    import bonaface

    described = _dataset_modules()
    return {
        f"datasets/{layout.name}.md": _dataset_page(layout, described[layout.name]) for layout in bonaface.layouts()
    }


def _dataset_page(layout: Layout, described: str) -> str:
    """A page from a layout and from what its module says of the dataset: summary, layout on disk, citation."""
    summary, *rest = described.split("\n\n")
    lines = [f"# {layout.title}", "", _plain(summary), ""]
    lines += [f"    bonaface data index FOLDER --layout {layout.name} -o manifest.csv", "", "## On disk", ""]
    lines += [block for part in rest if part.startswith("    ") for block in (part.rstrip(), "")]
    lines += [f"Expected: {_plain(layout.expects)}", ""]
    if layout.protocols:
        folds = {name: layout.folds.get(name, 0) for name in layout.protocols}
        named = [f"`{name}` ({count} folds)" if count else f"`{name}`" for name, count in folds.items()]
        lines += [f"Protocols (`--protocol`): {', '.join(named)}", ""]
    if layout.splits:
        lines += ["Public splits (`--split`): " + ", ".join(f"`{name}`" for name in layout.splits), ""]
    if layout.licence:
        lines += ["## Licence", "", f"Terms of use: {_plain(layout.licence)}.", ""]
        lines += ["## Citation", "", _plain(rest[-1]), ""]
    return "\n".join(lines)


def _dataset_modules() -> dict[str, str]:
    """What the module of each layout says of it, by the layout's name."""
    from bonaface.data import datasets as package
    from bonaface.data.datasets.adapter import Layout

    found = {}
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        if not module.name.endswith(".registry"):  # which holds all of them
            held = importlib.import_module(module.name)
            found |= {item.name: inspect.getdoc(held) or "" for item in vars(held).values() if isinstance(item, Layout)}
    return found


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    cells = [head, ("---",) * len(head), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells] + [""]


def _plain(text: str) -> str:
    return " ".join(text.split()).replace("<", "&lt;").replace("{", "&#123;")


if __name__ == "__main__":
    sys.stdout.write("\n\n".join((commands(), recipes(), datasets(), *dataset_pages().values())))
