"""Official protocols on complete lists of names, compared with the published numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from bonaface.config import CropSettings
from bonaface.data.crop_store import fill_store
from bonaface.data.datasets.registry import layouts
from bonaface.data.frames import spread
from bonaface.data.manifest import Manifest
from bonaface.data.splits import find_leaks, split_manifest
from bonaface.data.video_writer import write_video
from bonaface.errors import ManifestError
from bonaface.inference.scoring import sources_of
from tests.corpora import CORPORA
from tests.corpus_folder import Counts, counts, index, persons, write_corpus, write_files


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Each dataset whole, without lists, written when it is first asked for."""

    class Written(dict[str, Path]):
        def __missing__(self, layout: str) -> Path:
            root = tmp_path_factory.mktemp(layout)
            write_corpus(root, layout, persons=None, lists=False)
            self[layout] = root
            return root

    return Written()


def species(manifest: Manifest, split: str) -> dict[str, int]:
    of_split = manifest.table[(manifest.table["split"] == split) & (manifest.table["label"] == "attack")]
    return {str(name): int(number) for name, number in of_split["species"].value_counts().sort_index().items()}


ROSE_TEST = {
    "print_still": 200,
    "print_quivering": 200,
    "replay_lenovo": 201,
    "replay_mac": 199,
    "paper_mask_cropped": 202,
    "paper_mask_full": 100,
    "paper_mask_upper": 198,
}


@pytest.mark.parametrize(
    ("layout", "options", "expected"),
    [
        ("rose_youtu", {"split": "token"}, {"train": (348, 1041), "val": (100, 259), "test": (449, 1300)}),
        ("rose_youtu", {"split": "folder"}, {"train": (375, 1040), "val": (100, 260), "test": (422, 1300)}),
        ("replay_attack", {}, {"train": (60, 300), "val": (60, 300), "test": (80, 400)}),
        ("replay_attack", {"protocol": "grandtest"}, {"train": (60, 300), "val": (60, 300), "test": (80, 400)}),
        ("replay_attack", {"protocol": "hand"}, {"train": (60, 150), "val": (60, 150), "test": (80, 200)}),
        ("replay_attack", {"protocol": "print"}, {"train": (60, 60), "val": (60, 60), "test": (80, 80)}),
        ("replay_attack", {"protocol": "mobile"}, {"train": (60, 120), "val": (60, 120), "test": (80, 160)}),
        ("replay_attack", {"protocol": "highdef-fixed"}, {"train": (60, 60), "val": (60, 60), "test": (80, 80)}),
        ("replay_attack", {"protocol": "digitalphoto"}, {"train": (60, 120), "val": (60, 120), "test": (80, 160)}),
        ("replay_attack", {"protocol": "photo"}, {"train": (60, 180), "val": (60, 180), "test": (80, 240)}),
        ("replay_attack", {"protocol": "video-hand"}, {"train": (60, 60), "val": (60, 60), "test": (80, 80)}),
        ("replay_mobile", {}, {"train": (120, 192), "val": (160, 256), "test": (110, 192)}),
        ("replay_mobile", {"protocol": "print"}, {"train": (120, 96), "val": (160, 128), "test": (110, 96)}),
        ("replay_mobile", {"protocol": "mattescreen"}, {"train": (120, 96), "val": (160, 128), "test": (110, 96)}),
        ("casia_fasd", {"split": "official"}, {"train": (60, 180), "test": (90, 270)}),
        ("casia_fasd", {}, {"train": (48, 144), "val": (12, 36), "test": (90, 270)}),
        ("casia_fasd", {"protocol": "overall"}, {"train": (48, 144), "val": (12, 36), "test": (90, 270)}),
        ("casia_fasd", {"protocol": "low"}, {"train": (16, 48), "val": (4, 12), "test": (30, 90)}),
        ("casia_fasd", {"protocol": "high"}, {"train": (16, 48), "val": (4, 12), "test": (30, 90)}),
        ("casia_fasd", {"protocol": "cut"}, {"train": (48, 48), "val": (12, 12), "test": (90, 90)}),
        ("msu_mfsd", {}, {"train": (30, 90), "test": (40, 120)}),
        ("msu_mfsd", {"split": "idiap"}, {"train": (20, 60), "val": (20, 60), "test": (30, 90)}),
        ("oulu_npu", {}, {"train": (360, 1440), "val": (270, 1080), "test": (360, 1440)}),
        ("oulu_npu", {"protocol": 1}, {"train": (240, 960), "val": (180, 720), "test": (120, 480)}),
        ("oulu_npu", {"protocol": 2}, {"train": (360, 720), "val": (270, 540), "test": (360, 720)}),
        *(
            ("oulu_npu", {"protocol": 3, "fold": fold}, {"train": (300, 1200), "val": (225, 900), "test": (60, 240)})
            for fold in range(1, 7)
        ),
        *(
            ("oulu_npu", {"protocol": 4, "fold": fold}, {"train": (200, 400), "val": (150, 300), "test": (20, 40)})
            for fold in range(1, 7)
        ),
        ("siw", {"split": "official"}, {"train": (720, 1080), "test": (600, 900)}),
        ("siw", {}, {"train": (624, 936), "val": (96, 144), "test": (600, 900)}),
        ("siw", {"protocol": 1}, {"train": (624, 936), "val": (96, 144), "test": (600, 900)}),
        ("siw", {"protocol": 2, "fold": 3}, {"train": (624, 468), "val": (96, 72), "test": (600, 150)}),
        ("siw", {"protocol": 3, "fold": 1}, {"train": (624, 312), "val": (96, 48), "test": (600, 600)}),
        ("siw", {"protocol": 3, "fold": 2}, {"train": (624, 624), "val": (96, 96), "test": (600, 300)}),
        ("three_dmad", {}, {"train": (70, 35), "val": (50, 25), "test": (50, 25)}),
        ("three_dmad", {"protocol": "loo", "fold": 17}, {"train": (110, 55), "val": (50, 25), "test": (10, 5)}),
        ("hkbu_mars_v1", {}, {"train": (30, 15), "val": (30, 15), "test": (20, 10)}),
        ("hkbu_mars_v1", {"protocol": "loo", "fold": 1}, {"train": (50, 25), "val": (20, 10), "test": (10, 5)}),
        ("nuaa", {}, {"train": (120, 120), "test": (60, 60)}),
    ],
)
def test_sizes(whole: Mapping[str, Path], layout: str, options: dict[str, object], expected: Counts) -> None:
    manifest = index(whole[layout], layout, **options)
    assert counts(manifest) == expected
    assert set(manifest.table["protocol"]) == {str(options.get("protocol", ""))}
    assert set(manifest.table["fold"]) == {str(options.get("fold", ""))}
    if layout != "nuaa":
        assert find_leaks(manifest) == []


@pytest.mark.parametrize(
    ("layout", "options", "split", "expected"),
    [
        ("rose_youtu", {"split": "token"}, "test", ROSE_TEST),
        (
            "rose_youtu",
            {"split": "folder"},
            "test",
            {**ROSE_TEST, "replay_lenovo": 200, "replay_mac": 201, "paper_mask_cropped": 198, "paper_mask_upper": 201},
        ),
        (
            "replay_attack",
            {},
            "test",
            dict.fromkeys(("print", "mobile_photo", "mobile_video", "highdef_photo", "highdef_video"), 80),
        ),
        ("oulu_npu", {"protocol": 4, "fold": 2}, "train", {"print_1": 200, "replay_1": 200}),
        ("oulu_npu", {"protocol": 4, "fold": 2}, "test", {"print_2": 20, "replay_2": 20}),
        ("siw", {"protocol": 2, "fold": 3}, "test", {"replay_galaxy_s8": 150}),
        (
            "siw",
            {"protocol": 2, "fold": 3},
            "val",
            {"replay_ipad_pro": 24, "replay_iphone_7_plus": 24, "replay_asus_mb168b": 24},
        ),
        ("siw", {"protocol": 3, "fold": 1}, "train", {"print_glossy": 156, "print_matt": 156}),
    ],
)
def test_species(
    whole: Mapping[str, Path], layout: str, options: dict[str, object], split: str, expected: dict[str, int]
) -> None:
    assert species(index(whole[layout], layout, **options), split) == expected


@pytest.mark.parametrize(
    ("layout", "options", "split", "expected"),
    [
        ("rose_youtu", {"split": "token"}, "train", {2, 3, 4, 5, 6, 7, 9, 10}),
        ("rose_youtu", {"split": "token"}, "val", {11, 12}),
        ("rose_youtu", {"split": "token"}, "test", {13, 14, 15, 16, 17, 18, 20, 21, 22, 23}),
        ("rose_youtu", {"split": "folder"}, "train", {2, 3, 5, 9, 12, 13, 15, 16}),
        ("rose_youtu", {"split": "folder"}, "val", {20, 22}),
        ("rose_youtu", {"split": "folder"}, "test", {4, 6, 7, 10, 11, 14, 17, 18, 21, 23}),
        ("replay_attack", {}, "train", {1, 2, 4, 6, 7, 8, 12, 16, 18, 25, 27, 103, 105, 108, 110}),
        ("msu_mfsd", {"split": "idiap"}, "val", {1, 2, 3, 9, 22, 34, 35, 42, 48, 51}),
        ("siw", {}, "val", {150, 151, 152, 155, 156, 157, 159, 160, 162, 163, 164, 165}),
        ("three_dmad", {"protocol": "loo", "fold": 16}, "val", {17, 1, 2, 3, 4}),
        ("hkbu_mars_v1", {}, "val", {4, 5, 8}),
    ],
)
def test_persons(
    whole: Mapping[str, Path], layout: str, options: dict[str, object], split: str, expected: set[int]
) -> None:
    assert persons(index(whole[layout], layout, **options), split) == expected


def test_siw_has_ninety_persons_to_train_and_seventy_five_to_test(whole: Mapping[str, Path]) -> None:
    manifest = index(whole["siw"], "siw", split="official")
    assert (len(persons(manifest, "train")), len(persons(manifest, "test"))) == (90, 75)
    assert manifest.table["path"].str.endswith(".m.mov").sum() == 16


def test_siw_protocol_1_trains_on_first_frames(whole: Mapping[str, Path]) -> None:
    table = index(whole["siw"], "siw", protocol=1).table
    assert table.groupby("split")["first_frames"].unique().map(list).to_dict() == {
        "test": [""],
        "train": ["60"],
        "val": ["60"],
    }


def test_siw_protocol_1_takes_no_later_frame_for_training_and_any_for_the_test(tmp_path: Path) -> None:
    for name in ("Train/live/003/003-1-1-1-1.mp4", "Train/live/150/150-1-1-1-1.mp4", "Test/live/001/001-1-1-1-1.mp4"):
        write_files(tmp_path, [name])
        write_video(tmp_path / name, [np.full((64, 64, 3), number, np.uint8) for number in range(90)], fps=30)
    settings = CropSettings(detector="whole_frame", frames=3)
    frames = {}
    for protocol in (1, None):
        manifest = index(tmp_path, "siw", protocol=protocol)
        table = fill_store(manifest, tmp_path / "crops", settings, workers=1).table
        frames[protocol] = {
            split: table["frame"][table["path"].str.startswith(split)].tolist() for split in ("Train", "Test")
        }
        if protocol:
            assert [(source.name[:4], source.first) for source in sources_of(manifest)] == [
                ("Test", None),
                ("Trai", 60),
                ("Trai", 60),
            ]
    assert frames[1] == {"Train": [*spread(60, 3)] * 2, "Test": spread(90, 3)}
    assert frames[None] == {"Train": [*spread(90, 3)] * 2, "Test": spread(90, 3)}


def test_casia_sets_have_separate_subjects(whole: Mapping[str, Path]) -> None:
    assert index(whole["casia_fasd"], "casia_fasd").table["subject"].nunique() == 50


@pytest.mark.parametrize("layout", CORPORA)
def test_every_layout_reads_its_corpus_with_lists_and_clutter(tmp_path: Path, layout: str) -> None:
    entries = write_corpus(tmp_path, layout, persons=2)
    manifest = index(tmp_path, layout)
    species_of = manifest.table.set_index("path")["species"].to_dict()
    expected = {entry.path: entry.species for entry in entries}
    if layout == "casia_surf":
        expected = {path: kind for path, kind in expected.items() if "/color/" in path}
    assert species_of == expected
    assert manifest.about["layout"] == layout
    if layout != "csv":
        assert manifest.about["left_out"]["hidden files"] == 3  # type: ignore[index]


def test_layouts_describe_themselves() -> None:
    assert [layout.name for layout in layouts()] == list(dict.fromkeys(layout.name for layout in layouts()))
    assert {layout.name for layout in layouts()} == set(CORPORA)
    for layout in layouts():
        assert layout.title
        assert layout.expects
        assert set(layout.folds) <= set(layout.protocols)


# ROSE-Youtu


def test_the_baseline_has_the_published_sizes_and_leaks(whole: Mapping[str, Path]) -> None:
    manifest = index(whole["rose_youtu"], "rose_youtu", protocol="baseline")
    sizes = {split: sum(both) for split, both in counts(manifest).items()}
    assert sizes == {"train": 1391, "val": 350, "test": 1749}
    assert manifest.about["left_out"] == {"hidden files": 3, "not part of the protocol": 7}
    assert {leak.subject for leak in find_leaks(manifest)} == {f"rose_youtu/{n}" for n in (*range(2, 8), *range(9, 13))}
    assert any("same persons" in note for note in manifest.notes)
    again = index(whole["rose_youtu"], "rose_youtu", protocol="baseline")
    assert again.digest == manifest.digest


def test_the_baseline_keeps_its_proportions_on_a_part(tmp_path: Path) -> None:
    pool = len(write_corpus(tmp_path, "rose_youtu", persons=4))
    manifest = index(tmp_path, "rose_youtu", protocol="baseline")
    sizes = {split: sum(both) for split, both in counts(manifest).items()}
    assert sizes == {"train": round(pool * 1391 / 1748), "val": round(pool * 350 / 1748)}
    assert any("incomplete copy" in note for note in manifest.notes)


@pytest.mark.parametrize(
    ("names", "used"),
    [
        (["train/5/G_NT_HS_g_E_9_1.mp4", "test/_13/G_NT_HS_g_E_4_1.mp4"], "folder"),
        (["train/9/G_NT_HS_g_E_9_1.mp4", "test/13/G_NT_HS_g_E_13_1.mp4", "train/4/G_NT_HS_g_E_4_1.mp4"], "token"),
        (["9/G_NT_HS_g_E_9_1.mp4", "4/G_NT_HS_g_E_4_1.mp4"], "token"),
        (["all/G_NT_HS_g_E_9_1.mp4"], "token"),
    ],
)
def test_the_split_that_the_disk_has_is_used_and_said(tmp_path: Path, names: list[str], used: str) -> None:
    manifest = index(write_files(tmp_path, names), "rose_youtu")
    assert [note for note in manifest.notes if note.startswith(f"split: {used},")]
    chosen = index(tmp_path, "rose_youtu", split=used)
    assert manifest.table["split"].tolist() == chosen.table["split"].tolist()


CLIENT_FRAMES = [
    "rgb/adaptation/1/real/2_G_NT_5s_g_E_2_1/0.jpg",
    "rgb/adaptation/10/real/22_G_NT_ZTE_wg_E_22_9/0.jpg",
    "rgb/test/1/real/2_G_NT_HS_wg_E_2_3/12.jpg",
    "rgb/test/2/mask/3_Mc_T_IP_g_E_3_71/0.jpg",
]


def test_the_client_specific_release_has_rose_youtus_persons(tmp_path: Path) -> None:
    manifest = index(write_files(tmp_path, CLIENT_FRAMES), "rose_youtu_clients")
    columns = ["species", "subject", "split", "client", "device", "speech", "image"]
    assert manifest.table[columns].to_numpy().tolist() == [
        ["", "rose_youtu/2", "train", "1", "5s", "silent", "0"],
        ["", "rose_youtu/22", "train", "10", "ZTE", "silent", "0"],
        ["", "rose_youtu/2", "test", "1", "HS", "silent", "12"],
        ["paper_mask_cropped", "rose_youtu/3", "test", "2", "IP", "talking", "0"],
    ]
    assert any("the same clients are in both" in note for note in manifest.notes)


def test_the_lists_of_the_client_specific_release(tmp_path: Path) -> None:
    write_files(tmp_path, CLIENT_FRAMES)
    write_files(tmp_path, ["adaptation_list.txt"], text="1/real/2_G_NT_5s_g_E_2_1/0 1 0\n")
    write_files(tmp_path, ["test_list.txt"], text="2/mask/3_Mc_T_IP_g_E_3_71/0 2 1\n")
    assert counts(index(tmp_path, "rose_youtu_clients")) == {"train": (1, 0), "test": (0, 1)}
    write_files(tmp_path, ["test_list.txt"], text="2/mask/3_Mc_T_IP_g_E_3_71/1 2 1\n")
    with pytest.raises(ManifestError, match=r"1 of the 2 names in its lists have no file \(test/2/mask/3_Mc"):
        index(tmp_path, "rose_youtu_clients")
    write_files(tmp_path, ["test_list.txt"], text="2/mask/3_Mc_T_IP_g_E_3_71/0 2 0\n")
    with pytest.raises(ManifestError, match=r"test_list\.txt: expected lines such as 1/real/2_G_NT_5s_g_E_2_1/0 1 0"):
        index(tmp_path, "rose_youtu_clients")


# Boxes and sides of other datasets


def test_siw_boxes_are_read_where_they_are_asked_for(tmp_path: Path) -> None:
    write_files(tmp_path, ["Train/live/003/003-1-1-1-1.mov", "Train/live/003/003-1-1-1-2.mov"])
    write_files(tmp_path, ["Train/live/003/003-1-1-1-1.face"], text="10 20 110 140\n0 0 0 0\n12 20 110 141\n")
    assert index(tmp_path, "siw").boxes is None
    manifest = index(tmp_path, "siw", boxes=True)
    assert manifest.boxes is not None
    assert manifest.boxes[["frame", "x", "y", "w", "h", "frame_size"]].to_numpy().tolist() == [
        [0, 10, 20, 100, 120, ""],
        [2, 12, 20, 98, 121, ""],
    ]
    assert manifest.about["left_out"] == {"neither image nor video": 1, "videos without a file of boxes": 1}
    write_files(tmp_path, ["Test/live/153/153-2-1-1-1.m.mov", "Test/live/153/153-2-1-1-2.m.mov"])
    write_files(tmp_path, ["Test/live/153/153-2-1-1-1.face", "Test/live/153/153-2-1-1-2.m.face"], text="1 2 11 22\n")
    write_files(tmp_path, ["Train/live/003/003-1-1-1-1.face"])
    manifest = index(tmp_path, "siw", boxes=True)
    assert manifest.boxes is not None
    assert manifest.boxes[["path", "frame", "w", "h"]].to_numpy().tolist() == [
        ["Test/live/153/153-2-1-1-1.m.mov", 0, 10, 20],
        ["Test/live/153/153-2-1-1-2.m.mov", 0, 10, 20],
    ]
    (tmp_path / "Train/live/003/003-1-1-1-1.face").write_text("a b c d\n")
    with pytest.raises(ManifestError, match=r"003-1-1-1-1\.face: expected a row x1 y1 x2 y2 a frame"):
        index(tmp_path, "siw", boxes=True)


def test_replay_attack_leaves_enrolment_out(tmp_path: Path) -> None:
    names = ["enroll/client001_session01_webcam_enroll_adverse_1.mov", "replayattack-enroll/enroll/x.mov"]
    write_files(tmp_path, [*names, "train/real/client001_session01_webcam_authenticate_adverse_1.mov"])
    manifest = index(tmp_path, "replay_attack")
    assert len(manifest) == 1
    assert manifest.about["left_out"]["enrolment videos"] >= 1  # type: ignore[index]


def test_an_official_test_set_is_kept_and_validation_drawn_from_the_rest(whole: Mapping[str, Path]) -> None:
    official = index(whole["msu_mfsd"], "msu_mfsd")
    split = split_manifest(official, keep=["test"])
    assert persons(split, "test") == persons(official, "test")
    assert (len(persons(split, "train")), len(persons(split, "val"))) == (12, 3)
