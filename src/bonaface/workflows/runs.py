"""The run folder of a training: locked for one process, and reopened only with the same settings."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bonaface.config import Recipe, dump_recipe
from bonaface.data.manifest import Manifest, write_manifest
from bonaface.errors import OutputError, reraise_os_error
from bonaface.io import LOCK, fresh_folder, locked_folder, now, read_json, versions, write_json, write_text


@contextmanager
def open_run(path: Path, settings: Recipe, manifest: Manifest, *, resume: bool) -> Iterator[None]:
    """Make or reopen the run folder, hold it for the time of the block, and note there how the block ended.

    Raises OutputError for a folder in use, InputError where `resume` would change what the run learns.
    """
    from bonaface.training.checkpoints import check_resumable, fingerprint

    about = fingerprint(settings, manifest.digest)
    held = read_json(path / "run.json")
    if resume:
        if not held:
            raise OutputError(f"{path} holds no run to resume; leave --resume out to start one")
        if held.get("status") == "complete":
            raise OutputError(f"the run in {path} is complete; name another folder for a new one")
        check_resumable(path, held, about)
    elif not _may_begin(path, held):
        fresh_folder(path, what="training run")
    with locked_folder(path, doing="training"):
        _remove_leftovers(path)
        # First, because a folder without it is not known to be a run's.
        started = {"started": now(), "versions": versions()} if not resume else {}
        write_json(path / "run.json", {**(held if resume else {}), "status": "running", **started, **about})
        write_text(path / "recipe.yaml", dump_recipe(settings))
        write_manifest(manifest, path / "manifest.csv")
        try:
            yield
        except KeyboardInterrupt:
            _mark(path, "interrupted")
            raise
        except BaseException:
            _mark(path, "failed")
            raise


def update_run(path: Path, **values: Any) -> None:
    """Change or add entries of the run's `run.json`."""
    write_json(path / "run.json", {**read_json(path / "run.json"), **values})


def _may_begin(path: Path, held: Mapping[str, Any]) -> bool:
    """Return whether the folder holds only a run that was never trained, so that nothing is lost."""
    if held:
        return held.get("status") != "complete" and not (path / "checkpoints" / "last.ckpt").exists()
    return path.is_dir() and all(item.name == LOCK or item.name.startswith(".run.json.") for item in path.iterdir())


def _remove_leftovers(path: Path) -> None:
    """Remove temporary files of killed runs; while the folder is locked, no live process owns any."""
    with reraise_os_error(path):
        for folder in (path, *(path / name for name in ("bundle", "checkpoints", "logs", "scores", "report"))):
            for item in folder.glob(".*"):
                if re.fullmatch(r"\..+[.-][a-z0-9_]{8}(-old)?", item.name):  # as `.last.ckpt.k3j2h1g0`
                    shutil.rmtree(item) if item.is_dir() else item.unlink()


def _mark(path: Path, status: str) -> None:
    with suppress(OutputError, OSError):  # the first error is the one to report
        update_run(path, status=status)
