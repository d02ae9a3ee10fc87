"""Views of images that are not decoded: windows, first pictures, and nothing from hostile files."""

from __future__ import annotations

import io
import struct
import sys
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import dsguard
from dsguard.bulk import protect_dataset, restore_dataset
from dsguard.cli.commands import Exit, run
from dsguard.covers import Preview
from dsguard.formats import decode_image
from dsguard.formats.images import checked_member
from dsguard.formats.views import view_of, window_of, windowed

KEY = dsguard.DatasetKey(bytes(32))
SLOPE = np.add.outer(np.arange(40) * 3, np.arange(60) * 2).astype(np.uint16) * 40 + 7


def saved(image: Image.Image, kind: str, **options) -> bytes:
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def element(tag: int, kind: bytes, value: bytes, order: str = "<") -> bytes:
    value += b"\0" * (len(value) % 2)
    head = struct.pack(f"{order}HH", tag >> 16, tag & 0xFFFF)
    if not kind:  # implicit
        return head + struct.pack(f"{order}I", len(value)) + value
    head += kind
    long = kind in (b"OW", b"OB", b"UN")
    return head + struct.pack(f"{order}xxI" if long else f"{order}H", len(value)) + value


def dicom(pixels: np.ndarray, *, syntax="1.2.840.10008.1.2.1", kind="MONOCHROME2", **more) -> bytes:
    """Return a DICOM file of gray pixels, or of RGB; `more` elements by name."""
    order = ">" if syntax.endswith("1.2.2") else "<"
    height, width, *channels = pixels.shape
    size = pixels.dtype.itemsize
    short = {
        0x00280002: (channels or [1])[0], 0x00280010: height, 0x00280011: width,
        0x00280100: 8 * size, 0x00280101: 8 * size, 0x00280103: int(pixels.dtype.kind == "i"),
    }  # fmt: skip
    told = {tag: (b"US", struct.pack(f"{order}H", value)) for tag, value in short.items()}
    told[0x00280004] = b"CS", kind.encode()
    names = {
        "centre": 0x00281050,
        "width": 0x00281051,
        "intercept": 0x00281052,
        "slope": 0x00281053,
    }
    told |= {names[name]: (b"DS", str(value).encode()) for name, value in more.items()}
    told[0x7FE00010] = b"OW", pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    if syntax.endswith("1.2.840.10008.1.2"):
        told = {tag: (b"", value) for tag, (_, value) in told.items()}
    body = b"".join(element(tag, *told[tag], order) for tag in sorted(told))
    if syntax.endswith("1.99"):
        body = zlib.compress(body)[2:-4]
    start = element(0x00020010, b"UI", syntax.encode())
    head = element(0x00020000, b"UL", struct.pack("<I", len(start)))
    return bytes(128) + b"DICM" + head + start + body


def close(view: np.ndarray, values: np.ndarray, low: float, high: float) -> bool:
    expected = np.clip((values.astype(float) - low) / (high - low), 0, 1) * 255
    return bool(np.abs(view[..., 0].astype(float) - expected).max() <= 0.51)


@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_deep_gray_is_seen_from_percentile_to_percentile(kind):
    data = saved(Image.fromarray(SLOPE), kind)
    assert close(view_of(data), SLOPE, *np.percentile(SLOPE, (1, 99)))


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_numbers_of_32_bits_as_well(dtype):
    values = (SLOPE.astype(dtype) - 5000) / (1 if dtype == np.int32 else 7)
    data = saved(Image.fromarray(values.astype(dtype)), "tiff")
    assert close(view_of(data), values.astype(dtype), *np.percentile(values.astype(dtype), (1, 99)))


def test_what_is_no_number_is_black_and_counts_nowhere():
    values = SLOPE.astype(np.float32)
    values[0, :3] = np.nan, np.inf, -np.inf
    low, high = window_of(values)
    view = view_of(saved(Image.fromarray(values), "tiff"))
    assert np.isfinite([low, high]).all()
    assert view[0, :3, 0].tolist() == [0, 255, 0]
    assert np.unique(view).size > 100
    assert view_of(saved(Image.fromarray(np.full((9, 9), np.nan, np.float32)), "tiff")) is None


def test_one_value_is_gray():
    assert (windowed(np.full((3, 4), 900), 900, 900) == 128).all()
    assert (view_of(saved(Image.fromarray(np.full((9, 9), 900, np.uint16)), "png")) == 128).all()


def test_of_several_pictures_the_first_is_seen():
    first, second = (Image.fromarray(np.full((9, 12, 3), tone, np.uint8)) for tone in (40, 200))
    for kind in ("gif", "png", "webp", "tiff"):
        options = {"lossless": True} if kind == "webp" else {}
        data = saved(first, kind, save_all=True, append_images=[second], **options)
        assert view_of(data).shape == (9, 12, 3)
        assert np.abs(view_of(data).astype(int) - 40).max() <= 1


def test_inks_are_seen_as_colours():
    red = saved(Image.new("RGB", (8, 8), (250, 10, 10)).convert("CMYK"), "tiff")
    assert np.abs(view_of(red).astype(int) - [250, 10, 10]).max() < 12


def test_a_large_dicom_of_a_short_archive_is_refused():
    large = dicom(np.zeros((4200, 4200), np.uint8))
    assert checked_member(large, len(large) // 3) == large
    with pytest.raises(dsguard.InputError, match="packed bytes"):
        checked_member(large, len(large) // 1000)


@pytest.mark.parametrize("kind", [b"UC", b"UR", b"OV", b"UT"])
def test_no_dicom_is_unpacked_for_a_syntax_within_another_element(monkeypatch, kind):
    """Whoever takes the element for a short one finds a syntax in its value, and others do not."""
    fake = element(0x00020010, b"UI", b"1.2.840.10008.1.2.1")
    value = (b"UI" + struct.pack("<H", 4) + b"1.2\0" + fake).ljust(0x00010002, b"\0")
    head = struct.pack("<HH2sxxI", 2, 3, kind, len(value)) + value
    plain = dicom(SLOPE, syntax="1.2.840.10008.1.2.1.99")
    data = plain[:132] + head + plain[132:]
    unpacked = []
    monkeypatch.setattr(zlib, "decompress", lambda *given: unpacked.append(given))
    monkeypatch.setattr(zlib, "decompressobj", lambda *given: unpacked.append(given))
    assert view_of(data) is None
    assert unpacked == []


@pytest.mark.parametrize(
    "syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"]
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16])
def test_dicom_has_its_own_window(syntax, dtype):
    pytest.importorskip("pydicom")
    pixels = (SLOPE // 40).astype(dtype)
    view = view_of(dicom(pixels, syntax=syntax, centre=100, width=81))
    assert close(view, pixels, 59.5, 139.5)
    scaled = dicom(pixels, syntax=syntax, centre=1000, width=401, slope=2, intercept=500)
    assert close(view_of(scaled), pixels, 149.75, 349.75)
    assert close(view_of(dicom(pixels, syntax=syntax)), pixels, *np.percentile(pixels, (1, 99)))
    turned = view_of(dicom(pixels, syntax=syntax, kind="MONOCHROME1", centre=100, width=81))
    assert np.array_equal(turned, 255 - view)


def test_dicom_in_colour():
    pytest.importorskip("pydicom")
    colours = np.random.default_rng(0).integers(0, 256, (10, 12, 3), np.uint8)
    assert np.array_equal(view_of(dicom(colours, kind="RGB")), colours)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"no image", bytes(128) + b"DICM", bytes(128) + b"DICM\2\0\x10\0UI\xff\xff",
        dicom(SLOPE, syntax="1.2.840.10008.1.2.1.99"),
        dicom(SLOPE, syntax="1.2.840.10008.1.2.4.50"),
        dicom(SLOPE, kind="PALETTE COLOR"), dicom(SLOPE)[:-9],
        saved(Image.fromarray(SLOPE), "png")[:200],
    ],
)  # fmt: skip
def test_what_is_packed_odd_or_damaged_is_not_seen(data):
    assert view_of(data) is None


def test_a_file_of_two_transfer_syntaxes_is_not_seen():
    """Where the second one says that it is packed, it could fill the memory."""
    told = element(0x00020010, b"UI", b"1.2.840.10008.1.2.1")
    before, after = dicom(SLOPE).split(told)
    assert view_of(before + told + after) is not None
    assert (
        view_of(before + told + element(0x00020010, b"UI", b"1.2.840.10008.1.2.1.99") + after)
        is None
    )


def test_a_short_file_may_not_claim_a_large_image():
    bomb = bytearray(saved(Image.fromarray(SLOPE), "png"))
    bomb[16:24] = (60000).to_bytes(4, "big") * 2
    bomb[29:33] = zlib.crc32(bomb[12:29]).to_bytes(4, "big")
    assert view_of(bytes(bomb)) is None


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_changed_files_are_seen_or_not(data):
    made = [dicom(SLOPE[:9, :9], centre=9, width=9), saved(Image.fromarray(SLOPE[:9, :9]), "tiff")]
    file = bytearray(data.draw(st.sampled_from(made)))
    for _ in range(3):
        file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    view = view_of(bytes(file))
    assert view is None or (view.dtype == np.uint8 and view.ndim == 3)


@pytest.mark.parametrize("cover_size", ["own", "fit"])
def test_previews_show_them_and_the_files_come_back(tmp_path, cover_size):
    pytest.importorskip("pydicom")
    source = tmp_path / "scans" / "a"
    source.mkdir(parents=True)
    files = {
        "deep.png": saved(Image.fromarray(SLOPE), "png"),
        "deep.tiff": saved(Image.fromarray(SLOPE), "tiff"),
        "values.tiff": saved(Image.fromarray(SLOPE.astype(np.float32)), "tiff"),
        "scan.dcm": dicom(SLOPE),
    }
    for name, data in files.items():
        (source / name).write_bytes(data)
    report = protect_dataset(
        source.parent, tmp_path / "out", KEY, cover=Preview(4), cover_size=cover_size
    )
    assert (report.done, report.failed) == (4, 0)
    for path in (tmp_path / "out").rglob("*.png"):
        shown = Image.fromarray(decode_image(path.read_bytes())).convert("L").resize((60, 40))
        assert np.corrcoef(np.asarray(shown).ravel(), SLOPE.ravel())[0, 1] > 0.9
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    back = {path.name: path.read_bytes() for path in (tmp_path / "back").rglob("*.*")}
    assert back == files


def test_other_covers_show_nothing_of_them(tmp_path):
    source = tmp_path / "scans" / "a"
    source.mkdir(parents=True)
    (source / "deep.png").write_bytes(saved(Image.fromarray(SLOPE), "png"))
    protect_dataset(source.parent, tmp_path / "out", KEY)
    shown = decode_image((tmp_path / "out" / "a" / "deep.png").read_bytes())
    gray = np.asarray(Image.fromarray(shown).convert("L"), float)
    assert abs(np.corrcoef(gray.ravel(), SLOPE.ravel())[0, 1]) < 0.85


def test_without_pydicom_it_is_said_once(tmp_path, scenes, monkeypatch, capsys):
    (tmp_path / "clean").mkdir()
    for n in range(2):
        (tmp_path / "clean" / f"{n}.dcm").write_bytes(bytes(128) + b"DICM" + scenes[n].tobytes())
    dsguard.DatasetKey(bytes(32)).save(tmp_path / "k")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    monkeypatch.chdir(tmp_path)
    told = []
    for n, cover in enumerate(("preview", "blank")):
        given = ["clean", f"out{n}", "--key", "k", "--cover", cover, "--workers", "1"]
        assert run(["protect", *given]) == Exit.OK
        told.append(" ".join(capsys.readouterr().err.split()))
    assert told[0].count("dsguard[dicom]") == 1
    assert "0.dcm' and 1 more: DICOM without pydicom" in told[0]
    assert "pydicom" not in told[1]
