"""Codec sealed: every bit comes back, every change is noticed, nothing else is left."""

from __future__ import annotations

import dataclasses
import json
import math
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dsguard
from dsguard.codecs import Sealed, sealed
from dsguard.codecs.content import contents_of
from dsguard.codecs.sealed import FRONT_BYTES
from dsguard.covers import Blank, Given, Itself, Preview, Samples
from dsguard.formats import decode_protected
from dsguard.keys.image_keys import ImageCipher
from tests.data import make_sealed
from tests.kernels.test_compress import FILLS, filled

DATA = Path(__file__).parents[1] / "data" / "sealed"
KEY = dsguard.DatasetKey(bytes(range(32)))
OTHER_KEY = dsguard.DatasetKey(bytes(range(1, 33)))


def protected(images: np.ndarray, rate: int | None = None, cover=None) -> dsguard.ProtectedBatch:
    cover = cover or Blank(KEY)
    return dsguard.protect_batch(images, KEY, cover=cover, codec=Sealed(rate))


def restored(batch: dsguard.ProtectedBatch, key=KEY, **given) -> np.ndarray:
    return dsguard.restore_batch(batch.images, key, sidecars=batch.sidecars, **given)


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(FILLS),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    channels=st.sampled_from([1, 3, 4]),
    count=st.integers(0, 3),
    rate=st.integers(8, 64),
    cover=st.sampled_from([Blank(), Blank(KEY), Itself(), Preview(3)]),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_bit_comes_back(kind, height, width, channels, count, rate, cover, seed):
    images = filled(kind, (count, height, width, channels), np.random.default_rng(seed))
    out = protected(images, rate, cover)
    np.testing.assert_array_equal(restored(out), images)
    ids = dsguard.image_ids(out.images, sidecars=out.sidecars)
    keys = [dsguard.image_key(KEY, image_id) for image_id in ids]
    np.testing.assert_array_equal(restored(out, None, image_keys=keys), images)
    assert (out.images[..., 3:] == 255).all()


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(FILLS),
    side=st.sampled_from([1, 7, 8, 13, 24]),
    channels=st.sampled_from([1, 3, 4]),
    rate=st.sampled_from([8, 13, 36, 64]),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_changed_bit_is_noticed(kind, side, channels, rate, seed):
    rng = np.random.default_rng(seed)
    images = filled(kind, (1, side, side, channels), rng)
    out = protected(images, rate)
    sidecar = out.sidecars.get(0, b"")
    ids = dsguard.image_ids(out.images, sidecars=out.sidecars)
    keys = {ids[0]: dsguard.image_key(KEY, ids[0])}
    for bit in rng.integers(0, 8 * (images.size + len(sidecar)), 30).tolist():
        flat, beside = out.images.copy().reshape(-1), bytearray(sidecar)
        if bit < 8 * images.size:
            flat[bit // 8] ^= 1 << bit % 8
        else:
            beside[bit // 8 - images.size] ^= 1 << bit % 8
        changed = dsguard.ProtectedBatch(
            flat.reshape(images.shape), [], {0: bytes(beside)} if sidecar else {}
        )
        for given_keys in ({"key": KEY}, {"key": None, "image_keys": keys}):
            with pytest.raises(dsguard.DsguardError):
                restored(changed, **given_keys)


def test_what_is_published_does_not_depend_on_the_batch(scenes):
    whole = protected(scenes)
    for order in ([3], [7, 0, 5], range(7, -1, -1)):
        part = protected(np.ascontiguousarray(scenes[list(order)]))
        np.testing.assert_array_equal(part.images, whole.images[list(order)])
    again = protected(scenes)
    np.testing.assert_array_equal(again.images, whole.images)


def test_images_and_key_are_enough(scenes):
    out = dsguard.protect_batch(scenes, KEY)
    info = dsguard.inspect(out.images[7])
    assert (info.profile, info.planes, info.sidecar) == ("sealed", 5, False)
    assert info.image_id == dsguard.image_ids(out.images)[7]
    np.testing.assert_array_equal(restored(out), scenes)


def test_all_headers_of_a_run_are_alike_and_say_nothing_of_the_image(scenes):
    noise = filled("noise", scenes.shape, np.random.default_rng(0))
    flat = filled("flat", scenes.shape, np.random.default_rng(0))
    heads = set()
    for images in (scenes, noise, flat):
        out = protected(images, 30)
        layout = sealed.Layout.of(images.shape[1:], 30)
        fronts = layout.fronts(out.images, {})
        heads |= {front[:18] for front in fronts}
    assert len(heads) == 1


def test_images_of_all_kinds_are_as_far_from_their_cover(scenes):
    """The rate is one for all, and what is short is filled up."""
    cover = np.full_like(scenes, 128)
    away = []
    for kind in ("noise", "flat"):
        images = filled(kind, scenes.shape, np.random.default_rng(0))
        off = protected(images, 40, Given(cover)).images.astype(float) - 128
        away.append(np.sqrt((off**2).mean()))
    assert away == pytest.approx([32 / np.sqrt(12)] * 2, rel=0.02)


def test_sidecars_have_few_lengths(scenes):
    lengths = set()
    for kind in FILLS:
        images = filled(kind, (4, 64, 64, 3), np.random.default_rng(1))
        lengths |= {len(each) - FRONT_BYTES for each in protected(images, 8).sidecars.values()}
    assert lengths
    assert all(length >= 256 and length & length - 1 == 0 for length in lengths)


def test_a_missing_sidecar_and_a_foreign_one_are_told(scenes):
    noise = filled("noise", scenes.shape, np.random.default_rng(0))
    out = protected(noise, 8)
    assert len(out.sidecars) == len(noise)
    with pytest.raises(dsguard.MissingSidecarError, match=r"image 0: .* sidecar"):
        dsguard.restore_batch(out.images, KEY)
    swapped = {0: out.sidecars[1], 1: out.sidecars[0]}
    with pytest.raises(dsguard.TamperedError, match="sidecar of another image"):
        dsguard.restore_batch(out.images[:2], KEY, sidecars=swapped)
    small = protected(noise[:, :6, :6].copy())
    with pytest.raises(dsguard.NotProtectedError, match="in its sidecar"):
        dsguard.restore_batch(small.images, KEY)


def test_a_key_opens_its_own_images_alone(scenes):
    out = protected(scenes)
    with pytest.raises(dsguard.WrongKeyError):
        restored(out, OTHER_KEY)
    first, second = dsguard.image_ids(out.images)[:2]
    one = {first: dsguard.image_key(KEY, first)}
    done = restored(out, None, image_keys=one, on_error="report")
    assert done.status == [dsguard.Status.OK] + [dsguard.Status.WRONG_KEY] * 7
    np.testing.assert_array_equal(done.images[0], scenes[0])
    with pytest.raises(dsguard.TamperedError, match=r"image 1: .* the key .* is of another image"):
        restored(out, None, image_keys={first: one[first], second: one[first]})
    exact = dsguard.protect_batch(scenes, KEY, target=scenes)
    with pytest.raises(dsguard.WrongKeyError, match="have no keys of their own"):
        dsguard.restore_batch(exact.images, image_keys=one)
    assert dsguard.image_ids(exact.images) == [None] * 8


def test_image_keys_of_other_kinds_are_refused(scenes):
    out = protected(scenes)
    for wrong, message in (
        ([b"short"] * 8, "an image key is made of 32 bytes"),
        ([bytes(32)], "one for each of 8 images"),
        ({b"": bytes(32)}, "an image id is made of 16 bytes"),
    ):
        with pytest.raises(dsguard.InputError, match=message):
            restored(out, None, image_keys=wrong)
    with pytest.raises(dsguard.InputError, match="not both"):
        restored(out, KEY, image_keys={})
    with pytest.raises(dsguard.InputError, match="expected a DatasetKey"):
        restored(out, None)
    with pytest.raises(dsguard.InputError, match="16 bytes"):
        dsguard.image_key(KEY, b"")


def forged(image: np.ndarray, content: bytes, image_id: bytes, rate: int) -> np.ndarray:
    """Return an image as somebody can make it who has the key of one image, and no other."""
    layout = sealed.Layout.of(image.shape, rate)
    key_id = bytes.fromhex(KEY.key_id)
    front = sealed.Header(6, 0, key_id, rate).pack() + image_id + bytes(16)
    cipher = sealed.ImageCipher(dsguard.image_key(KEY, image_id))
    (data,) = sealed._crypt([content.ljust(layout.room, b"\0")], [cipher])
    out = image[None].copy()
    sealed.kernels().spread(out, np.frombuffer(data, np.uint8)[None], layout.masks)
    fronts = np.frombuffer(front, np.uint8)[None].copy()
    layout.embed(out, fronts)
    fronts[0, -16:] = np.frombuffer(
        cipher.tag(*sealed._message(fronts[0].tobytes(), layout, out[0], b"")), np.uint8
    )
    layout.embed(out, fronts)
    return out


def test_who_has_the_key_of_an_image_fools_others_like_him_but_not_the_owner(scenes):
    image_id = bytes(range(16))
    fake = forged(scenes[1], contents_of(scenes[2:3])[0], image_id, 64)
    keys = {image_id: dsguard.image_key(KEY, image_id)}
    back = dsguard.restore_batch(fake, image_keys=keys)
    np.testing.assert_array_equal(back[0], scenes[2])
    with pytest.raises(dsguard.TamperedError, match="not that of the dataset"):
        dsguard.restore_batch(fake, KEY)


@pytest.mark.parametrize(
    ("kind", "length", "error", "message"),
    [
        (2, 9, dsguard.TamperedError, "no dsguard has written"),
        (3, 9, dsguard.TamperedError, "no dsguard has written"),
        (4, 9, dsguard.TamperedError, "no dsguard has written"),
        (5, 9, dsguard.FormatError, "an unknown kind of content"),
        (77, 9, dsguard.FormatError, "an unknown kind of content"),
        (0, 9, dsguard.TamperedError, "no dsguard has written"),
        (0, 0, dsguard.TamperedError, "no dsguard has written"),
        (0, 2**32 - 1, dsguard.TamperedError, "no dsguard has written"),
        (1, 9, dsguard.TamperedError, "no dsguard has written"),
        (1, 2**32 - 1, dsguard.TamperedError, "no dsguard has written"),
    ],
)
def test_contents_that_no_dsguard_wrote_are_told(scenes, kind, length, error, message):
    image_id = bytes(16)
    content = bytes([kind]) + length.to_bytes(4, "little") + bytes(9)
    fake = forged(scenes[0], content, image_id, 20)
    with pytest.raises(error, match=message):
        dsguard.restore_batch(fake, image_keys={image_id: dsguard.image_key(KEY, image_id)})


def test_headers_of_rates_that_there_are_not_are_told(scenes):
    out = protected(scenes[:1])
    layout = sealed.Layout.of(scenes.shape[1:], 36)
    front = layout.fronts(out.images, {})[0]
    for rate in (0, 7, 65, 2**32 - 1):
        head = sealed.Header(6, 0, bytes.fromhex(KEY.key_id), rate).pack()
        fake = out.images.copy()
        layout.embed(fake, np.frombuffer(head + front[18:], np.uint8)[None])
        with pytest.raises(dsguard.TamperedError):
            dsguard.restore_batch(fake, KEY)
        with pytest.raises(dsguard.TamperedError):
            dsguard.inspect(fake[0])


def test_rates_fit_the_images_they_are_fitted_to(scenes):
    assert Sealed().fitted([]).rate is None
    fitted = Sealed().fitted([scenes[:4], scenes[4:]], part=1)
    assert not dsguard.protect_batch(scenes, KEY, codec=fitted).sidecars
    lower = dataclasses.replace(fitted, rate=fitted.rate - 1)
    assert dsguard.protect_batch(scenes, KEY, codec=lower).sidecars
    for wrong in (7, 65, 36.0, "36"):
        with pytest.raises(dsguard.InputError, match="rate is a whole number of 8 to 64"):
            Sealed(wrong)


def test_low_bits_are_as_good_as_random_and_independent_of_the_image():
    """Each interval has one chance in 10^6 to miss."""
    rng = np.random.default_rng(5)
    images = filled("smooth", (400, 32, 32, 3), rng)
    out = protected(images, 32, Given(np.full_like(images, 128))).images
    rest = out.reshape(400, -1)[:, 400:] & 15  # behind header, id and tag
    bits = (rest[..., None] >> np.arange(4)) & 1
    ones = bits.sum(axis=(0, 1))
    count = bits.shape[0] * bits.shape[1]
    assert (np.abs(ones - count / 2) < 4.9 * np.sqrt(count) / 2).all()
    counts = np.bincount(rest.ravel(), minlength=16)
    assert (((counts - rest.size / 16) ** 2) / (rest.size / 16)).sum() < 60  # 15 degrees
    clean = images.reshape(400, -1)[:, 400:].astype(float)
    clean -= clean.mean()
    for bit in range(4):
        signs = bits[..., bit] - 0.5
        correlation = (signs * clean).sum() / np.sqrt((signs**2).sum() * (clean**2).sum())
        assert abs(correlation) < 4.9 / np.sqrt(count)


VECTORS = json.loads((DATA / "vectors.json").read_text())


@pytest.mark.parametrize("name", VECTORS["images"])
def test_vectors_are_written_and_read(name):
    vector = VECTORS["images"][name]
    pixels, sidecar = decode_protected((DATA / f"{name}.png").read_bytes())
    sidecars = {0: sidecar} if sidecar else {}
    assert sidecar.hex() == vector["sidecar"]
    image = make_sealed.clean(name)[None]
    files = {0: make_sealed.FILES[name]} if name in make_sealed.FILES else {}
    cover, codec = Given(make_sealed.cover(name)[None]), Sealed(vector["rate"])
    out = dsguard.protect_batch(image, KEY, cover=cover, codec=codec, files=files)
    np.testing.assert_array_equal(out.images[0], pixels)
    assert out.sidecars == sidecars
    assert dsguard.image_ids(pixels[None], sidecars=sidecars)[0].hex() == vector["image_id"]
    key = bytes.fromhex(vector["image_key"])
    for given_keys in ({"key": KEY}, {"image_keys": [key]}):
        back = dsguard.restore_batch(
            pixels[None], sidecars=sidecars, on_error="report", **given_keys
        )
        assert back.files == files
        np.testing.assert_array_equal(back.images, image * (not files))
    text = (DATA.parents[2] / "docs" / "format.md").read_text(encoding="utf-8")
    assert name != "colour" or (vector["image_id"] in text and vector["image_key"] in text)


def test_a_content_without_a_head_is_told(scenes):
    """Of an image without room, by somebody who has its key."""
    image = scenes[:1, :20, :20, :1].copy()
    layout = sealed.Layout.of(image.shape[1:], 8)
    assert layout.room == 0
    image_id, key_id = bytes(16), bytes.fromhex(KEY.key_id)
    image_key = dsguard.image_key(KEY, image_id)
    cipher = sealed.ImageCipher(image_key)
    for tail in (b"", b"ab", b"abcd", bytes(1 << 20)):
        front = sealed.Header(6, 0, key_id, 8).pack() + image_id + bytes(16)
        fronts = np.frombuffer(front, np.uint8)[None].copy()
        layout.embed(image, fronts)
        tag = cipher.tag(*sealed._message(fronts[0].tobytes(), layout, image[0], tail))
        fronts[0, -16:] = np.frombuffer(tag, np.uint8)
        layout.embed(image, fronts)
        with pytest.raises(dsguard.TamperedError):
            dsguard.restore_batch(
                image, image_keys=[image_key], sidecars={0: fronts.tobytes() + tail}
            )


def test_odd_arguments_are_refused(scenes):
    out = protected(scenes[:1])
    for wrong in (iter([bytes(32)]), 5, {bytes(16): 7}):
        with pytest.raises(dsguard.InputError):
            restored(out, None, image_keys=wrong)
    with pytest.raises(dsguard.InputError, match="expected a DatasetKey"):
        dsguard.image_key(None, bytes(16))
    with pytest.raises(dsguard.InputError, match="16 bytes"):
        dsguard.image_key(KEY, memoryview(np.zeros(16, np.uint16)))
    for covers in (scenes[:1], scenes[:, :1], scenes.astype(float), [1], scenes[..., :1]):
        with pytest.raises(dsguard.InputError, match="expected one for each image"):
            dsguard.protect_batch(scenes, KEY, cover=Given(covers))
    with pytest.raises(dsguard.InputError, match="have no names"):
        dsguard.protect_batch(scenes, KEY, cover=Samples(KEY, names=("a",)), labels=range(8))
    assert Sealed().as_earlier({"rate": "9" * 5000}).rate is None


@pytest.mark.parametrize("shape", [(41, 23, 1), (20, 21, 3), (33, 17, 4)])
def test_masks_go_round_by_eight_samples(shape):
    layout = sealed.Layout(shape, 27)
    colours = min(shape[2], 3)
    low = np.uint8((1 << np.diff(np.arange(9) * 27 // 8)) - 1)
    usual = np.resize(low, (*shape[:2], colours))
    masks = layout.masks[..., :colours]
    assert ((masks == usual) | (masks == usual & 0xFE)).all()  # where the front lies, in the last
    assert (masks == usual).mean() > 0.3


def test_large_images_are_worked_on_in_little_memory():
    """Each of these made several copies of its own, of which one was never let go."""
    shape = (1500, 1500, 3)
    size = math.prod(shape)
    tracemalloc.start()
    layout = sealed.Layout.of(shape, 36)
    assert layout.masks.nbytes == size
    assert tracemalloc.get_traced_memory()[1] < 2.5 * size
    assert sealed.Layout.of(shape, 36) is not layout
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    covers = dsguard.covers.Batch(np.zeros((1, *shape), np.uint8))
    for cover in (Blank(KEY), Preview(8)):
        cover.images(covers, 1)
    assert tracemalloc.get_traced_memory()[1] - before < 4.5 * size
    tracemalloc.stop()


def test_long_contents_are_encrypted_as_short_ones():
    data = np.random.default_rng(0).integers(0, 256, 5_000, np.uint8).tobytes()
    cipher = ImageCipher(bytes(range(32)))
    (short,) = sealed._crypt([data], [cipher])
    assert cipher.crypted(data) == short
