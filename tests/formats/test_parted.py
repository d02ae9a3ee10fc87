"""Image files in parts: samples and layout give the file back, whatever program wrote it."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dsguard.formats import png
from dsguard.formats.parted import joined, parted
from dsguard.kernels.reference import trace as reference

CHANNELS = {0: 1, 2: 3, 3: 1, 6: 4}

SHAPES = st.tuples(st.integers(1, 24), st.integers(1, 40), st.sampled_from([0, 2, 3, 6]))


def scene(height: int, width: int, seed: int) -> np.ndarray:
    """Return samples with slopes, repeats and noise, (height, width)."""
    rng = np.random.default_rng(seed)
    slope = np.add.outer(np.arange(height) * 2, np.arange(width) * 3) % 97
    noise = rng.integers(0, 1 + seed % 5, (height, width))
    return np.where(rng.random((height, 1)) < 0.2, 9, slope + noise).astype(np.uint8)


def png_of(shape, seed: int, stream, piece: int = 1 << 16, more: bytes = b"") -> bytes:
    """Return a PNG file; `stream` packs its filtered rows."""
    height, width, colour = shape
    samples = scene(height, width * CHANNELS[colour], seed)
    kinds = np.random.default_rng(seed).integers(0, 5, height).tolist()
    packed = stream(reference.filtered(samples, CHANNELS[colour], kinds))
    parts = [packed[n : n + piece] for n in range(0, len(packed), piece)]
    return b"".join(
        [
            png.SIGNATURE,
            png.as_chunk(b"IHDR", png.header_of(height, width, colour)),
            png.as_chunk(b"PLTE", bytes(range(99))) if colour == 3 else b"",
            *(png.as_chunk(b"IDAT", part) for part in parts),
            more,
            png.END,
        ]
    )


@st.composite
def streams(draw):
    """Return a way to pack bytes as a zlib stream, in one piece or with flushes."""
    level, strategy = draw(st.integers(0, 9)), draw(st.sampled_from(range(5)))
    window, memory = draw(st.integers(9, 15)), draw(st.integers(1, 9))
    flush = draw(st.sampled_from([zlib.Z_NO_FLUSH, zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH]))
    cut = draw(st.floats(0, 1))

    def stream(rows: bytes) -> bytes:
        packer = zlib.compressobj(level, zlib.DEFLATED, window, memory, strategy)
        half = int(cut * len(rows))
        first = packer.compress(rows[:half]) + packer.flush(flush)
        return first + packer.compress(rows[half:]) + packer.flush()

    return stream


@given(SHAPES, st.integers(0, 999), streams(), st.integers(1, 300), st.booleans())
@settings(max_examples=60, deadline=None)
def test_png_files_of_any_encoder_come_back(shape, seed, stream, piece, more):
    """No setting of the encoder is known to what joins the parts."""
    data = png_of(shape, seed, stream, piece, png.as_chunk(b"tEXt", b"a\0b") if more else b"")
    whole = png.size_of(data) == (shape[1], shape[0])
    parts = parted(data, 8 * len(data))
    if parts is None:  # rows of runs pack so well that their samples are beyond the limit
        is_large = shape[0] * (1 + shape[1] * CHANNELS[shape[2]]) > 8 * len(data)
        assert is_large or data.count(b"IDAT") > 1000
    else:
        assert whole
        assert joined(parts.samples, parts.layout, len(data)) == data
        assert joined(parts.samples, parts.layout + b"\0\0", len(data)) == data


@given(st.tuples(st.integers(1, 9), st.integers(1, 16), st.just(2)), st.integers(0, 99), streams())
@settings(max_examples=25, deadline=None)
def test_the_core_traces_as_the_reference_does(shape, seed, stream):
    scanlines = pytest.importorskip("dsguard.formats.scanlines")
    height, width, _ = shape
    samples = scene(height, width * 3, seed)
    rows = reference.filtered(samples, 3, [seed % 5] * height)
    blocks = stream(rows)[2:-4]
    trace = reference.trace(blocks, rows, 1 + 3 * width)
    image = samples.reshape(height, width, 3)
    assert scanlines.trace(blocks, rows, image.shape) == trace
    found = scanlines.retrace(trace, image, len(blocks))
    assert (found[0], found[1].tobytes()) == (blocks, rows)
    assert reference.retrace(trace, samples, 3, len(blocks)) == (blocks, rows)
    assert np.array_equal(reference.unfiltered(rows, 1 + 3 * width, 3), samples)
    assert scanlines.retrace(trace, image, len(blocks) - 1)[0] == b""


@pytest.mark.parametrize("shape", [(9, 14, 2), (8, 20, 3), (7, 9, 6)])
def test_without_the_core_the_parts_are_the_same(monkeypatch, shape):
    data = png_of(shape, 3, zlib.compress)
    parts = parted(data)
    monkeypatch.setattr(png, "scanlines", None)
    slow = parted(data)
    assert np.array_equal(slow.samples, parts.samples)
    assert slow.layout == parts.layout


@given(st.binary(max_size=300), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_any_bytes_as_a_trace_make_the_same_or_nothing(trace, seed):
    scanlines = pytest.importorskip("dsguard.formats.scanlines")
    samples = scene(6, 15, seed)
    blocks, rows = scanlines.retrace(trace, samples.reshape(6, 5, 3), 500)
    try:
        assert (blocks, rows.tobytes()) == reference.retrace(trace, samples, 3, 500)
    except reference.NoTraceError:
        assert blocks == b""


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_changed_files_have_no_parts_or_come_back(data):
    """`parted` never takes a file that would not come back, whatever it holds."""
    kind = data.draw(st.sampled_from(["bmp", "tiff", "ppm", "png"]))
    file = bytearray(saved(scene(9, 21, 3).reshape(9, 7, 3), kind))
    for _ in range(data.draw(st.integers(1, 3))):
        file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    file = bytes(file[: data.draw(st.sampled_from([len(file), len(file) // 2]))])
    parts = parted(file)
    assert parts is None or joined(parts.samples, parts.layout, len(file)) == file


def saved(picture: np.ndarray, kind: str, **options) -> bytes:
    data = io.BytesIO()
    Image.fromarray(picture).save(data, kind, **options)
    return data.getvalue()


@pytest.mark.parametrize(
    ("kind", "channels"), [(k, c) for k in ("bmp", "tiff", "ppm") for c in (1, 3, 4)][:-1]
)
def test_files_without_compression_have_parts(kind, channels):
    picture = scene(30, 29 * channels, 4).reshape(30, 29, channels)
    data = saved(picture[..., 0] if channels == 1 else picture, kind) + b"and more"
    parts = parted(data)
    assert parts.samples.shape == (30, 29, channels)
    assert np.array_equal(np.sort(parts.samples, axis=None), np.sort(picture, axis=None))
    assert joined(parts.samples, parts.layout, len(data)) == data


@pytest.mark.parametrize(
    "options",
    [{"compression": "tiff_lzw"}, {"compression": "jpeg"}, {"compression": "tiff_deflate"}],
)
def test_compressed_tiff_files_have_none(options):
    assert parted(saved(scene(30, 87, 4).reshape(30, 29, 3), "tiff", **options)) is None


@pytest.mark.parametrize("order", "<>")
def test_strips_that_do_not_follow_each_other_have_none(order):
    samples = scene(4, 6, 1)

    def tiff(starts) -> bytes:
        tags = [(256, 6), (257, 4), (258, 8), (259, 1), (262, 1), (277, 1), (278, 2)]
        body = b"".join(struct.pack(f"{order}HHIHxx", tag, 3, 1, value) for tag, value in tags)
        at = 8 + 2 + 12 * 9 + 4
        body += struct.pack(f"{order}HHII", 273, 4, 2, at)
        body += struct.pack(f"{order}HHII", 279, 4, 2, at + 8)
        head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, 9)
        strips = struct.pack(f"{order}IIII", *(at + 16 + start for start in starts), 12, 12)
        return head + body + bytes(4) + strips + samples.tobytes()

    assert np.array_equal(parted(tiff((0, 12))).samples[..., 0], samples)
    assert parted(tiff((12, 0))) is None


@pytest.mark.parametrize(
    "made",
    [
        b"", b"BM", b"II*\0", b"P6 0 0 255 ", b"P6 9 9 65535 " + bytes(486), png.SIGNATURE,
        b"BM" + bytes(60), b"MM\0*\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff" + b"\1" * 90,
        png.SIGNATURE + png.as_chunk(b"IHDR", png.header_of(9, 9, 2)) + png.END,
    ],
)  # fmt: skip
def test_what_is_no_such_file_has_no_parts(made):
    assert parted(made) is None


def test_a_small_file_may_not_claim_a_large_image():
    head = png.SIGNATURE + png.as_chunk(b"IHDR", png.header_of(60_000, 60_000, 6))
    assert parted(head + png.as_chunk(b"IDAT", zlib.compress(bytes(99))) + png.END) is None
    rows = zlib.compress(bytes(3_000_000), 9)
    head = png.SIGNATURE + png.as_chunk(b"IHDR", png.header_of(1000, 999, 2))
    file = head + png.as_chunk(b"IDAT", rows) + png.END
    assert parted(file, 8 * len(file)) is None


@pytest.mark.parametrize("layout", [b"", b"\2", b"\0", b"\1", b"\0" + bytes(8), b"\1" + bytes(40)])
def test_layouts_that_fit_nothing_give_no_file(layout):
    assert joined(np.zeros((4, 4, 3), np.uint8), layout, 90) is None
    assert joined(np.zeros((4, 4, 3), np.uint8), layout, 3) is None


def test_pixels_in_very_many_chunks_have_no_parts():
    """Each chunk takes memory, here and where they are joined."""
    shape = (40, 60, 0)
    few, many = (png_of(shape, 0, lambda rows: zlib.compress(rows, 0), n) for n in (4, 1))
    found = parted(few)
    assert found is not None
    assert parted(many) is None
    layout = bytearray(found.layout)
    layout[4:8] = struct.pack("<I", 1)  # bytes of a chunk
    size = len(many)
    assert joined(found.samples, bytes(layout), size) is None
