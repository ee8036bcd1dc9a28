from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bonaface.data.images import encode_jpeg, read_image
from bonaface.errors import MediaError


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """Wide, and other in each corner."""
    canvas = np.full((40, 60, 3), 128, np.uint8)
    canvas[:20, :30] = (250, 10, 10)
    canvas[20:, 30:] = (10, 10, 250)
    return canvas


def saved(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_comes_out_upright(picture, orientation: int):
    turned = {
        1: picture,
        2: picture[:, ::-1],
        3: picture[::-1, ::-1],
        4: picture[::-1],
        5: picture.transpose(1, 0, 2),
        6: np.rot90(picture, 1),
        7: np.rot90(picture, 2).transpose(1, 0, 2),
        8: np.rot90(picture, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = saved(Image.fromarray(np.ascontiguousarray(turned)), "PNG", exif=exif)
    assert np.array_equal(read_image(content), picture)


def test_modes_become_rgb(picture):
    image = Image.fromarray(picture)
    assert np.abs(read_image(saved(image.convert("CMYK"), "JPEG", quality=98)).astype(int) - picture).mean() < 8
    alpha = image.convert("RGBA")
    alpha.putalpha(0)
    assert read_image(saved(alpha, "PNG")).min() == 255
    deep = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    assert np.array_equal(read_image(saved(deep, "PNG"))[..., 0], np.asarray(image.convert("L")))
    assert np.array_equal(read_image(saved(image.convert("P"), "PNG")).shape, picture.shape)


def test_of_an_animation_the_first_frame(picture):
    frames = [Image.fromarray(picture), Image.fromarray(255 - picture)]
    content = saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert np.array_equal(read_image(content), picture)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "JPEG, PNG or WEBP"),
        (b"8BPS\x00\x01" + bytes(100), "JPEG, PNG or WEBP"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "image"),
    ],
)
def test_what_is_no_picture_is_one_line(content: bytes, said: str, tmp_path: Path):
    path = tmp_path / "x.jpg"
    path.write_bytes(content)
    with pytest.raises(MediaError, match=said) as caught:
        read_image(path)
    assert "\n" not in str(caught.value)
    assert "x.jpg" in str(caught.value)


def test_a_truncated_picture_is_refused(picture):
    noisy = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    content = saved(Image.fromarray(noisy), "JPEG")
    with pytest.raises(MediaError):
        read_image(content[: len(content) // 2])


def test_a_bomb_is_refused_before_it_is_decoded():
    content = saved(Image.new("1", (20_000, 20_000)), "PNG")
    assert len(content) < 100_000
    with pytest.raises(MediaError, match="pixels"):
        read_image(content)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path):
    with pytest.raises(MediaError, match=r"none\.png"):
        read_image(tmp_path / "none.png")
    with pytest.raises(MediaError):
        read_image(tmp_path)


def test_stored_jpegs_keep_their_colours():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2, 0] = 255
    stripes[:, 1::2, 2] = 255
    back = read_image(encode_jpeg(stripes, quality=95)).astype(int)
    assert np.abs(back - stripes).mean() < 12  # with halved colour it would be 60


def test_damage_beside_the_picture_does_not_lose_it(picture):
    image = Image.fromarray(picture)
    exif = Image.Exif()
    exif[0x010F] = "maker" * 30
    tags = bytearray(saved(image, "JPEG", exif=exif))
    tags[tags.index(b"Exif\0\0") + 14] = 200
    several = bytearray(saved(image, "MPO", save_all=True, append_images=[image]))
    place = several.index(b"MPF\0") + 12
    several[place : place + 28] = b"\xff" * 28
    assert [read_image(bytes(content)).shape for content in (tags, several)] == [picture.shape] * 2


def test_a_tall_picture_keeps_every_row():
    rows = np.random.default_rng(0).integers(0, 256, (333, 7, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(rows).save(file, "PNG")
    assert np.array_equal(read_image(file.getvalue()), rows)
