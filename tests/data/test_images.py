from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from bonaface.data.images import encode_jpeg, pixels_of, read_image
from bonaface.errors import MediaError
from tests.server.broken import bomb_png


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
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "damaged"),
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


def written(path: Path, image: Image.Image, kind: str, **options) -> Path:
    path.write_bytes(saved(image, kind, **options))
    return path


@pytest.mark.parametrize("kind", ["BMP", "GIF", "TIFF", "AVIF"])
def test_own_files_of_more_formats_are_read_by_content(picture, kind: str, tmp_path: Path):
    options = {"quality": 95} if kind == "AVIF" else {}
    path = written(tmp_path / "picture.jpg", Image.fromarray(picture), kind, **options)
    assert np.abs(read_image(path, trusted=True).astype(int) - picture).mean() < 12
    with pytest.raises(MediaError, match=f"format {kind}, which is not read; expected JPEG, PNG or WEBP"):
        read_image(path)


def test_heic_is_read_with_its_extra(picture, tmp_path: Path, monkeypatch):
    pytest.importorskip("pi_heif")
    path = tmp_path / "photo.heic"
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    with pytest.raises(MediaError, match="damaged"):
        read_image(path, trusted=True)
    monkeypatch.setattr("bonaface.data.images._has_heif", lambda: False)
    with pytest.raises(MediaError, match=r'HEIC.*pip install "\.\[heif\]"'):
        read_image(path, trusted=True)


@pytest.mark.parametrize("kind", [b"8BPS\0\1", b"\0\0\0\x0cjP  \r\n", b"\xff\x0a"])
def test_formats_that_are_not_read_are_named(kind: bytes, tmp_path: Path):
    path = tmp_path / "picture"
    path.write_bytes(kind + bytes(200))
    with pytest.raises(MediaError, match=r"in the format (PSD|JP2|JXL), which is not read"):
        read_image(path, trusted=True)


def test_large_jpeg_is_decoded_at_a_fraction(picture, monkeypatch):
    large = Image.fromarray(picture).resize((1200, 800), Image.Resampling.NEAREST)
    content = saved(large, "JPEG", quality=95)
    assert read_image(content).shape == (800, 1200, 3)
    monkeypatch.setattr("bonaface.data.images.MAX_PIXELS", 300_000)
    small = read_image(content)
    assert small.shape == (400, 600, 3)
    assert np.abs(small[::10, ::10].astype(int) - picture).mean() < 8
    monkeypatch.setattr("bonaface.data.images.MAX_PIXELS", 20_000)
    assert read_image(content).shape == (100, 150, 3)
    with pytest.raises(MediaError, match="pixels"):
        read_image(saved(large, "PNG"))
    with pytest.raises(MediaError, match="pixels"):
        read_image(saved(large, "JPEG", progressive=True))


def test_jpeg_beyond_every_fraction_is_refused(picture, monkeypatch):
    content = saved(Image.fromarray(picture).resize((1200, 800)), "JPEG")
    monkeypatch.setattr("bonaface.data.images.MAX_PIXELS", 1_000)
    with pytest.raises(MediaError, match="pixels"):
        read_image(content)


def test_png_with_a_wrong_checksum_is_damaged(picture):
    content = bytearray(saved(Image.fromarray(picture), "PNG"))
    place = content.index(b"IDAT") + 4
    size = int.from_bytes(content[place - 8 : place - 4], "big")
    content[place + size] ^= 0xFF
    with pytest.raises(MediaError, match="damaged"):
        read_image(bytes(content))


def test_floating_point_pixels_are_refused(tmp_path: Path):
    path = written(tmp_path / "depth.tif", Image.new("F", (20, 20), 0.5), "TIFF")
    with pytest.raises(MediaError, match="floating-point"):
        read_image(path, trusted=True)


def test_deep_tiff_is_scaled(picture, tmp_path: Path):
    grey = np.asarray(Image.fromarray(picture).convert("L"))
    path = written(tmp_path / "deep.tif", Image.fromarray(grey.astype(np.uint16) * 257), "TIFF")
    assert np.array_equal(read_image(path, trusted=True)[..., 0], grey)


def test_pixels_of_a_huge_png_are_not_decoded_for_its_size(monkeypatch: pytest.MonkeyPatch):
    content = bomb_png(8_000)
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("decoded"))
    with pytest.raises(MediaError, match="more than the 50 million pixels"):
        read_image(content)
    assert pixels_of(content) == 64_000_000


def test_exif_after_the_pixels_of_a_png_turns_it(picture):
    exif = Image.Exif()
    exif[0x0112] = 3
    content = saved(Image.fromarray(picture), "PNG", exif=exif)
    start = content.index(b"eXIf") - 4
    length = 12 + int.from_bytes(content[start : start + 4], "big")
    block, rest = content[start : start + length], content[:start] + content[start + length :]
    end = rest.index(b"IEND") - 4
    np.testing.assert_array_equal(read_image(rest[:end] + block + rest[end:]), picture[::-1, ::-1])
