"""The small PNG codec, held against Pillow."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import dsguard
from dsguard.formats import decode_image, decode_protected, encode_image, encode_images
from dsguard.formats import png as codec
from dsguard.formats.images import decode_files
from dsguard.formats.png import NotPlainError, encode_pngs, read_plain, unpacked


def opened(file: bytes):
    with Image.open(io.BytesIO(file)) as image:
        image.load()
        return np.asarray(image).reshape(image.height, image.width, -1)


def back(file: bytes):
    """Return the image, or None where it is left to Pillow."""
    try:
        shape, stream, _ = read_plain(file, b"dsGD")
    except NotPlainError:
        return None
    images, malformed = unpacked([stream], shape)
    return None if malformed[0] else images[0]


@pytest.fixture(params=["fast", "plain"], autouse=True)
def way(request, monkeypatch):
    if request.param == "plain":  # neither igzip nor the C core
        monkeypatch.setattr(codec, "deflate", zlib)
        monkeypatch.setattr(codec, "scanlines", None)
    return request.param


def drawn(rng, shape, kind):
    """Images with long runs, few values, skewed ones, all."""
    if kind == "flat":
        return np.repeat(rng.integers(0, 256, (*shape[:2], 1, shape[3])), shape[2], 2)
    if kind == "smooth":
        return rng.normal(0, 3, shape).cumsum(axis=1)
    if kind == "skewed":
        return np.minimum(rng.geometric(rng.uniform(0.005, 0.9), shape), 255)
    return rng.integers(0, 256, shape)


@given(
    st.integers(1, 5),
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from([1, 3, 4]),
    st.integers(0, 2**32 - 1),
    st.sampled_from(["flat", "smooth", "skewed", "noise"]),
    st.sampled_from(codec.LEVELS),
)
def test_pillow_reads_what_is_written(count, height, width, channels, seed, kind, level):
    rng = np.random.default_rng(seed)
    images = drawn(rng, (count, height, width, channels), kind).astype(np.int64).astype(np.uint8)
    files = encode_pngs(images, b"dsGD", {0: b"sidecar"}, level)
    for n, file in enumerate(files):
        np.testing.assert_array_equal(opened(file), images[n])
        np.testing.assert_array_equal(back(file), images[n])
        assert read_plain(file, b"dsGD")[2] == (b"" if n else b"sidecar")


@pytest.mark.parametrize("kind", ["flat", "smooth", "skewed", "noise"])
def test_large_images_are_several_blocks(kind, monkeypatch):
    monkeypatch.setattr(codec, "_AT_ONCE", 400_000)
    images = drawn(np.random.default_rng(0), (3, 211, 307, 3), kind).astype(np.int64)
    images = images.astype(np.uint8)
    for file, image in zip(encode_pngs(images), images, strict=True):
        np.testing.assert_array_equal(opened(file), image)
        np.testing.assert_array_equal(back(file), image)
        assert len(file) < 1.01 * image.size


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
def test_files_of_others_read_as_pillow_reads_them(scenes, mode, way):
    gray = Image.fromarray(scenes[0]).convert("L")
    image = gray.point(lambda x: x * 256).convert("I;16") if mode == "I;16" else None
    image = image or Image.fromarray(scenes[0]).convert(mode)
    file = io.BytesIO()
    image.save(file, "png")
    plain = back(file.getvalue())
    assert (plain is not None) == (way == "fast" and mode in ("L", "RGB", "RGBA"))
    if plain is not None:
        np.testing.assert_array_equal(plain, opened(file.getvalue()))
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
        assert back(bytes(damaged)) is None
    for length in range(len(file) - 12):
        assert back(file[:length]) is None


SIDES = st.integers(1, 30) | st.integers(90, 200)  # from 8 KiB on, bytes are read in pairs


@given(
    SIDES,
    SIDES,
    st.integers(0, 9),
    st.sampled_from([zlib.Z_DEFAULT_STRATEGY, zlib.Z_RLE, zlib.Z_HUFFMAN_ONLY, zlib.Z_FIXED]),
    st.integers(9, 15),
    st.sampled_from(["flat", "smooth", "skewed", "noise"]),
    st.integers(0, 2**32 - 1),
)
def test_streams_of_others_are_read(height, width, level, strategy, window, kind, seed):
    rng = np.random.default_rng(seed)
    images = drawn(rng, (3, height, width, 1), kind).astype(np.int64).astype(np.uint8)
    streams = []
    for rows in codec._filtered(images):
        packer = zlib.compressobj(level, zlib.DEFLATED, window, 9, strategy)
        streams.append(packer.compress(rows.tobytes()) + packer.flush())
    found, malformed = unpacked(streams, images.shape[1:])
    assert not malformed.any()
    np.testing.assert_array_equal(found, images)


@given(st.integers(0, 2**32 - 1), st.integers(0, 9), st.integers(1, 8), st.sampled_from([16, 128]))
def test_damaged_streams_are_read_as_zlib_reads_them(seed, level, flips, side):
    rng = np.random.default_rng(seed)
    rows = b"".join(b"\0" + rng.integers(0, 4, side, np.uint8).tobytes() for _ in range(side))
    stream = bytearray(zlib.compress(rows, level))
    for _ in range(flips):
        stream[rng.integers(2, len(stream))] ^= 1 << rng.integers(8)
    images, malformed = unpacked([bytes(stream), zlib.compress(rows)], (side, side, 1))
    if not malformed[0]:
        kept = np.frombuffer(zlib.decompress(bytes(stream)), np.uint8).reshape(side, side + 1)
        np.testing.assert_array_equal(images[0, ..., 0], kept[:, 1:])
    if codec.scanlines is not None:
        assert not malformed[1]


def test_a_bomb_does_not_unpack():
    header = codec.as_chunk(b"IHDR", codec._HEADER.pack(8, 8, 8, 2, 0, 0, 0))
    bomb = codec.as_chunk(b"IDAT", zlib.compress(bytes(1 << 28)))
    assert back(codec.SIGNATURE + header + bomb + codec.as_chunk(b"IEND", b"")) is None


def test_a_small_file_cannot_ask_for_much_memory():
    header = codec.as_chunk(b"IHDR", codec._HEADER.pack(8000, 8000, 8, 2, 0, 0, 0))
    file = codec.SIGNATURE + header + codec.as_chunk(b"IDAT", zlib.compress(bytes(8))) + codec.END
    with pytest.raises(NotPlainError):
        read_plain(file, b"dsGD")


def file_of(width, height, colour, stream, methods=(0, 0, 0), more=b""):
    header = codec.as_chunk(b"IHDR", codec._HEADER.pack(width, height, 8, colour, *methods))
    return codec.SIGNATURE + header + more + codec.as_chunk(b"IDAT", stream) + codec.END


@pytest.mark.parametrize("size", [(4, 0), (0, 4), (0, 0), (2**31 - 1, 0), (2**32 - 1, 0)])
def test_one_image_without_pixels_fails_alone(scenes, size):
    bad = file_of(*size, 2, zlib.compress(b""))
    groups, errors = decode_files([encode_image(scenes[0]), bad])
    assert [group.rows for group in groups] == [[0]]
    assert list(errors) == [1]


def test_claims_of_a_batch_do_not_take_memory(scenes, monkeypatch):
    asked = []
    real = codec.np.empty
    monkeypatch.setattr(codec, "_MOST_CLAIMED", 1 << 20)
    monkeypatch.setattr(
        "numpy.empty", lambda shape, *a, **k: asked.append(np.prod(shape)) or real(shape, *a, **k)
    )
    liar = file_of(600, 500, 6, bytes(2000))
    groups, errors = decode_files([encode_image(scenes[0]), *[liar] * 20])
    assert [group.rows for group in groups] == [[0]]
    assert len(errors) == 20
    assert max(asked, default=0) < 2 * 600 * 500 * 4


def test_unknown_methods_and_a_second_header_are_left_to_pillow():
    stream = zlib.compress(bytes(8 * 9))
    assert back(file_of(8, 8, 0, stream)) is not None or codec.scanlines is None
    second = codec.as_chunk(b"IHDR", codec._HEADER.pack(4, 4, 8, 0, 0, 0, 0))
    for methods in ((1, 0, 0), (0, 1, 0), (0, 0, 1)):
        assert back(file_of(8, 8, 0, stream, methods)) is None
    assert back(file_of(8, 8, 0, stream, more=second)) is None


def test_blocks_of_all_kinds_follow_each_other():
    rng = np.random.default_rng(0)
    rows = codec._filtered(rng.integers(0, 9, (1, 40, 40, 1), np.uint8))[0].tobytes()
    body, step = b"", len(rows) // 8 + 1
    for n, start in enumerate(range(0, len(rows), step)):  # fixed, dynamic, stored, fixed, ...
        strategy = zlib.Z_FIXED if n % 3 != 1 else zlib.Z_DEFAULT_STRATEGY
        packer = zlib.compressobj(0 if n % 3 == 2 else 9, zlib.DEFLATED, -15, 9, strategy)
        body += packer.compress(rows[start : start + step]) + packer.flush(zlib.Z_FULL_FLUSH)
    stream = b"\x78\x01" + body + b"\x03\x00" + zlib.adler32(rows).to_bytes(4, "big")
    assert zlib.decompress(stream) == rows
    images, malformed = unpacked([stream], (40, 40, 1))
    assert not malformed[0]
    filtered = np.frombuffer(rows, np.uint8).reshape(40, 41)[:, 1:]
    np.testing.assert_array_equal(images[0, ..., 0], np.add.accumulate(filtered, 0, np.uint8))


def test_a_claim_of_very_many_pixels_is_left_to_pillow():
    header = codec.as_chunk(b"IHDR", codec._HEADER.pack(1 << 14, 1 << 13, 8, 0, 0, 0, 0))
    rows = zlib.compress(bytes((1 << 13) * ((1 << 14) + 1)), 1)
    file = codec.SIGNATURE + header + codec.as_chunk(b"IDAT", rows) + codec.END
    with pytest.raises(NotPlainError):
        read_plain(file, b"dsGD")


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3, 4]), st.data())
def test_all_filters_are_undone(height, width, channels, data):
    kinds = data.draw(st.lists(st.integers(0, 5), min_size=height, max_size=height))
    pixels = data.draw(st.binary(min_size=height * width * channels))
    rows = [
        bytes([kind]) + pixels[y * width * channels : (y + 1) * width * channels]
        for y, kind in enumerate(kinds)
    ]
    header = codec._HEADER.pack(width, height, 8, codec._COLOUR_TYPE[channels], 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"".join(rows))), (b"IEND", b"")]
    file = codec.SIGNATURE + b"".join(codec.as_chunk(*chunk) for chunk in chunks)
    found = back(file)
    if 5 in kinds:
        assert found is None  # there is no such filter
    elif found is not None:
        np.testing.assert_array_equal(found, opened(file))
    else:
        assert codec.scanlines is None


@pytest.mark.parametrize("rows", range(16))
@pytest.mark.parametrize("depth", [1, 8])
def test_files_that_lack_rows_are_no_images(rows, depth):
    """Decoders leave these rows black."""
    row = bytes(1 + 2 * depth) if depth == 1 else bytes(range(1 + 16 * 3))[:1] + b"\x55" * 48
    colour = 0 if depth == 1 else 2
    header = struct.pack(">IIBBBBB", 16, 16, depth, colour, 0, 0, 0)

    def file(count):
        chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(row * count)), (b"IEND", b"")]
        return b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks
        )

    assert decode_image(file(16)).shape[:2] == (16, 16)
    with pytest.raises(dsguard.InputError, match=r"ends before its last row|cannot be read"):
        decode_image(file(rows))
