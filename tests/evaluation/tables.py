"""Score tables for the tests: small ones by hand, larger ones drawn at random."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bonaface.evaluation.checking import check_scores
from bonaface.types import probability


def table(rows, *, foreign=False):
    """A checked table from (label or species, value or status, subject) rows, one presentation each.

    A species names an attack; `foreign` takes the values for scores of unknown meaning instead of logits.
    """
    records = []
    for i, (kind, value, *subject) in enumerate(rows):
        failed = isinstance(value, str)
        records.append(
            {
                "presentation": f"clips/{i:04d}.mp4",
                "label": "bona_fide" if kind == "bona_fide" else "attack",
                "species": "" if kind == "bona_fide" else kind,
                "score" if foreign else "logit": np.nan if failed else float(value),
                "status": value if failed else "ok",
                "subject": subject[0] if subject else "",
                "split": "val",
            }
        )
    return check_scores(pd.DataFrame(records))


def drawn(seed, *, presentations=300, persons=12, species=3, failed=0.03, digits=2, separation=2.0, dataset="d"):
    """A random table of presentations; few digits give many ties."""
    generator = np.random.default_rng(seed)
    bona_fide = generator.random(presentations) < 0.4
    person = generator.integers(0, persons, presentations)
    effect = generator.normal(size=persons)
    logit = np.where(bona_fide, separation, -separation) / 2 + effect[person] + generator.normal(size=presentations)
    logit = np.round(logit, digits)
    status = np.where(generator.random(presentations) < failed, "no_face", "ok")
    kind = generator.integers(0, species, presentations)
    return check_scores(
        pd.DataFrame(
            {
                "presentation": [f"clips/{i:05d}.mp4" for i in range(presentations)],
                "logit": np.where(status == "ok", logit, np.nan),
                "score": np.where(status == "ok", probability(logit), np.nan),
                "status": status,
                "label": np.where(bona_fide, "bona_fide", "attack"),
                "species": [("" if real else f"species{k}") for real, k in zip(bona_fide, kind, strict=True)],
                "subject": [f"{dataset}/{p}" for p in person],
                "dataset": dataset,
                "split": "val",
                "device": [f"phone{p % 3}" for p in person],
            }
        )
    )
