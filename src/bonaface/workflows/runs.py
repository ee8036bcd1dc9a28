"""The run folder of a training: opened once, reopened only by the same recipe on the same manifest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bonaface.config import Recipe, dump_recipe
from bonaface.data.manifest import Manifest, write_manifest
from bonaface.errors import OutputError, few
from bonaface.io import fresh_folder, now, read_json, versions, write_json, write_text

__all__ = ["marked_if_failed", "open_run", "update_run"]

_MAY_CHANGE = {
    "training.workers",
    "training.accelerator",
    "training.devices",
    "training.epochs",
    "training.early_stopping",
    "crop.weights",
}
"""Settings that say where and how long a training runs, not what it learns."""


def open_run(path: Path, settings: Recipe, manifest: Manifest, *, resume: bool) -> Path:
    """Make the run folder, or reopen it where the same recipe and manifest are resumed."""
    about = {"manifest": manifest.digest, "recipe": settings.model_dump(mode="json", exclude={"data"})}
    if resume:
        held = read_json(path / "run.json")
        if not held:
            raise OutputError(f"{path} holds no run to resume; leave --resume out to start one")
        if held.get("status") == "complete":
            raise OutputError(f"the run in {path} is complete; name another folder for a new one")
        _refuse_other(path, held, about)
        write_text(path / "recipe.yaml", dump_recipe(settings))
        update_run(path, status="running", **about)
        return path
    if not _never_began(path):
        fresh_folder(path, what="training run")
    write_text(path / "recipe.yaml", dump_recipe(settings))
    write_manifest(manifest, path / "manifest.csv")
    write_json(path / "run.json", {"status": "running", "started": now(), "versions": versions(), **about})
    return path


@contextmanager
def marked_if_failed(path: Path) -> Iterator[None]:
    """Note in `run.json` that the run failed, or was interrupted, where the block does not end."""
    try:
        yield
    except KeyboardInterrupt:
        _mark(path, "interrupted")
        raise
    except BaseException:
        _mark(path, "failed")
        raise


def _mark(path: Path, status: str) -> None:
    with suppress(OutputError, OSError):  # what went wrong is what the caller has to hear
        update_run(path, status=status)


def _never_began(path: Path) -> bool:
    """Whether a run failed here before its first epoch: there is nothing in it to lose, and the next may take its place."""
    status = read_json(path / "run.json").get("status")
    return status in ("failed", "interrupted") and not (path / "checkpoints" / "last.ckpt").exists()


def _refuse_other(path: Path, held: dict[str, Any], about: dict[str, Any]) -> None:
    if held.get("manifest") != about["manifest"]:
        raise OutputError(f"{path} was trained on another manifest; resume with that one or name another folder")
    before, after = _flat(held.get("recipe", {})), _flat(about["recipe"])
    changed = [key for key in after if before.get(key) != after[key] and key not in _MAY_CHANGE]
    if changed:
        shown = few([f"{key} was {before.get(key)!r}, is {after[key]!r}" for key in changed])
        raise OutputError(f"{path} was trained with other settings ({shown}); resume with those or name another folder")


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def update_run(path: Path, **values: Any) -> None:
    """Change or add entries of the run's `run.json`."""
    write_json(path / "run.json", {**read_json(path / "run.json"), **values})
