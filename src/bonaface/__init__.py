"""Face liveness: train, evaluate and run presentation attack detectors.

    manifest = bonaface.index("footage", layout="folder", output="manifest.csv")
    bonaface.split("manifest.csv")
    run = bonaface.train("default", "data.manifest=manifest.csv", output="run")
    print(run.report)

Every command of the command line is a function here. Names are imported on first use.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from bonaface.errors import needs_extra

if TYPE_CHECKING:
    from bonaface.config import Recipe as Recipe
    from bonaface.config import load_recipe as load_recipe
    from bonaface.config import recipe_settings as recipe_settings
    from bonaface.config import shipped_recipes as shipped_recipes
    from bonaface.data.datasets.registry import layouts as layouts
    from bonaface.data.manifest import Manifest as Manifest
    from bonaface.data.manifest import read_manifest as read_manifest
    from bonaface.data.manifest import write_manifest as write_manifest
    from bonaface.errors import BonafaceError as BonafaceError
    from bonaface.evaluation.planning import plan as plan
    from bonaface.evaluation.scores import read_scores as read_scores
    from bonaface.inference.bundle import Bundle as Bundle
    from bonaface.inference.bundle import load_bundle as load_bundle
    from bonaface.inference.verdict import Verdict as Verdict
    from bonaface.workflows.audit import audit as audit
    from bonaface.workflows.bundle import bundle_from_onnx as bundle_from_onnx
    from bonaface.workflows.bundle import pull_bundle as pull_bundle
    from bonaface.workflows.calibrate import calibrate_bundle as calibrate_bundle
    from bonaface.workflows.compare import compare as compare
    from bonaface.workflows.cross_validate import folds as folds
    from bonaface.workflows.demo import demo as demo
    from bonaface.workflows.distribute import predict_on_ray as predict_on_ray
    from bonaface.workflows.drift import log as log
    from bonaface.workflows.embed import embed as embed
    from bonaface.workflows.evaluate import evaluate as evaluate
    from bonaface.workflows.evaluate_scores import evaluate_scores as evaluate_scores
    from bonaface.workflows.explain import explain as explain
    from bonaface.workflows.export import export as export
    from bonaface.workflows.limits import set_limits as set_limits
    from bonaface.workflows.model import Model as Model
    from bonaface.workflows.model import load as load
    from bonaface.workflows.predict import predict as predict
    from bonaface.workflows.prepare import crop as crop
    from bonaface.workflows.prepare import index as index
    from bonaface.workflows.prepare import split as split
    from bonaface.workflows.report import report_scores as report_scores
    from bonaface.workflows.train import train as train

__version__ = "0.1.0"

# Disable ONNX Runtime's telemetry; must be set before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_HOMES = {
    "BonafaceError": "errors",
    "Bundle": "inference.bundle",
    "Manifest": "data.manifest",
    "Recipe": "config",
    "Verdict": "inference.verdict",
    "audit": "workflows.audit",
    "bundle_from_onnx": "workflows.bundle",
    "calibrate_bundle": "workflows.calibrate",
    "crop": "workflows.prepare",
    "demo": "workflows.demo",
    "embed": "workflows.embed",
    "evaluate": "workflows.evaluate",
    "evaluate_scores": "workflows.evaluate_scores",
    "explain": "workflows.explain",
    "export": "workflows.export",
    "index": "workflows.prepare",
    "layouts": "data.datasets.registry",
    "Model": "workflows.model",
    "load": "workflows.model",
    "load_bundle": "inference.bundle",
    "load_recipe": "config",
    "log": "workflows.drift",
    "pull_bundle": "workflows.bundle",
    "plan": "evaluation.planning",
    "predict": "workflows.predict",
    "predict_on_ray": "workflows.distribute",
    "read_manifest": "data.manifest",
    "read_scores": "evaluation.scores",
    "recipe_settings": "config",
    "report_scores": "workflows.report",
    "set_limits": "workflows.limits",
    "shipped_recipes": "config",
    "split": "workflows.prepare",
    "compare": "workflows.compare",
    "folds": "workflows.cross_validate",
    "train": "workflows.train",
    "write_manifest": "data.manifest",
}

__all__ = [*_HOMES, "__version__"]  # noqa: PLE0604 (its keys are strings)


_TRAIN = {"demo", "explain", "export", "folds", "train"}
"""What needs the extra `train`, although it fails on what `eval` installs first."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'bonaface' has no attribute {name!r}")
    with needs_extra(f"bonaface.{name}", extra="train" if name in _TRAIN else None):
        value = getattr(import_module(f"bonaface.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
