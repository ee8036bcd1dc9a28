"""A folder on a disk to a manifest, by names alone."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd

from bonaface.data.datasets.celeba_spoof import CELEBA_SPOOF
from bonaface.data.datasets.casia_fasd import CASIA_FASD
from bonaface.data.datasets.folder import FOLDER, folder_rows
from bonaface.data.datasets.idiap import REPLAY_ATTACK, REPLAY_MOBILE
from bonaface.data.datasets.layouts import Layout, Request, match_names
from bonaface.data.datasets.listing import Listing, list_files
from bonaface.data.datasets.masks import HKBU_MARS_V1, THREE_DMAD
from bonaface.data.datasets.msu_mfsd import MSU_MFSD
from bonaface.data.datasets.nuaa import NUAA
from bonaface.data.datasets.oulu_npu import OULU_NPU
from bonaface.data.datasets.rose_youtu import ROSE_YOUTU
from bonaface.data.datasets.siw import SIW
from bonaface.data.datasets.surf import CASIA_SURF, CEFA, LCC_FASD
from bonaface.data.datasets.table import TABLE, find_table, table_rows
from bonaface.data.datasets.words import kind_of_word
from bonaface.data.frames import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from bonaface.data.manifest import Manifest, make_manifest
from bonaface.data.splits import PERSONS_UNKNOWN
from bonaface.errors import ManifestError, SettingsError, did_you_mean, few

__all__ = ["Layout", "index", "layouts"]

_LAYOUTS = (
    FOLDER,
    TABLE,
    ROSE_YOUTU,
    REPLAY_ATTACK,
    CASIA_FASD,
    MSU_MFSD,
    OULU_NPU,
    SIW,
    CELEBA_SPOOF,
    NUAA,
    REPLAY_MOBILE,
    THREE_DMAD,
    HKBU_MARS_V1,
    CASIA_SURF,
    CEFA,
    LCC_FASD,
)
_MEDIA = IMAGE_SUFFIXES | VIDEO_SUFFIXES


def layouts() -> list[Layout]:
    """Every layout that `index` knows, with what it expects on disk."""
    return list(_LAYOUTS)
