"""The generated pages of the documentation."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

import bonaface

DOCS = Path(__file__).parents[1] / "docs"
OWN_FOOTAGE = {"folder", "csv"}
"""Layouts that are not of a public dataset."""


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    pytest.importorskip("mkdocs")
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_dataset_has_a_page(generate: ModuleType):
    pages = generate.dataset_pages()
    assert list(pages) == [f"datasets/{layout.name}.md" for layout in bonaface.layouts()]
    for layout in bonaface.layouts():
        page = pages[f"datasets/{layout.name}.md"]
        assert f"--layout {layout.name} " in page
        if layout.name in OWN_FOOTAGE:
            continue
        on_disk, _, rest = page.partition("## On disk")[2].partition("## Licence")
        assert re.search(r"^    \S", on_disk, re.MULTILINE), layout.name
        licence, _, citation = rest.partition("## Citation")
        assert layout.licence
        assert layout.licence in licence
        assert re.search(r"(19|20)\d\d\.\s*$", citation), layout.name
        assert f"datasets/{layout.name}.md" in generate.datasets()


def test_every_setting_is_on_the_page_of_recipes(generate: ModuleType):
    page = generate.recipes()
    for setting in bonaface.recipe_settings():
        assert f"| `{setting.key}` |" in page
    for name in bonaface.shipped_recipes():
        assert f"| `{name}` |" in page


def test_every_command_is_on_the_page_of_commands(generate: ModuleType):
    page = generate.commands()
    for command in ("plan", "report", "recipe list", "recipe show", "recipe describe", "data index", "train"):
        assert f"## bonaface {command}\n" in page
    assert "`--per-subject`" in page


def test_every_public_function_is_on_the_page_of_the_api():
    page = (DOCS / "api.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"^::: bonaface\.(\w+)$", page, re.MULTILINE))
    assert shown == set(bonaface.__all__) - {"__version__"}


def test_glossary_has_every_rate_that_a_report_names():
    page = (DOCS / "glossary.md").read_text(encoding="utf-8")
    for term in (
        "APCER",
        "BPCER",
        "APNRR",
        "BPNRR",
        "IAPAR",
        "ACER",
        "FAR",
        "FRR",
        "HTER",
        "EER",
        "AUC",
        "subject",
        "score",
    ):
        assert re.search(rf"^\| [^|]*\b{term}\b", page, re.MULTILINE), term
