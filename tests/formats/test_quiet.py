"""Warnings and settings of libraries that read files, in many threads."""

from __future__ import annotations

import io
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageFile

from dsguard.formats import encode_image
from dsguard.formats.pillow import UnreadableImageError, decode
from dsguard.formats.quiet import quiet, whole


def warns(category: type[Warning]) -> str:
    """Return what comes of a warning."""
    try:
        warnings.warn("told", category, stacklevel=1)
    except Warning:
        return "raised"
    return "ignored"


def test_a_large_image_is_an_error_and_all_else_is_ignored():
    with quiet():
        assert warns(UserWarning) == "ignored"
        assert warns(Image.DecompressionBombWarning) == "raised"
    assert warns(UserWarning) == "raised", "the filters of pytest are back"


def test_the_first_to_begin_may_be_the_first_to_end():
    """Each puts back what it found: in this order, that of the other would stay for ever."""
    began, ended = threading.Event(), threading.Event()
    before = warnings.filters[:]

    def second():
        with quiet():
            began.set()
            assert ended.wait(60)
            return warns(Image.DecompressionBombWarning), warns(UserWarning)

    with ThreadPoolExecutor(1) as pool:
        with quiet():
            future = pool.submit(second)
            assert began.wait(60)
        ended.set()
        assert future.result() == ("raised", "ignored")
    assert warnings.filters == before


def test_many_threads_that_decode_leave_the_filters_alone(monkeypatch):
    small, large = (encode_image(np.zeros((side, side, 3), np.uint8)) for side in (8, 40))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 30 * 30)
    before = warnings.filters[:]

    def outcome(file: bytes) -> str:
        try:
            return str(decode(file).pixels.shape)
        except UnreadableImageError as error:
            return str(error)

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(outcome, 1000 * [small, large]))
    assert set(outcomes[::2]) == {"(8, 8, 3)"}
    assert all(told.startswith("claims to be very large") for told in outcomes[1::2])
    assert warnings.filters == before


@pytest.mark.parametrize("kind", ["jpg", "png", "bmp", "gif", "tif", "webp", "ppm"])
def test_no_image_is_filled_up_where_a_process_tells_pillow_so(monkeypatch, kind):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    clean = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(clean).save(file, Image.registered_extensions()["." + kind])
    assert decode(file.getvalue()).pixels.shape == clean.shape
    with pytest.raises(UnreadableImageError):
        decode(file.getvalue()[: len(file.getvalue()) // 2])
    assert ImageFile.LOAD_TRUNCATED_IMAGES, "it is put back"


def test_it_is_put_back_when_the_last_thread_ends(monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with whole():
        with whole():
            pass
        assert not ImageFile.LOAD_TRUNCATED_IMAGES
    assert ImageFile.LOAD_TRUNCATED_IMAGES
