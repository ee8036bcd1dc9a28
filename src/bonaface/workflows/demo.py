"""The whole program on generated videos, for a first look: nothing to download, nothing to prepare."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bonaface.data.manifest import Manifest
from bonaface.data.synthetic.dataset import write_demo_dataset
from bonaface.errors import reraise_os_error
from bonaface.io import fresh_folder, write_json
from bonaface.types import Progress
from bonaface.workflows.embed import embed
from bonaface.workflows.explain import explain
from bonaface.workflows.prepare import index, split
from bonaface.workflows.train import Run, train

MARK = "demo.json"
WRITTEN = ("footage", "crops", "run", "explain", "embed", "manifest.csv", "manifest.meta.json")

WARNING = "the videos are drawn by a program: these figures show that everything runs, and mean nothing for real faces"


@dataclass(frozen=True)
class Demonstrated:
    """The folder that the demo wrote, and its run."""

    path: Path
    run: Run


def demo(
    *overrides: str, output: str | Path, persons: int = 12, seed: int = 0, progress: Progress | None = None
) -> Demonstrated:
    """Draw a small dataset of faces and attacks, then index, split, crop, train, evaluate, explain and embed it.

    Args:
        overrides: changes of the recipe `demo`, such as `training.epochs=2`.
        output: the folder to write.
        persons: subjects to draw, at least 4.
        seed: the seed of the drawn subjects and of the training.
        progress: called with stage, done and total.

    Returns:
        The run, and where everything was written.

    Raises:
        SettingsError: an override does not fit.
        OutputError: `output` holds something else.

    Examples:
        ```python
        done = bonaface.demo("training.epochs=1", output="bonaface-demo", persons=4)
        print(done.run.report)
        ```
    """
    folder = _own_folder(Path(output))
    footage = folder / "footage"
    write_demo_dataset(footage, persons=persons, seed=seed, progress=partial(progress, "videos") if progress else None)
    indexed = index(footage, layout="folder", dataset="generated")
    manifest = Manifest(
        table=indexed.manifest.table, root=indexed.manifest.root, notes=(*indexed.manifest.notes, WARNING)
    )
    manifest_path = folder / "manifest.csv"
    divided = split(manifest, output=manifest_path, val=0.25, test=0.25, seed=seed)
    run = train(
        "demo",
        f"seed={seed}",
        f"data.crops={folder / 'crops'}",
        *overrides,
        manifest=divided.manifest,
        output=folder / "run",
        progress=progress,
    )
    if run.bundle is None:
        return Demonstrated(folder, run)
    tested = divided.manifest.where("test").table.drop_duplicates("species")["path"]  # the first video of every species
    explain(run.bundle, *(manifest.root / path for path in tested), output=folder / "explain", progress=progress)
    embed(run.bundle, divided.manifest, output=folder / "embed", split="all", progress=progress)
    return Demonstrated(folder, run)


def _own_folder(path: Path) -> Path:
    """Return an empty folder, or that of an earlier demo without what the demo had written."""
    if (path / MARK).is_file():
        with reraise_os_error(path):
            for name in WRITTEN:
                held = path / name
                if held.is_dir():
                    shutil.rmtree(held)
                else:
                    held.unlink(missing_ok=True)
    else:
        fresh_folder(path, what="demo")
    write_json(path / MARK, {"made by": "bonaface demo, which replaces this folder's content when it runs again"})
    return path
