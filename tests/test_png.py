"""The small PNG codec, held against Pillow."""

from __future__ import annotations

import io
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dsguard.datasets import decode_image, decode_protected, encode_image, encode_images
from dsguard.datasets import png as codec
from dsguard.datasets.png import NotPlainError, encode_pngs, read_plain, unfiltered


def opened(file: bytes):
    with Image.open(io.BytesIO(file)) as image:
        image.load()
        return np.asarray(image).reshape(image.height, image.width, -1)


def back(file: bytes):
    shape, rows, _ = read_plain(file, b"dsGD")
    return unfiltered([rows], shape)


@pytest.fixture(params=["fast", "zlib"], autouse=True)
def deflate(request, monkeypatch):
    if request.param == "zlib":
        monkeypatch.setattr(codec, "deflate", zlib)
        monkeypatch.setattr(codec, "compressed", zlib.compress)


@given(
    st.integers(1, 5),
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from([1, 3, 4]),
    st.integers(0, 2**32 - 1),
)
def test_pillow_reads_what_is_written(count, height, width, channels, seed):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, height, width, channels), dtype=np.uint8)
    files = encode_pngs(images, b"dsGD", {0: b"sidecar"})
    for n, file in enumerate(files):
        np.testing.assert_array_equal(opened(file), images[n])
        np.testing.assert_array_equal(back(file)[0], images[n])
        assert read_plain(file, b"dsGD")[2] == (b"" if n else b"sidecar")


def test_batches_equal_single_images(scenes):
    sidecars = {2: b"beside"}
    for name in ("png", "tiff"):
        files = encode_images(scenes, name, sidecars)
        for n, file in enumerate(files):
            assert file == encode_image(scenes[n], name, sidecars.get(n, b""))
            pixels, sidecar = decode_protected(file)
            np.testing.assert_array_equal(pixels, scenes[n])
            assert sidecar == sidecars.get(n, b"")


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1", "LA", "I;16"])
def test_files_of_others_read_as_pillow_reads_them(scenes, mode):
    gray = Image.fromarray(scenes[0]).convert("L")
    image = gray.point(lambda x: x * 256).convert("I;16") if mode == "I;16" else None
    image = image or Image.fromarray(scenes[0]).convert(mode)
    file = io.BytesIO()
    image.save(file, "png")
    try:
        shape, rows, _ = read_plain(file.getvalue(), b"dsGD")
        plain = unfiltered([rows], shape)
    except NotPlainError:
        plain = None
    if plain is not None:
        np.testing.assert_array_equal(plain[0], opened(file.getvalue()))
    if mode in ("L", "RGB", "RGBA"):
        np.testing.assert_array_equal(decode_image(file.getvalue()), opened(file.getvalue()))


@pytest.mark.parametrize("name", ["gAMA", "tRNS", "iCCP", "eXIf", "acTL", "sRGB"])
def test_chunks_that_change_what_pixels_mean_are_left_to_pillow(scenes, name):
    (file,) = encode_pngs(scenes[:1], name.encode(), {0: bytes(6)})
    with pytest.raises(NotPlainError):
        read_plain(file, b"dsGD")


def test_every_damage_is_noticed(scenes):
    (file,) = encode_pngs(scenes[:1, :8, :8])
    for place in range(len(file)):
        damaged = bytearray(file)
        damaged[place] ^= 0x55
        with pytest.raises(NotPlainError):
            read_plain(bytes(damaged), b"dsGD")
    for length in range(len(file) - 12):
        with pytest.raises(NotPlainError):
            read_plain(file[:length], b"dsGD")


def test_a_bomb_does_not_unpack():
    header = codec._chunk(b"IHDR", codec._HEADER.pack(8, 8, 8, 2, 0, 0, 0))
    bomb = codec._chunk(b"IDAT", zlib.compress(bytes(1 << 28)))
    with pytest.raises(NotPlainError):
        read_plain(codec._SIGNATURE + header + bomb + codec._chunk(b"IEND", b""), b"dsGD")


def test_a_claim_of_very_many_pixels_is_left_to_pillow():
    header = codec._chunk(b"IHDR", codec._HEADER.pack(1 << 14, 1 << 13, 8, 0, 0, 0, 0))
    rows = zlib.compress(bytes((1 << 13) * ((1 << 14) + 1)), 1)
    file = codec._SIGNATURE + header + codec._chunk(b"IDAT", rows) + codec._END
    with pytest.raises(NotPlainError):
        read_plain(file, b"dsGD")


def test_other_filters_are_left_to_pillow(scenes):
    file = io.BytesIO()
    Image.fromarray(scenes[0]).save(file, "png")
    shape, rows, _ = read_plain(file.getvalue(), b"dsGD")
    assert unfiltered([rows], shape) is None
    np.testing.assert_array_equal(decode_image(file.getvalue()), scenes[0])
