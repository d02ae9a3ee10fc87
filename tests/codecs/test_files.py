"""Files carried in place of samples: they come back byte for byte, or not at all."""

from __future__ import annotations

import io
import pickle
import struct
import tracemalloc
from pathlib import PurePosixPath

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import dsguard
from dsguard import File
from dsguard.codecs import Sealed, content
from dsguard.codecs.content import Kind, restore_contents
from dsguard.codecs.sealed import LEAST_RATE, MOST_RATE, Layout, rate_for
from dsguard.covers import Preview

KEY = dsguard.DatasetKey(bytes(32))

NAMES = st.text(
    st.characters(exclude_categories=["C", "Z"], exclude_characters="/\\"), min_size=1, max_size=40
).filter(lambda name: name not in (".", ".."))


FILES = st.tuples(NAMES, st.binary(max_size=4000)).filter(lambda each: not content.fault_of(*each))


@given(
    st.dictionaries(st.integers(0, 4), FILES),
    st.sampled_from([(1, 1, 3), (7, 9, 1), (32, 32, 3), (24, 24, 4)]),
    st.integers(LEAST_RATE, MOST_RATE),
)
@settings(max_examples=60, deadline=None)
def test_files_come_back(given_files, shape, rate):
    files = {index: File(*each) for index, each in given_files.items()}
    images = np.random.default_rng(0).integers(0, 256, (5, *shape), np.uint8)
    out = dsguard.protect_batch(images, KEY, codec=Sealed(rate), files=files)
    back = dsguard.restore_batch(out.images, KEY, sidecars=out.sidecars, on_error="report")
    assert back.files == files
    assert back.status == ["file" if n in files else "ok" for n in range(5)]
    assert back.errors.keys() == files.keys()
    for n in range(5):
        assert (back.images[n] == (0 if n in files else images[n])).all()


IPTC = b"\x1c\x03\x3c\0\2\1\0" + b"\x1c\2\0\x82\0\0\3abc" + b"\x1c\3\x14\x80\0"
"""Fields with lengths of all kinds."""


def _is_refused(scenes, monkeypatch, file: bytes, name: str, told: str) -> bool:
    """Tell whether a file is refused at both ends; strangers have none at theirs."""
    with pytest.raises(dsguard.InputError, match=f"{name!r} {told}"):
        File(name, file)
    with monkeypatch.context() as strangers:
        strangers.setattr(content, "fault_of", lambda *_: "")
        files = {0: File(name, file), 1: File("b.png", b"x")}
        out = dsguard.protect_batch(scenes[:2], KEY, files=files)
    back = dsguard.restore_batch(out.images, KEY, sidecars=out.sidecars, on_error="report")
    what = f"carries the file {name!r} in place of an image, which {told}"
    return set(back.files) == {1} and what in str(back.errors[0])


@pytest.mark.parametrize(
    "start",
    [
        *(b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\xc5\xd0\xd3\xc6\x20"),
        *(b"\x1c\x08\x0a\0\4", IPTC + b"\x1c\x08\x0a\0\4", b"\x1c\xf0\0\0\0" * 5000),
    ],
)
def test_programs_are_not_carried(scenes, monkeypatch, start):
    """Pillow runs Ghostscript on what begins so, whatever its name is."""
    assert _is_refused(scenes, monkeypatch, start, "a.png", "is PostScript, a program")


@pytest.mark.parametrize(
    "data",
    [
        b"\x1c\2\0\0n+2\0\r\n\x1a\n" + bytes(532),  # NIfTI-2
        *(b"\x1c\1", IPTC, IPTC + b"\x1c\0\0\0\0", b"\x1c\3\x3c\x85" + bytes(500)),
    ],
)
def test_what_begins_as_iptc_is_carried(data):
    assert File("a.nii", data).data == data


@pytest.mark.parametrize("start", [b"II*\0", b"BM\0\0\1\0", b"P5 9 9 255\n", b"\x89PNG"])
def test_large_images_of_few_colours_are_carried(start):
    for value in b"\0N0(\xff":
        assert File("mask.png", start + bytes([value]) * (1 << 21))


@pytest.mark.parametrize(("name", "data"), [("train.cache", b""), ("0.png", b"\x80\4N.")])
def test_no_pickle_stands_in_place_of_an_image(scenes, monkeypatch, name, data):
    """Trainers run `labels.cache`; somebody who has the key of an image can make it carry one."""
    assert _is_refused(scenes, monkeypatch, data, name, "is a pickle")


@pytest.mark.parametrize("name", ["train.cache", "0.pkl", "0.pth.tar", "0.npy"])
def test_no_pickle_that_begins_as_an_image_has_the_name_of_one(scenes, monkeypatch, name):
    """Its first step is B, a string of so many bytes as the rest of a bitmap's mark tells."""
    data = b"BM\0\0\0" + bytes(ord("M")) + b"0" + pickle.dumps(PurePosixPath("x"), 2)[2:]
    assert pickle.loads(data) == PurePosixPath("x")
    assert _is_refused(scenes, monkeypatch, data, name, "is a pickle")


@pytest.mark.parametrize("name", ["0.p", "0.cache", "0.pt", "0"])
@pytest.mark.parametrize("kind", ["bmp", "png", "jpeg", "tiff", "webp", "gif", "ppm"])
def test_tables_call_images_by_any_name(scenes, name, kind):
    for scene in scenes:
        file = io.BytesIO()
        Image.fromarray(scene).save(file, kind)
        assert File(name, file.getvalue())


def test_an_archive_of_files_beside_images_begins_as_it_likes(scenes):
    """It begins with the name of its first file, and no reader of images is given it."""
    files = {0: File("files.tar", b"%!PS.txt", is_beside=True)}
    out = dsguard.protect_batch(scenes[:1], KEY, files=files)
    back = dsguard.restore_batch(out.images, KEY, sidecars=out.sidecars, on_error="report")
    assert back.files == {}
    assert back.errors[0].archive == files[0]
    with pytest.raises(content.CarriesArchiveError, match="image 0: carries files that lie beside"):
        dsguard.restore_batch(out.images, KEY, sidecars=out.sidecars)


def test_the_cover_is_made_of_the_image(scenes):
    files = {0: File("a.jpg", b"file")}
    with_file = dsguard.protect_batch(scenes[:2], KEY, cover=Preview(4), files=files)
    without = dsguard.protect_batch(scenes[:2], KEY, cover=Preview(4))
    assert (with_file.images[1] == without.images[1]).all()
    assert np.abs(with_file.images[0].astype(int) - without.images[0]).mean() < 16


def test_every_other_use_says_that_it_is_a_file(scenes):
    out = dsguard.protect_batch(scenes[:3], KEY, files={1: File("a.jpg", b"x" * 100)})
    with pytest.raises(dsguard.CarriesFileError, match=r"image 1: carries the file 'a\.jpg'"):
        dsguard.restore_batch(out.images, KEY, sidecars=out.sidecars)
    image_id = dsguard.inspect(out.images[1]).image_id
    own = dsguard.image_key(KEY, image_id)
    alone = dsguard.restore_batch(out.images[1:2], image_keys=[own], on_error="report")
    assert alone.files == {0: File("a.jpg", b"x" * 100)}
    error = dsguard.CarriesFileError.of(File("a.jpg", b"x"))
    assert pickle.loads(pickle.dumps(error)).file == File("a.jpg", b"x")
    assert repr(File("a.jpg", b"secret")) == "File('a.jpg', 6 bytes)"


def test_a_changed_bit_is_noticed(scenes):
    out = dsguard.protect_batch(scenes[:1], KEY, files={0: File("a.jpg", bytes(9000))})
    rng = np.random.default_rng(0)
    for _ in range(40):
        images, sidecars = out.images.copy(), dict(out.sidecars)
        if rng.random() < 0.5:
            images.reshape(-1)[rng.integers(images.size)] ^= np.uint8(1 << rng.integers(8))
        else:
            sidecar = bytearray(sidecars[0])
            sidecar[rng.integers(len(sidecar))] ^= 1 << rng.integers(8)
            sidecars[0] = bytes(sidecar)
        back = dsguard.restore_batch(images, KEY, sidecars=sidecars, on_error="report")
        assert back.files == {}
        assert len(back.errors) == 1
    with pytest.raises(dsguard.MissingSidecarError):
        dsguard.restore_batch(out.images, KEY)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0", "x" * 256, "\ud800", None, b"a"])
def test_names_are_those_of_files(name):
    with pytest.raises(dsguard.InputError, match="is no name of a file"):
        File(name, b"")


def test_what_is_no_file_is_refused(scenes):
    with pytest.raises(dsguard.InputError, match="expected a mapping of indices"):
        dsguard.protect_batch(scenes[:1], KEY, files=[File("a", b"")])
    with pytest.raises(dsguard.InputError, match="expected bytes"):
        File("a", "text")
    with pytest.raises(dsguard.InputError, match="image 0: files: expected a File, got bytes"):
        dsguard.protect_batch(scenes[:1], KEY, files={0: b"x"})
    for index in (1, -1, "0", True):
        with pytest.raises(dsguard.InputError, match="files: there is no image"):
            dsguard.protect_batch(scenes[:1], KEY, files={index: File("a", b"")})
    with pytest.raises(dsguard.InputError, match="carries samples, not files"):
        dsguard.protect_batch(scenes[:1], KEY, target=scenes[:1], files={0: File("a", b"")})


@pytest.mark.parametrize(
    "data",
    [b"", b"\x05", b"\xff\xffabc", b"\x02\0..", b"\x03\0a/b", b"\0\0", b"\x02\0a\0"],
)
def test_contents_that_are_no_file_are_told(data):
    packed = content._HEAD.pack(Kind.FILE, len(data)) + data
    out = np.zeros((1, 8, 8, 3), np.uint8)
    failures = restore_contents({0: packed}, out, (8, 8, 3))
    assert type(failures[0]) is dsguard.TamperedError


def test_coded_samples_are_shorter_than_raw_ones():
    data = bytes(8 * 8 * 3)
    packed = content._HEAD.pack(Kind.CODED, len(data)) + data
    out = np.zeros((1, 8, 8, 3), np.uint8)
    assert type(restore_contents({0: packed}, out, (8, 8, 3))[0]) is dsguard.TamperedError


@given(st.integers(0, 5000), st.sampled_from([(8, 8, 1), (32, 32, 3), (20, 31, 4)]))
def test_the_rate_is_the_least_that_holds_a_file(size, shape):
    file = File("name", bytes(size))
    rate = rate_for(shape, len(file.content))
    if rate <= MOST_RATE:
        assert Layout(shape, rate).room >= len(file.content)
    if rate > LEAST_RATE:
        assert Layout(shape, rate - 1).room < len(file.content)


def png_of(scene: np.ndarray, **options) -> bytes:
    data = io.BytesIO()
    Image.fromarray(scene).save(data, "png", **options)
    return data.getvalue()


def test_a_coded_file_is_shorter_and_comes_back(scenes):
    grays = scenes[..., :1] + np.array([0, 9, 20], np.uint8)
    datas = [png_of(grays[0]), png_of(grays[1], compress_level=1), b"no picture", b""]
    files = {n: File(f"{n}.png", data, coded=True) for n, data in enumerate(datas)}
    for n in range(2):
        assert files[n].content[0] == Kind.PARTS
        assert len(files[n].content) < 0.95 * len(datas[n])
    assert files[2].content == File("2.png", datas[2]).content
    for codec in (Sealed(), Sealed(12)):  # the second needs sidecars
        out = dsguard.protect_batch(scenes[:4], KEY, codec=codec, files=files)
        assert (codec.rate == 12) == (0 in out.sidecars)
        back = dsguard.restore_batch(out.images, KEY, sidecars=out.sidecars, on_error="report")
        assert {n: file.data for n, file in back.files.items()} == dict(enumerate(datas))
        if out.sidecars:
            with pytest.raises(dsguard.MissingSidecarError):
                dsguard.restore_batch(out.images[:1], KEY)


def in_content(parts: bytes) -> bytes:
    data = b"\1\0x" + parts
    return struct.pack("<BI", Kind.PARTS, len(data)) + data


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_parts_that_no_dsguard_has_written_are_refused(scenes, data):
    """Whoever has the key can seal any bytes: they give a file, or are malformed."""
    gray = scenes[0, ..., :1] + np.array([0, 9, 20], np.uint8)
    content = File("x", png_of(gray), coded=True).content
    assert content[0] == Kind.PARTS
    parts = bytearray(content[8:])
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.one_of(st.integers(0, 60), st.integers(0, len(parts) - 1)))
        parts[place] = data.draw(st.integers(0, 255))
    made = in_content(bytes(parts[: data.draw(st.sampled_from([len(parts), 13, 5, 0]))]))
    out = np.zeros((1, 32, 32, 3), np.uint8)
    (error,) = restore_contents({0: made}, out, (32, 32, 3)).values()
    assert isinstance(error, dsguard.TamperedError | dsguard.CarriesFileError)


def test_one_long_stream_does_not_make_others_long():
    """Streams of one shape are decoded side by side, each with room for the longest."""
    long = struct.pack("<IHHBI", 9, 1, 1, 1, 1 << 20) + bytes(1 << 20)
    short = struct.pack("<IHHBI", 9, 1, 1, 1, 1) + bytes(40)
    contents = {n: in_content(short if n else long) for n in range(1000)}
    out = np.zeros((1000, 8, 8, 3), np.uint8)
    tracemalloc.start()
    errors = restore_contents(contents, out, (8, 8, 3))
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()
    assert {type(error) for error in errors.values()} == {dsguard.TamperedError}


@pytest.mark.parametrize(
    ("size", "shape"),
    [(10, (60000, 60000, 4)), (1 << 31, (2, 2, 3)),
     (10, (0, 2, 3)), (10, (2, 2, 2)), (0, (9, 9, 1))],
)  # fmt: skip
def test_parts_may_not_claim_more_memory_than_they_have(size, shape):
    parts = struct.pack("<IHHBI", size, *shape, 3) + bytes(3) + b"\0" * 40
    out = np.zeros((1, 8, 8, 3), np.uint8)
    tracemalloc.start()
    (error,) = restore_contents({0: in_content(parts)}, out, (8, 8, 3)).values()
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
    assert isinstance(error, dsguard.TamperedError)


def test_noise_is_carried_as_it_is():
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    for data in (png_of(noise, compress_level=0), b"P6 16 16 255 " + noise.tobytes()):
        assert File("x", data, coded=True).content[0] == Kind.FILE
