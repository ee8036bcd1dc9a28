"""What the audit says of a video that is not whole, or only unusual."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bonaface.data.audit.file_stats import FileFacts, _read
from bonaface.data.video import VideoInfo


def facts_of(
    path: Path, monkeypatch: pytest.MonkeyPatch, *, pictures: int, damage: str = "", note: str = ""
) -> FileFacts:
    """The facts of a video of two frames whose decoder gives so many pictures, and reports this."""

    def frames(*_: Any, **__: Any) -> Iterator[tuple[int, float, np.ndarray]]:
        for index in range(pictures):
            yield index, index / 25, np.full((48, 64, 3), 90 * index, np.uint8)

    info = VideoInfo("h264", frames=2, declared=2, width=64, height=48)
    reader = SimpleNamespace(
        name=str(path), info=info, decoded=max(pictures, 1), damage=damage, note=note, frames=frames, close=lambda: None
    )
    monkeypatch.setattr("bonaface.data.frames.open_video", lambda source: reader)
    path.write_bytes(b"a video")
    return _read(("a.mp4", path, "", None), detector="whole_frame", weights=None)


def test_no_picture_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    facts = facts_of(tmp_path / "a.mp4", monkeypatch, pictures=0, damage="out of memory")
    assert facts.reason.startswith("no frame could be decoded")
    assert "out of memory" in facts.reason
    assert facts.views == ()


@pytest.mark.parametrize(("pictures", "note"), [(2, ""), (1, "only 1 of 2 frames could be decoded")])
def test_only_what_is_missing_is_noted(pictures: int, note: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    facts = facts_of(tmp_path / "a.mp4", monkeypatch, pictures=pictures, note="HDR video: its colours are not mapped")
    assert (facts.reason, facts.note) == ("", note)
