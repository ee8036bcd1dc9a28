"""Every rule by which a public dataset names its files, as literal names and what each of them says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bonaface.errors import ManifestError
from tests.corpus_folder import index, write_files

# label, species, category, subject, split; then any further columns.
Said = tuple[str, str, str, str, str]

ROSE_YOUTU: list[tuple[str, Said, dict[str, str]]] = [
    (
        "train/5/G_NT_HS_g_E_9_1.mp4",
        ("bona_fide", "", "", "rose_youtu/9", "train"),
        {"speech": "silent", "device": "HS", "glasses": "with", "number": "1"},
    ),
    (
        "train/2/Ps_NT_HW_wg_E_2_101.mp4",
        ("attack", "print_still", "print", "rose_youtu/2", "train"),
        {"device": "HW", "glasses": "without", "number": "101"},
    ),
    (
        "train/11/Pq_NT_IP_wg_E_20_60.mp4",
        ("attack", "print_quivering", "print", "rose_youtu/20", "val"),
        {"device": "IP"},
    ),
    ("train/12/Vl_NT_5s_g_E_22_3.mp4", ("attack", "replay_lenovo", "replay", "rose_youtu/22", "val"), {"device": "5s"}),
    ("test/_13/Vm_NT_ZTE_wg_E_4_77.mp4", ("attack", "replay_mac", "replay", "rose_youtu/4", "test"), {"device": "ZTE"}),
    (
        "test/_15/Mc_T_5s_g_E_7_12.mp4",
        ("attack", "paper_mask_cropped", "paper_mask", "rose_youtu/7", "test"),
        {"speech": "talking"},
    ),
    ("test/_23/Mf_NT_5s_g_E_23_71.mp4", ("attack", "paper_mask_full", "paper_mask", "rose_youtu/23", "test"), {}),
    ("test/_16/Mu_T_HS_g_E_10_9.mp4", ("attack", "paper_mask_upper", "paper_mask", "rose_youtu/10", "test"), {}),
    ("test/_17/Ml_NT_HS_g_E_11_9.mp4", ("attack", "paper_mask_lower", "paper_mask", "rose_youtu/11", "test"), {}),
]
REPLAY_ATTACK: list[tuple[str, Said, dict[str, str]]] = [
    (
        "train/real/client001_session01_webcam_authenticate_controlled_1.mov",
        ("bona_fide", "", "", "replay_attack/001", "train"),
        {"session": "01", "lighting": "controlled", "take": "1", "support": ""},
    ),
    (
        "devel/real/client119_session01_webcam_authenticate_adverse_2.mov",
        ("bona_fide", "", "", "replay_attack/119", "val"),
        {"lighting": "adverse", "take": "2"},
    ),
    (
        "test/attack/hand/attack_print_client009_session01_highdef_photo_controlled.mov",
        ("attack", "print", "print", "replay_attack/009", "test"),
        {"support": "hand", "quality": "highdef", "medium": "photo", "lighting": "controlled"},
    ),
    (
        "train/attack/fixed/attack_mobile_client110_session01_mobile_photo_adverse.mov",
        ("attack", "mobile_photo", "replay", "replay_attack/110", "train"),
        {"support": "fixed", "quality": "mobile"},
    ),
    (
        "devel/attack/fixed/attack_mobile_client003_session01_mobile_video_adverse.mov",
        ("attack", "mobile_video", "replay", "replay_attack/003", "val"),
        {"medium": "video"},
    ),
    (
        "replayattack-train/attack/hand/attack_highdef_client002_session01_highdef_photo_controlled.mov",
        ("attack", "highdef_photo", "replay", "replay_attack/002", "train"),
        {},
    ),
    (
        "copy/replayattack-devel/attack/hand/attack_highdef_client005_session01_highdef_video_controlled.mov",
        ("attack", "highdef_video", "replay", "replay_attack/005", "val"),
        {},
    ),
    (
        "real/client117_session01_webcam_authenticate_adverse_1.mov",
        ("bona_fide", "", "", "replay_attack/117", "test"),
        {},
    ),
]
REPLAY_MOBILE: list[tuple[str, Said, dict[str, str]]] = [
    (
        "train/real/client001_session02_authenticate_mobile_adverse.mov",
        ("bona_fide", "", "", "replay_mobile/001", "train"),
        {"session": "02", "device": "mobile", "lighting": "adverse", "flip": ""},
    ),
    (
        "devel/real/client005_session01_authenticate_tablet_lateral.mov",
        ("bona_fide", "", "", "replay_mobile/005", "val"),
        {"device": "tablet", "lighting": "lateral", "flip": "vertical"},
    ),
    (
        "test/attack/attack_client009_session01_print_hand_tablet_photo_lighton.mov",
        ("attack", "print", "print", "replay_mobile/009", "test"),
        {"support": "hand", "device": "tablet", "medium": "photo", "lighting": "lighton", "flip": "vertical"},
    ),
    (
        "test/attack/attack_client002_session01_mattescreen_fixed_mobile_photo_lightoff.mov",
        ("attack", "mattescreen_photo", "replay", "replay_mobile/002", "test"),
        {"support": "fixed", "flip": ""},
    ),
    (
        "train/attack/attack_client038_session01_mattescreen_fixed_mobile_video_lightoff.mov",
        ("attack", "mattescreen_video", "replay", "replay_mobile/038", "train"),
        {"medium": "video"},
    ),
]
CASIA_FASD: list[tuple[str, Said, dict[str, str]]] = [
    ("train_release/1/1.avi", ("bona_fide", "", "", "casia_fasd/train_1", "train"), {"quality": "low"}),
    ("train_release/16/2.avi", ("bona_fide", "", "", "casia_fasd/train_16", "train"), {"quality": "normal"}),
    ("train_release/17/HR_1.avi", ("bona_fide", "", "", "casia_fasd/train_17", "val"), {"quality": "high"}),
    ("train_release/20/3.avi", ("attack", "warped_photo", "print", "casia_fasd/train_20", "val"), {"quality": "low"}),
    ("test_release/1/4.avi", ("attack", "warped_photo", "print", "casia_fasd/test_1", "test"), {"quality": "normal"}),
    ("test_release/30/HR_2.avi", ("attack", "warped_photo", "print", "casia_fasd/test_30", "test"), {}),
    ("test_release/17/5.avi", ("attack", "cut_photo", "print", "casia_fasd/test_17", "test"), {}),
    ("test_release/2/6.avi", ("attack", "cut_photo", "print", "casia_fasd/test_2", "test"), {}),
    ("test_release/2/HR_3.avi", ("attack", "cut_photo", "print", "casia_fasd/test_2", "test"), {"quality": "high"}),
    ("test_release/2/7.avi", ("attack", "replay", "replay", "casia_fasd/test_2", "test"), {"quality": "low"}),
    ("x/test_release/2/8.avi", ("attack", "replay", "replay", "casia_fasd/test_2", "test"), {"quality": "normal"}),
    ("test_release/2/HR_4.avi", ("attack", "replay", "replay", "casia_fasd/test_2", "test"), {"quality": "high"}),
]
MSU_MFSD: list[tuple[str, Said, dict[str, str]]] = [
    (
        "scene01/real/real_client002_laptop_SD_scene01.mov",
        ("bona_fide", "", "", "msu_mfsd/002", "train"),
        {"device": "laptop", "scene": "01"},
    ),
    (
        "scene01/real/real_client051_android_SD_scene01.mp4",
        ("bona_fide", "", "", "msu_mfsd/051", "test"),
        {"device": "android"},
    ),
    (
        "scene01/attack/attack_client055_laptop_SD_ipad_video_scene01.mov",
        ("attack", "ipad_video", "replay", "msu_mfsd/055", "train"),
        {},
    ),
    (
        "scene01/attack/attack_client001_android_SD_iphone_video_scene01.mp4",
        ("attack", "iphone_video", "replay", "msu_mfsd/001", "test"),
        {},
    ),
    (
        "scene01/attack/attack_client013_android_SD_printed_photo_scene01.mp4",
        ("attack", "printed_photo", "print", "msu_mfsd/013", "test"),
        {},
    ),
]
OULU_NPU: list[tuple[str, Said, dict[str, str]]] = [
    (
        "Train_files/1_1_01_1.avi",
        ("bona_fide", "", "", "oulu_npu/01", "train"),
        {"phone": "1", "session": "1", "device": "samsung_s6_edge"},
    ),
    ("Train_files/2_3_20_2.avi", ("attack", "print_1", "print", "oulu_npu/20", "train"), {"device": "htc_desire_eye"}),
    ("Dev_files/3_2_21_3.avi", ("attack", "print_2", "print", "oulu_npu/21", "val"), {"device": "meizu_x5"}),
    ("Dev_files/4_2_35_4.avi", ("attack", "replay_1", "replay", "oulu_npu/35", "val"), {"phone": "4"}),
    ("Test_files/5_2_36_5.avi", ("attack", "replay_2", "replay", "oulu_npu/36", "test"), {"session": "2"}),
    ("Test_files/6_3_55_1.avi", ("bona_fide", "", "", "oulu_npu/55", "test"), {"device": "oppo_n3"}),
]
SIW: list[tuple[str, Said, dict[str, str]]] = [
    (
        "Train/live/003/003-1-1-1-1.mov",
        ("bona_fide", "", "", "siw/003", "train"),
        {"sensor": "canon_eos_t6", "lighting": "normal", "session": "1", "quality": ""},
    ),
    (
        "Test/live/001/001-2-1-2-2.mov",
        ("bona_fide", "", "", "siw/001", "test"),
        {"sensor": "logitech_c920", "lighting": "extra", "session": "2"},
    ),
    ("Test/live/153/153-2-1-1-1.m.mov", ("bona_fide", "", "", "siw/153", "test"), {"session": "1"}),
    ("Train/live/150/150-2-1-1-1.mp4", ("bona_fide", "", "", "siw/150", "val"), {}),
    (
        "Train/spoof/003/003-1-2-2-1.mov",
        ("attack", "print_glossy", "print", "siw/003", "train"),
        {"quality": "2", "lighting": ""},
    ),
    ("Train/spoof/165/165-1-2-1-2.mov", ("attack", "print_matt", "print", "siw/165", "val"), {"quality": "1"}),
    ("Test/spoof/002/002-2-3-1-2.mov", ("attack", "replay_ipad_pro", "replay", "siw/002", "test"), {"quality": ""}),
    ("Test/spoof/161/161-1-3-2-1.mov", ("attack", "replay_iphone_7_plus", "replay", "siw/161", "test"), {}),
    ("Train/spoof/164/164-1-3-3-1.mov", ("attack", "replay_galaxy_s8", "replay", "siw/164", "val"), {}),
    ("Train/spoof/149/149-1-3-4-1.mov", ("attack", "replay_asus_mb168b", "replay", "siw/149", "train"), {}),
]
CELEBA_SPOOF: list[tuple[str, Said, dict[str, str]]] = [
    ("Data/train/4980/live/000003.jpg", ("bona_fide", "", "", "celeba_spoof/4980", "train"), {"illumination": ""}),
    ("Data/train/4980/spoof/120999.png", ("attack", "unspecified", "other", "celeba_spoof/4980", "train"), {}),
    ("Data/test/10/spoof/000009.png", ("attack", "unspecified", "other", "celeba_spoof/10", "test"), {}),
]
NUAA: list[tuple[str, Said, dict[str, str]]] = [
    (
        "raw/ClientRaw/0001/0001_00_00_01_0.jpg",
        ("bona_fide", "", "", "nuaa/0001", "train"),
        {"glasses": "without", "position": "00", "session": "01", "number": "0"},
    ),
    ("raw/ClientRaw/0015/0015_01_08_02_112.jpg", ("bona_fide", "", "", "nuaa/0015", "train"), {"glasses": "with"}),
    ("raw/ImposterRaw/0009/0009_01_05_03_7.jpg", ("attack", "print", "print", "nuaa/0009", "test"), {"position": "05"}),
]
THREE_DMAD: list[tuple[str, Said, dict[str, str]]] = [
    ("01_01_05.hdf5", ("bona_fide", "", "", "three_dmad/01", "train"), {"session": "01", "shot": "05"}),
    ("Data/08_02_01.hdf5", ("bona_fide", "", "", "three_dmad/08", "val"), {"session": "02"}),
    ("Data/17_03_01.hdf5", ("attack", "mask_3d", "mask_3d", "three_dmad/17", "test"), {"session": "03"}),
]
HKBU: list[tuple[str, Said, dict[str, str]]] = [
    ("s1/01_01_05.mp4", ("bona_fide", "", "", "hkbu_mars_v1/01", "train"), {"session": "01", "shot": "05"}),
    ("s2/08_02_01.mp4", ("bona_fide", "", "", "hkbu_mars_v1/08", "val"), {}),
    ("s3/07_03_01.mp4", ("attack", "mask_3d", "mask_3d", "hkbu_mars_v1/07", "test"), {}),
]
CASIA_SURF: list[tuple[str, Said, dict[str, str]]] = [
    (
        "Training/real_part/CLKJ_AS0005/real.rssdk/color/101.jpg",
        ("bona_fide", "", "", "casia_surf/CLKJ_AS0005", "train"),
        {"clip": "real"},
    ),
    (
        "Training/fake_part/CLKJ_AS0005/01_en_b.rssdk/color/101.jpg",
        ("attack", "unspecified", "other", "casia_surf/CLKJ_AS0005", "train"),
        {"clip": "01_en_b"},
    ),
]
CEFA: list[tuple[str, Said, dict[str, str]]] = [
    (
        "AF/AF-001-020/AF_001_1_1_1/profile/0001.jpg",
        ("bona_fide", "", "", "cefa/AF_001", ""),
        {"race": "AF", "device": "1"},
    ),
    ("CA/CA-001-020/CA_002_3_2_2/profile/0001.jpg", ("attack", "cloth", "print", "cefa/CA_002", ""), {"session": "2"}),
    ("EA/EA-001-020/EA_003_1_1_3/0001.jpg", ("attack", "photo", "print", "cefa/EA_003", ""), {}),
    ("EA/EA-001-020/EA_003_1_1_4/0001.jpg", ("attack", "screen", "replay", "cefa/EA_003", ""), {}),
]
LCC_FASD: list[tuple[str, Said, dict[str, str]]] = [
    (
        "LCC_FASD_training/real/real_1.png",
        ("bona_fide", "", "", "lcc_fasd/LCC_FASD_training/real/real_1.png", "train"),
        {},
    ),
    (
        "LCC_FASD_evaluation/spoof/x/s_1.png",
        ("attack", "unspecified", "other", "lcc_fasd/LCC_FASD_evaluation/spoof/x/s_1.png", "test"),
        {},
    ),
    (
        "LCC_FASD_development/spoof/s_1.png",
        ("attack", "unspecified", "other", "lcc_fasd/LCC_FASD_development/spoof/s_1.png", "val"),
        {},
    ),
]

CASES = {
    "rose_youtu": ROSE_YOUTU,
    "replay_attack": REPLAY_ATTACK,
    "replay_mobile": REPLAY_MOBILE,
    "casia_fasd": CASIA_FASD,
    "msu_mfsd": MSU_MFSD,
    "oulu_npu": OULU_NPU,
    "siw": SIW,
    "celeba_spoof": CELEBA_SPOOF,
    "nuaa": NUAA,
    "three_dmad": THREE_DMAD,
    "hkbu_mars_v1": HKBU,
    "casia_surf": CASIA_SURF,
    "cefa": CEFA,
    "lcc_fasd": LCC_FASD,
}


# What copies made on other systems make of the folders' names.
OTHER_CASE: list[tuple[str, str, Said]] = [
    ("rose_youtu", "Train/5/G_NT_HS_g_E_9_1.mp4", ("bona_fide", "", "", "rose_youtu/9", "train")),
    ("rose_youtu", "TEST/_13/Vm_NT_ZTE_wg_E_4_77.mp4", ("attack", "replay_mac", "replay", "rose_youtu/4", "test")),
    (
        "replay_attack",
        "Devel/Real/client003_session01_webcam_authenticate_adverse_1.mov",
        ("bona_fide", "", "", "replay_attack/003", "val"),
    ),
    (
        "replay_attack",
        "Train/Attack/Hand/attack_print_client001_session01_highdef_photo_adverse.mov",
        ("attack", "print", "print", "replay_attack/001", "train"),
    ),
    (
        "replay_mobile",
        "Test/Attack/attack_client002_session01_mattescreen_fixed_mobile_photo_lightoff.mov",
        ("attack", "mattescreen_photo", "replay", "replay_mobile/002", "test"),
    ),
    ("casia_fasd", "Train_Release/17/hr_4.avi", ("attack", "replay", "replay", "casia_fasd/train_17", "val")),
    ("casia_fasd", "TEST_RELEASE/17/HR_1.AVI", ("bona_fide", "", "", "casia_fasd/test_17", "test")),
    ("msu_mfsd", "scene01/Real/real_client002_laptop_SD_scene01.MOV", ("bona_fide", "", "", "msu_mfsd/002", "train")),
    ("siw", "train/Live/003/003-1-1-1-1.MOV", ("bona_fide", "", "", "siw/003", "train")),
    ("celeba_spoof", "data/Train/4980/Live/000003.JPG", ("bona_fide", "", "", "celeba_spoof/4980", "train")),
    ("nuaa", "raw/clientraw/0001/0001_00_00_01_0.jpg", ("bona_fide", "", "", "nuaa/0001", "train")),
    ("three_dmad", "Data/17_03_01.HDF5", ("attack", "mask_3d", "mask_3d", "three_dmad/17", "test")),
    ("hkbu_mars_v1", "S3/07_03_01.MP4", ("attack", "mask_3d", "mask_3d", "hkbu_mars_v1/07", "test")),
    (
        "casia_surf",
        "training/Real_Part/CLKJ_AS0005/real.rssdk/Color/101.jpg",
        ("bona_fide", "", "", "casia_surf/CLKJ_AS0005", "train"),
    ),
    (
        "lcc_fasd",
        "LCC_FASD_Evaluation/Spoof/s_1.png",
        ("attack", "unspecified", "other", "lcc_fasd/LCC_FASD_Evaluation/Spoof/s_1.png", "test"),
    ),
]


@pytest.mark.parametrize(("layout", "name", "said"), OTHER_CASE)
def test_folders_are_known_in_any_case(tmp_path: Path, layout: str, name: str, said: Said) -> None:
    manifest = index(write_files(tmp_path, [name]), layout, boxes=False)
    (row,) = manifest.table[["label", "species", "category", "subject", "split"]].itertuples(index=False)
    assert tuple(row) == said


def test_celeba_lists_are_followed_in_any_case(tmp_path: Path) -> None:
    write_files(tmp_path, ["data/Train/7/Spoof/000003.PNG", "data/Test/8/Live/000004.jpg"])
    for side, name, marks in (("train", "Data/train/7/spoof/000003.png", [9, 1, 1, 1]), ("test", "", [])):
        listed = {name: [0] * 40 + marks} if name else {"Data/test/8/live/000004.jpg": [0] * 44}
        write_files(tmp_path, [f"metas/intra_test/{side}_label.json"], text=json.dumps(listed))
    manifest = index(tmp_path, "celeba_spoof", protocol="intra_test", allow_missing=False)
    assert manifest.table[["species", "split"]].to_numpy().tolist() == [["", "test"], ["phone", "train"]]


@pytest.mark.parametrize("layout", CASES)
def test_what_a_name_says(tmp_path: Path, layout: str) -> None:
    cases = CASES[layout]
    manifest = index(write_files(tmp_path, [name for name, _, _ in cases]), layout, boxes=False)
    rows = manifest.table.set_index("path")
    assert sorted(rows.index) == sorted(name for name, _, _ in cases)
    for name, said, further in cases:
        row = rows.loc[name]
        assert tuple(row[["label", "species", "category", "subject", "split"]]) == said, name
        assert {column: row[column] for column in further} == further, name
        assert row["dataset"] == layout
    assert manifest.about["left_out"] == {}


# Names that are near the rule and break it.
STRANGERS = [
    ("rose_youtu", ["X_NT_5s_g_E_5_71.mp4", "Mf_N_5s_g_E_5_71.mp4", "Mf_NT_6s_g_E_5_71.mp4", "Mf_NT_5s_g_E_5.mp4"]),
    ("rose_youtu", ["aMf_NT_5s_g_E_5_71.mp4", "Mf_NT_5s_x_E_5_71.mp4", "Mf_NT_5s_g_E_5_71_2.mp4"]),
    ("replay_attack", ["train/real/client001_session01_webcam_authenticate_dark_1.mov", "train/x/1.mov"]),
    ("casia_fasd", ["train_release/1/9.avi", "train_release/1/HR_5.avi", "train_release/x/1.avi", "train/1/1.avi"]),
    ("msu_mfsd", ["scene01/real/real_client002_laptop_HD_scene01.mov", "scene01/attack/attack_client2_laptop_SD.mov"]),
    ("oulu_npu", ["Train_files/7_1_01_1.avi", "Train_files/1_4_01_1.avi", "Train_files/1_1_01_6.avi", "1_1_1_1.avi"]),
    ("siw", ["Train/live/003/003-3-1-1-1.mov", "Train/live/003/003-1-4-1-1.mov", "Train/live/003/003-1-1-1.mov"]),
    ("siw", ["Train/live/003/003-1-1-5-1.mov", "Train/live/003/003-1-1-1-1.n.mov"]),
    ("nuaa", ["raw/ClientRaw/0001/0001_00_00_01.jpg", "raw/Client/0001/0001_00_00_01_0.jpg"]),
    ("hkbu_mars_v1", ["s4/01_04_01.mp4", "s1/1_01_01.mp4"]),
]


@pytest.mark.parametrize(("layout", "strangers"), STRANGERS)
def test_names_that_break_the_rule_are_left_out_and_counted(tmp_path: Path, layout: str, strangers: list[str]) -> None:
    good = CASES[layout][0][0]
    manifest = index(write_files(tmp_path, [good, *strangers]), layout)
    assert manifest.table["path"].tolist() == [good]
    assert manifest.about["left_out"] == {"names that do not fit": len(strangers)}
    assert any(f"{len(strangers)} files with names that do not fit" in note for note in manifest.notes)


@pytest.mark.parametrize(("layout", "strangers"), STRANGERS)
def test_names_that_all_break_the_rule_are_refused(tmp_path: Path, layout: str, strangers: list[str]) -> None:
    with pytest.raises(ManifestError, match=f"none of its {len(strangers)} images and videos has a name as in"):
        index(write_files(tmp_path, strangers), layout)
