"""The names of every dataset's presentations: whole where a rule gives all names, or as its publication describes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import NamedTuple


class Entry(NamedTuple):
    """A presentation: its path, its species (`""` for bona fide), its person and its set as the names say."""

    path: str
    species: str
    person: str
    side: str


def folder() -> Iterator[Entry]:
    for person, kind, take in product(range(1, 7), ("live", "print_a4", "replay_ipad"), range(2)):
        species = "" if kind == "live" else kind
        yield Entry(f"{kind}/p{person:02d}/{take}.mp4", species, f"p{person:02d}", "")


def csv() -> Iterator[Entry]:
    return folder()


def rose_youtu() -> Iterator[Entry]:
    """All 3497: as many for each person and attack as give both splits the sizes that are known of them."""
    species = {
        "G": "",
        "Ps": "print_still",
        "Pq": "print_quivering",
        "Vl": "replay_lenovo",
        "Vm": "replay_mac",
    }
    species |= {"Mc": "paper_mask_cropped", "Mf": "paper_mask_full", "Mu": "paper_mask_upper"}
    usual = {"G": 50, "Ps": 20, "Pq": 20, "Vl": 20, "Vm": 20, "Mc": 20, "Mf": 10, "Mu": 20}
    other = {
        4: {"Vm": 21},
        6: {"Mc": 18},
        7: {"G": 24, "Mu": 22},
        10: {"G": 24},
        11: {"Mc": 19},
        13: {"Vl": 21, "Vm": 19},
        14: {"Mc": 21},
        15: {"G": 25, "Mc": 21},
        16: {"Mu": 19},
        17: {"Mu": 19},
        23: {"G": 24},
    }
    folders = {2: 2, 3: 3, 5: 4, 9: 5, 12: 6, 13: 7, 15: 9, 16: 10, 20: 11, 22: 12}
    test_folders = {4: 13, 6: 14, 7: 15, 10: 16, 11: 17, 14: 18, 17: 20, 18: 21, 21: 22, 23: 23}
    for person in (*folders, *test_folders):
        place = f"train/{folders[person]}" if person in folders else f"test/_{test_folders[person]}"
        number = 0
        for code, kind in species.items():
            for _ in range(other.get(person, {}).get(code, usual[code])):
                number += 1
                speech = "T" if code in ("Mc", "Mu") and number % 2 else "NT"
                device = ("HS", "HW", "IP", "5s", "ZTE")[number % 5]
                glasses = "g" if code in ("Mc", "Mu") or number % 3 else "wg"
                name = f"{code}_{speech}_{device}_{glasses}_E_{person}_{number}.mp4"
                yield Entry(f"{place}/{name}", kind, str(person), place.partition("/")[0])


def rose_youtu_clients() -> Iterator[Entry]:
    for side, client, (kind, code, species) in product(
        ("adaptation", "test"), (1, 2), (("real", "G", ""), ("mask", "Mc", "paper_mask_cropped"))
    ):
        person = client + 1
        video = f"{person}_{code}_NT_5s_g_E_{person}_{'1' if side == 'test' else '2'}"
        yield Entry(f"rgb/{side}/{client}/{kind}/{video}/0.jpg", species, str(person), side)


def replay_attack() -> Iterator[Entry]:
    clients = {
        "train": [1, 2, 4, 6, 7, 8, 12, 16, 18, 25, 27, 103, 105, 108, 110],
        "devel": [3, 5, 10, 15, 17, 22, 29, 30, 101, 111, 113, 114, 116, 118, 119],
        "test": [9, 11, 13, 14, 19, 20, 21, 23, 24, 26, 28, 31, 102, 104, 106, 107, 109, 112, 115, 117],
    }
    attacks = {
        "print": "highdef_photo",
        "mobile_photo": "mobile_photo",
        "mobile_video": "mobile_video",
        "highdef_photo": "highdef_photo",
        "highdef_video": "highdef_video",
    }
    for side, numbers in clients.items():
        for number in numbers:
            client = f"{number:03d}"
            for light, take in product(("controlled", "adverse"), (1, 2)):
                name = f"client{client}_session01_webcam_authenticate_{light}_{take}.mov"
                yield Entry(f"{side}/real/{name}", "", client, side)
            for support, light, (kind, sample) in product(
                ("hand", "fixed"), ("controlled", "adverse"), attacks.items()
            ):
                device = kind.partition("_")[0]
                name = f"attack_{device}_client{client}_session01_{sample}_{light}.mov"
                yield Entry(f"{side}/attack/{support}/{name}", kind, client, side)


def replay_mobile() -> Iterator[Entry]:
    clients = {
        "train": [1, 3, 8, 11, 12, 16, 18, 20, 26, 34, 37, 38],
        "devel": [5, 6, 13, 14, 15, 23, 24, 25, 28, 29, 31, 32, 35, 36, 39, 40],
        "test": [2, 4, 7, 9, 10, 17, 19, 21, 22, 27, 30, 33],
    }
    attacks = {
        "print_hand": ("photo", "print"),
        "print_fixed": ("photo", "print"),
        "mattescreen_fixed": ("photo", "mattescreen_photo"),
    }
    kinds = [(name, medium, species) for name, (medium, species) in attacks.items()]
    kinds.append(("mattescreen_fixed", "video", "mattescreen_video"))
    for side, numbers in clients.items():
        for number, device in product(numbers, ("mobile", "tablet")):
            client = f"{number:03d}"
            for light in ("adverse", "controlled", "diffuse", "direct", "lateral"):
                if number != 9:
                    name = f"client{client}_session01_authenticate_{device}_{light}.mov"
                    yield Entry(f"{side}/real/{name}", "", client, side)
            for (kind, medium, species), light in product(kinds, ("lighton", "lightoff")):
                name = f"attack_client{client}_session01_{kind}_{device}_{medium}_{light}.mov"
                yield Entry(f"{side}/attack/{name}", species, client, side)


def casia_fasd() -> Iterator[Entry]:
    kinds = dict.fromkeys(("1", "2", "HR_1"), "") | dict.fromkeys(("3", "4", "HR_2"), "warped_photo")
    kinds |= dict.fromkeys(("5", "6", "HR_3"), "cut_photo") | dict.fromkeys(("7", "8", "HR_4"), "replay")
    for side, count in (("train", 20), ("test", 30)):
        for client, (stem, species) in product(range(1, count + 1), kinds.items()):
            yield Entry(f"{side}_release/{client}/{stem}.avi", species, f"{side}_{client}", side)


def msu_mfsd() -> Iterator[Entry]:
    train = [2, 3, 5, 6, 7, 8, 9, 11, 12, 21, 22, 34, 53, 54, 55]
    test = [1, 13, 14, 23, 24, 26, 28, 29, 30, 32, 33, 35, 36, 37, 39, 42, 48, 49, 50, 51]
    for side, numbers in (("train", train), ("test", test)):
        for number, (device, suffix) in product(numbers, (("laptop", "mov"), ("android", "mp4"))):
            client = f"{number:03d}"
            yield Entry(f"scene01/real/real_client{client}_{device}_SD_scene01.{suffix}", "", client, side)
            for kind in ("ipad_video", "iphone_video", "printed_photo"):
                name = f"attack_client{client}_{device}_SD_{kind}_scene01.{suffix}"
                yield Entry(f"scene01/attack/{name}", kind, client, side)


def oulu_npu() -> Iterator[Entry]:
    kinds = ("", "print_1", "print_2", "replay_1", "replay_2")
    for side, users in (("Train", range(1, 21)), ("Dev", range(21, 36)), ("Test", range(36, 56))):
        for user, phone, session, file in product(users, range(1, 7), range(1, 4), range(1, 6)):
            name = f"{phone}_{session}_{user:02d}_{file}"
            yield Entry(f"{side}_files/{name}.avi", kinds[file - 1], f"{user:02d}", side)


def siw() -> Iterator[Entry]:
    """All 165 persons, each with eight live videos, four prints and eight replays; four with a stray `.m`."""
    test = {
        1,
        2,
        4,
        5,
        8,
        9,
        10,
        12,
        13,
        15,
        18,
        19,
        20,
        21,
        23,
        24,
        25,
        26,
        27,
        29,
        31,
        36,
        37,
        39,
        43,
        44,
        48,
        49,
    }
    test |= {
        50,
        52,
        53,
        57,
        59,
        61,
        64,
        65,
        66,
        67,
        71,
        73,
        75,
        79,
        82,
        83,
        84,
        85,
        87,
        88,
        90,
        94,
        95,
        97,
        102,
        106,
    }
    test |= {
        108,
        109,
        110,
        114,
        116,
        118,
        122,
        124,
        125,
        126,
        130,
        132,
        137,
        138,
        139,
        141,
        142,
        153,
        154,
        158,
        161,
    }
    replays = ("replay_ipad_pro", "replay_iphone_7_plus", "replay_galaxy_s8", "replay_asus_mb168b")
    for number in range(1, 166):
        person, side = f"{number:03d}", "Test" if number in test else "Train"
        for sensor, medium, session in product((1, 2), (1, 2), (1, 2)):
            stray = ".m" if number in {153, 154, 158, 161} and sensor == 2 else ""
            name = f"{person}-{sensor}-1-{medium}-{session}{stray}.mov"
            yield Entry(f"{side}/live/{person}/{name}", "", person, side)
        for medium, session in product((1, 2), (1, 2)):
            species = ("print_glossy", "print_matt")[session - 1]
            yield Entry(f"{side}/spoof/{person}/{person}-1-2-{medium}-{session}.mov", species, person, side)
        for medium, session in product((1, 2, 3, 4), (1, 2)):
            name = f"{person}-2-3-{medium}-{session}.mov"
            yield Entry(f"{side}/spoof/{person}/{name}", replays[medium - 1], person, side)


def celeba_spoof() -> Iterator[Entry]:
    """Six persons, each with two live images and one of each attack; the kinds are in the lists alone."""
    kinds = (
        "photo",
        "poster",
        "a4",
        "face_mask",
        "upper_body_mask",
        "region_mask",
        "pc",
        "pad",
        "phone",
        "mask_3d",
    )
    for person in range(1, 7):
        side = "train" if person <= 4 else "test"
        for number, species in enumerate(("", "", *kinds)):
            kind = "spoof" if species else "live"
            suffix = "png" if number % 2 else "jpg"
            path = f"Data/{side}/{person}/{kind}/{person * 100 + number:06d}.{suffix}"
            yield Entry(path, species, str(person), side)


def nuaa() -> Iterator[Entry]:
    for number, session, glasses, shot in product(range(1, 16), (1, 2, 3), (0, 1), range(2)):
        person, side = f"{number:04d}", "test" if session == 3 else "train"
        for kind, species in (("Client", ""), ("Imposter", "print")):
            name = f"{person}_{glasses:02d}_04_{session:02d}_{shot}.jpg"
            yield Entry(f"raw/{kind}Raw/{person}/{name}", species, person, side)


def three_dmad() -> Iterator[Entry]:
    for user, session, shot in product(range(1, 18), range(1, 4), range(1, 6)):
        species = "mask_3d" if session == 3 else ""
        yield Entry(f"Data/{user:02d}_{session:02d}_{shot:02d}.hdf5", species, f"{user:02d}", f"{user:02d}")


def hkbu_mars_v1() -> Iterator[Entry]:
    for user, session, shot in product(range(1, 9), range(1, 4), range(1, 6)):
        species = "mask_3d" if session == 3 else ""
        path = f"s{session}/{user:02d}_{session:02d}_{shot:02d}.mp4"
        yield Entry(path, species, f"{user:02d}", f"{user:02d}")


def casia_surf() -> Iterator[Entry]:
    for side, person, (kind, species), stream in product(
        ("Training", "Testing"), (1, 2), (("real", ""), ("fake", "unspecified")), ("color", "depth", "ir")
    ):
        name = f"CLKJ_{side[0]}S{person:04d}"
        yield Entry(f"{side}/{kind}_part/{name}/06_en_b.rssdk/{stream}/1.jpg", species, name, side)


def cefa() -> Iterator[Entry]:
    for race, number, (pai, species) in product(
        ("AF", "CA"), (1, 2), ((1, ""), (2, "cloth"), (3, "photo"), (4, "screen"))
    ):
        name = f"{race}_{number:03d}_1_1_{pai}"
        yield Entry(f"{race}/{race}-001-020/{name}/profile/0001.jpg", species, f"{race}_{number:03d}", race)


def lcc_fasd() -> Iterator[Entry]:
    for side, (kind, species), number in product(
        ("training", "development", "evaluation"), (("real", ""), ("spoof", "unspecified")), range(3)
    ):
        yield Entry(f"LCC_FASD_{side}/{kind}/{kind}_{number}.png", species, "", side)


CORPORA: dict[str, Callable[[], Iterator[Entry]]] = {
    "folder": folder,
    "csv": csv,
    "rose_youtu": rose_youtu,
    "rose_youtu_clients": rose_youtu_clients,
    "replay_attack": replay_attack,
    "casia_fasd": casia_fasd,
    "msu_mfsd": msu_mfsd,
    "oulu_npu": oulu_npu,
    "siw": siw,
    "celeba_spoof": celeba_spoof,
    "nuaa": nuaa,
    "replay_mobile": replay_mobile,
    "three_dmad": three_dmad,
    "hkbu_mars_v1": hkbu_mars_v1,
    "casia_surf": casia_surf,
    "cefa": cefa,
    "lcc_fasd": lcc_fasd,
}
