"""Choices that the command line and the functions share. Nothing is imported here, so that `--help` is quick."""

from __future__ import annotations

from typing import Literal

Engine = Literal["ray"]
"""Where a long job runs other than on this machine."""

FacePolicy = Literal["largest", "all", "refuse"]
"""Which of several faces is scored: the largest; all, the least bona fide deciding; or none."""

FusionRule = Literal["mean", "median", "max_attack", "first"]
"""How the scores of frames become the score of a presentation."""

HigherIs = Literal["bona_fide", "attack"]
"""What a higher score in a table means."""

Policy = Literal["reject", "exclude"]
"""Whether presentations without a score are rejected or left out."""

Profile = Literal["iso30107-3"]
"""A standard whose table a report can hold."""
