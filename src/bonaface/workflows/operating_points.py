"""Choose the thresholds of a bundle, for single images and for videos, and measure a score table at them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from bonaface.choices import FusionRule
from bonaface.data.images import IMAGE_SUFFIXES
from bonaface.errors import ScoreTableError
from bonaface.evaluation.arrays import ScoreArrays
from bonaface.evaluation.auc import auc
from bonaface.evaluation.iso30107 import evaluate_arrays
from bonaface.evaluation.results import Evaluation, Measures
from bonaface.evaluation.scores import presentations
from bonaface.evaluation.thresholds import choose_threshold, fixed_point
from bonaface.inference.bundle import Bundle
from bonaface.inference.bundle_schema import OperatingPoint
from bonaface.types import Status

Kind = Literal["image", "video"]
KINDS: tuple[Kind, ...] = ("image", "video")
_APPLIES_TO = {"image": "one image", "video": "a video"}
_TITLES = {"image": "one image (the first frame)", "video": "a video ({frames} frames, {fusion} of logits)"}


@dataclass(frozen=True)
class Assessment:
    """A score table, measured as single images and as videos: at the bundle's threshold, then at the fixed 0.5.

    `rows` and `arrays` hold what was measured, one row a presentation. A set of pictures has no kind `video`.
    """

    evaluations: Mapping[Kind, Evaluation]
    titles: Mapping[Kind, str]
    rows: Mapping[Kind, pd.DataFrame]
    arrays: Mapping[Kind, ScoreArrays]
    notes: tuple[str, ...] = ()

    @property
    def last(self) -> Kind:
        """The kind that uses most of each presentation: `video`, or `image` in a set of pictures."""
        return [kind for kind in KINDS if kind in self.evaluations][-1]

    def measures(self, kind: Kind = "image") -> Measures:
        """Return the measures of one kind, at the bundle's threshold."""
        return self.evaluations[kind].at[0]


def rows_of(table: pd.DataFrame, point: OperatingPoint, kind: Kind) -> pd.DataFrame:
    """Return the row that decides each presentation: its first frame, or its fused frames."""
    return presentations(table, mode=kind, rule=None if kind == "image" else point.fusion)


def choose_operating_points(
    validation: pd.DataFrame,
    *,
    criterion: str,
    frames: int,
    fusion: FusionRule,
    widened: pd.DataFrame | None = None,
) -> dict[Kind, OperatingPoint]:
    """Return the thresholds for one image and for a video that the criterion picks on a validation score table.

    `widened` is the table of simulated presentations that widens it. Raises ScoreTableError, also where not one
    presentation has a score.
    """
    _refuse_unscored(validation)
    points: dict[Kind, OperatingPoint] = {}
    for kind in KINDS:
        rule = None if kind == "image" else fusion
        chosen = choose_threshold(
            presentations(validation, mode=kind, rule=rule),
            criterion,
            widened=None if widened is None else presentations(widened, mode=kind, rule=rule),
        )
        assert chosen.logit_threshold is not None  # a bundle's own tables have logits
        points[kind] = OperatingPoint(
            **{**vars(chosen), "logit_threshold": chosen.logit_threshold},
            frames=1 if kind == "image" else frames,
            fusion="first" if kind == "image" else fusion,
        )
    return points


def _refuse_unscored(validation: pd.DataFrame) -> None:
    status = presentations(validation)["status"]
    if not len(status) or (status == Status.OK).any():
        return
    counts = status.value_counts()
    hint = ""
    if Status.TOO_SMALL in counts:
        hint = (
            "; a face is too small whose crop would be enlarged more than twice: use a network with a smaller input "
            "(model.input_size), or set the smallest face in pixels (model.min_face, or --min-face of bundle limits)"
        )
    reasons = ", ".join(f"{count} {name}" for name, count in counts.items())
    raise ScoreTableError(f"not one of the {len(status)} validation presentations has a score: {reasons}{hint}")


def refuse_inverted(validation: pd.DataFrame) -> None:
    """Raise ScoreTableError where a validation score table ranks attacks above bona fide presentations."""
    area = auc(ScoreArrays.from_table(presentations(validation))).value
    if area < 0.5:
        raise ScoreTableError(
            f"the validation scores rank attacks above bona fide presentations (AUC {area:.4f}), so they look inverted and "
            "no threshold would be right: if the table's labels are swapped, correct them; if a higher score means an "
            "attack in it, add --higher-is attack; if the bundle itself is the wrong way round, make it again with the "
            "other class (bundle from-onnx --output-type)"
        )


def assess(table: pd.DataFrame, bundle: Bundle, *, notes: tuple[str, ...] = ()) -> Assessment:
    """Measure a score table at the bundle's operating points and at the fixed 0.5.

    Where every presentation is a picture by its name, nothing is measured as a video.
    """
    pictures = all(Path(str(name)).suffix.lower() in IMAGE_SUFFIXES for name in table["presentation"].unique())
    evaluations: dict[Kind, Evaluation] = {}
    titles: dict[Kind, str] = {}
    rows: dict[Kind, pd.DataFrame] = {}
    arrays: dict[Kind, ScoreArrays] = {}
    found = list(notes)
    for kind in KINDS[:1] if pictures else KINDS:
        point = bundle.operating_point(kind)
        points = [point] if point.criterion == "fixed=0.5" else [point, fixed_point(0.5)]
        rows[kind] = rows_of(table, point, kind)
        arrays[kind] = ScoreArrays.from_table(rows[kind])
        evaluations[kind] = evaluate_arrays(arrays[kind], points)
        titles[kind] = "one image" if pictures else _TITLES[kind].format(frames=point.frames, fusion=point.fusion)
        warnings = [f"threshold for {_APPLIES_TO[kind]}: {warning}" for warning in point.warnings]
        found += [note for note in (*warnings, *evaluations[kind].notes) if note not in found]
    return Assessment(evaluations, titles, rows, arrays, tuple(found))
