"""The verdict on one presentation: as an object, as JSON, as a line of text, as a picture and in a notebook."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from PIL import Image

from bonaface.data.frames import Frames
from bonaface.data.sources import Source
from bonaface.errors import InputError, MediaError, OutputError, reraise_os_error
from bonaface.inference.drawing import annotated
from bonaface.types import CLASS_COLOURS, NOT_MEASURED, Box, Finding, FrameScore, Label, Quality, Status

_NOTEBOOK_SIDE = 360
"""Longest side of the picture in a notebook, in pixels."""
_FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP"}


@dataclass(frozen=True)
class Verdict:
    """Result of one presentation: `bona_fide` or `attack`, or the status that says why there is neither.

    `kind` names the operating point that was applied; `faces` is the largest number of faces in a frame that were large
    enough to be scored. `reason` says what a caller should know of the verdict: few frames with a face, several faces,
    damage. `seconds` maps a stage (`decode`, `detect`, `crop`, `network`) to the time spent in it. `media` is what was
    scored, for `plot` and `save`: a path, or the values in memory. `quality` holds the medians over the frames, and
    `findings` says which limits kept the presentation from being scored, and what a person can do about each.
    """

    source: str
    outcome: Label | Status
    score: float | None
    threshold: float
    logit: float | None = None
    frames: tuple[FrameScore, ...] = ()
    bundle: str = ""
    reason: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict, compare=False)
    logit_threshold: float | None = None
    kind: Literal["image", "video"] = "image"
    faces: int = 0
    media: Source | None = field(default=None, repr=False, compare=False)
    quality: Quality = NOT_MEASURED
    findings: tuple[Finding, ...] = ()

    def __repr__(self) -> str:
        figures = f"score {self.score_text()}, threshold {self.threshold:.4f}"
        return f"<Verdict {self.outcome.value}, {figures}, {self.source!r}>"

    def __post_init__(self) -> None:
        object.__setattr__(self, "seconds", MappingProxyType(dict(self.seconds)))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "seconds": dict(self.seconds)}  # a mapping proxy can be neither pickled nor copied

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, seconds=MappingProxyType(state["seconds"]))

    @property
    def accepted(self) -> bool:
        """Whether the outcome is `bona_fide`; a presentation that could not be scored is not accepted."""
        return self.outcome is Label.BONA_FIDE

    @property
    def status(self) -> Status:
        """`ok` where there is a score, else why there is none."""
        return self.outcome if isinstance(self.outcome, Status) else Status.OK

    @property
    def boxes(self) -> tuple[Box, ...]:
        """The faces that were scored, one for each frame with a score: left, top, width, height in pixels."""
        return tuple(frame.box for frame in self.frames if frame.logit is not None and frame.box is not None)

    def plot(self, frame: int | None = None) -> Image.Image:
        """Return a frame as a picture with the face's box, the outcome and its score drawn onto it.

        `frame` is the number of one of `frames`, by default the first that has a score. The file is read again. Raises
        InputError where that frame was not scored or the verdict does not know its presentation, MediaError.
        """
        if self.media is None:
            raise InputError("this verdict does not hold its presentation, so there is no picture to draw on")
        numbers = [each.frame for each in self.frames]
        chosen = next((each for each in self.frames if each.logit is not None), self.frames[0] if self.frames else None)
        if frame is not None:
            chosen = next((each for each in self.frames if each.frame == frame), None)
        if chosen is None:
            raise InputError(f"frame {frame} was not scored; expected one of {numbers}")
        if self.media.problem:
            raise MediaError(f"{self.source}: {self.media.problem}")
        with Frames(self.media.path, choose=lambda *_: [chosen.frame], flip=self.media.flip) as frames:
            picture = next((each.image for each in frames), None)
        if picture is None:
            raise MediaError(f"{self.source}: frame {chosen.frame} cannot be read again")
        title = f"frame {chosen.frame}" if self.kind == "video" else ""
        return Image.fromarray(annotated(picture, chosen, threshold=self.threshold, title=title))

    def save(self, path: str | Path, frame: int | None = None) -> Path:
        """Write what `plot` returns as JPEG, PNG or WebP, by the suffix of `path`.

        Raises OutputError for any other suffix and where the file cannot be written, and what `plot` raises.
        """
        target = Path(path)
        if target.suffix.lower() not in _FORMATS:
            raise OutputError(f"{target}: expected a name that ends in {', '.join(_FORMATS)}")
        content = _encoded(self.plot(frame), _FORMATS[target.suffix.lower()])
        with reraise_os_error(target):
            target.write_bytes(content)
        return target

    def _repr_html_(self) -> str:
        """Return the verdict for a notebook: picture, score on a scale with the threshold, and reason."""
        try:
            picture = self.plot()
            picture.thumbnail((_NOTEBOOK_SIDE, _NOTEBOOK_SIDE))
            encoded = base64.b64encode(_encoded(picture, "JPEG")).decode()
            shown = f'<img src="data:image/jpeg;base64,{encoded}" alt="" style="display:block;margin-bottom:.4em">'
        except (InputError, MediaError):
            shown = ""
        title = f"<b>{self.outcome.value.replace('_', ' ')}</b> {html.escape(self.source)}"
        return (
            f'<div style="font:14px/1.5 system-ui,sans-serif;max-width:{_NOTEBOOK_SIDE}px">{shown}{title}<br>'
            f"{html.escape(self.describe())}{self._scale()}</div>"
        )

    def _scale(self) -> str:
        """Return the score and the threshold on a scale from 0 to 1, as SVG."""
        if self.score is None:
            return ""
        width = _NOTEBOOK_SIDE - 20
        at, threshold = 10 + self.score * width, 10 + self.threshold * width
        colour = CLASS_COLOURS[self.outcome.value]
        return (
            f'<svg width="{_NOTEBOOK_SIDE}" height="46" role="img" aria-label="score and threshold">'
            f'<line x1="10" x2="{10 + width}" y1="16" y2="16" stroke="#999" stroke-width="2"/>'
            f'<line x1="{threshold:.1f}" x2="{threshold:.1f}" y1="6" y2="26" stroke="#333" stroke-width="2"/>'
            f'<circle cx="{at:.1f}" cy="16" r="6" fill="{colour}"/>'
            '<g font-size="11" fill="#555"><text x="10" y="42">0 attack</text>'
            f'<text x="{10 + width}" y="42" text-anchor="end">1 bona fide</text></g></svg>'
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as plain values for JSON, the same in the command line, the API and Python."""
        return {
            "source": self.source,
            "verdict": self.outcome.value,
            "accepted": self.accepted,
            "score": self.score,
            "threshold": self.threshold,
            "logit": self.logit,
            "logit_threshold": self.logit_threshold,
            "kind": self.kind,
            "faces": self.faces,
            "reason": self.reason,
            "findings": [
                {name: _rounded(value) for name, value in finding._asdict().items()} for finding in self.findings
            ],
            "quality": {name: _rounded(value) for name, value in self.quality._asdict().items()},
            "bundle": self.bundle,
            "frames": [
                {
                    "frame": frame.frame,
                    "time": frame.time,
                    "status": frame.status.value,
                    "score": frame.score,
                    "logit": frame.logit,
                    "faces": frame.faces,
                    "box": None if frame.box is None else [round(value, 2) for value in frame.box],
                    "confidence": frame.confidence,
                }
                for frame in self.frames
            ],
            "seconds": {stage: round(spent, 6) for stage, spent in self.seconds.items()},
        }

    def describe(self) -> str:
        """Return score, threshold and reason in words.

        >>> Verdict("a.jpg", Label.ATTACK, 0.25, 0.5, reason="2 faces, the largest scored").describe()
        'score 0.2500, threshold 0.5000 (2 faces, the largest scored)'
        """
        parts = (f"score {self.score_text()}", f"threshold {self.threshold:.4f}", self.margin_text())
        return ", ".join(part for part in parts if part) + (f" ({self.notes()})" if self.reason else "")

    def notes(self) -> str:
        """Return the reason without the name of the source, for a line that has it already."""
        return self.reason.replace(f"{self.source}: ", "", 1)

    def score_text(self) -> str:
        """Return the probability with four decimals, `-` where there is none."""
        return "-" if self.score is None else f"{self.score:.4f}"

    def margin_text(self) -> str:
        """Return the logit and its distance to the threshold where the printed probabilities say too little.

        That is where one of them rounds to 0 or 1, or both are printed alike; empty elsewhere.
        """
        shown = {self.score_text(), f"{self.threshold:.4f}"}
        distinct = len(shown) == 2 and not shown & {"0.0000", "1.0000"}
        if self.logit is None or self.logit_threshold is None or distinct:
            return ""
        margin = self.logit - self.logit_threshold
        where = f"{_compact(abs(margin))} {'above' if margin > 0 else 'below'}" if margin else "at"
        return f"logit {_compact(self.logit)}, {where} the threshold"


def _rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value


def _compact(value: float) -> str:
    """Return a logit with a number of decimals that suits its size: 12.03, 0.0417, 1.2e-05, 3.1e+07.

    >>> [_compact(value) for value in (12.0341, -0.0417, 0.0000123, 31000000.0, 0.0)]
    ['12.0341', '-0.0417', '1.23e-05', '3.1e+07', '0.0000']
    """
    return f"{value:.4f}" if value == 0 or 1e-4 <= abs(value) < 1e6 else f"{value:.3g}"


def _encoded(picture: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, quality=92)
    return file.getvalue()
