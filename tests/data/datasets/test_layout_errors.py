"""Options and folders that a layout refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from bonaface.data.datasets.registry import layouts
from bonaface.errors import ManifestError, SettingsError
from tests.corpus_folder import index, write_corpus, write_files


@pytest.mark.parametrize(
    ("layout", "options", "expected"),
    [
        ("oulu", {}, r"no layout 'oulu'.*known are folder, csv, rose_youtu"),
        ("oulu_npu", {"protocol": 5}, r"layout oulu_npu has no protocol '5'; known are 1, 2, 3, 4"),
        ("oulu_npu", {"protocol": 3}, "protocol 3 of oulu_npu has folds 1 to 6: choose one"),
        ("oulu_npu", {"protocol": 3, "fold": 7}, "folds 1 to 6, not 7"),
        ("oulu_npu", {"protocol": 3, "fold": 0}, "folds 1 to 6: choose one with --fold"),
        ("oulu_npu", {"protocol": 1, "fold": 1}, "protocol 1 of oulu_npu has no folds"),
        ("oulu_npu", {"fold": 1}, "layout oulu_npu has no folds"),
        ("nuaa", {"protocol": "x"}, "layout nuaa has no protocol 'x'; it has none"),
        ("rose_youtu", {"protocol": "baselin"}, "did you mean 'baseline'"),
        ("rose_youtu", {"split": "tokens"}, r"did you mean 'token'.*known are token, folder"),
        ("nuaa", {"split": "token"}, "has no split 'token'; it has none"),
        ("siw", {"pattern": "{label}/*"}, "layout siw takes no --pattern"),
        ("siw", {"mapping": {"a": "b"}}, "layout siw takes no --map"),
        ("rose_youtu", {"boxes": True}, "has no face boxes: leave out --boxes"),
    ],
)
def test_options_that_a_layout_has_not(tmp_path: Path, layout: str, options: dict[str, object], expected: str) -> None:
    with pytest.raises(SettingsError, match=expected):
        index(tmp_path, layout, **options)


@pytest.mark.parametrize("layout", [layout.name for layout in layouts() if layout.names])
def test_a_dataset_under_another_name_is_recognised(tmp_path: Path, layout: str) -> None:
    write_corpus(tmp_path, layout, persons=1)
    asked = "siw" if layout != "siw" else "rose_youtu"
    with pytest.raises(ManifestError) as caught:
        index(tmp_path, asked)
    assert f"it looks like the layout {layout}" in str(caught.value)
    assert "found: " in str(caught.value)


def test_two_copies_of_one_dataset_are_refused(tmp_path: Path) -> None:
    names = ["a/Mf_NT_5s_g_E_5_71.mp4", "b/train/4/Mf_NT_5s_g_E_5_71.mp4"]
    with pytest.raises(ManifestError, match=r"1 presentations occur twice, such as a/Mf.* and b/train"):
        index(write_files(tmp_path, names), "rose_youtu")
