"""The report of one page: what it says of which figures."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

import dsguard
from dsguard.codecs import CODECS
from dsguard.evaluation import Row, Trial, html_report, triptychs
from dsguard.evaluation.trials import worst

KEY = dsguard.DatasetKey(bytes(32))  # that of studies
ACCURACIES = {
    Trial("clean"): 0.9,
    Trial("protected"): 0.1,
    Trial("restored"): 0.91,
    Trial("clean", "jpeg"): 0.8,
    Trial("protected", "jpeg"): 0.3,
    Trial("clean", "gray"): 0.7,
    Trial("protected", "gray"): 0.4,
    Trial("clean", "few-5"): 0.99,
    Trial("protected", "few-5"): 0.98,
    Trial("protected", network="vgg11"): 0.95,
    Trial("protected", percent=80): 0.55,
    Trial("unprotected", percent=80): 0.54,
}


def page_of(accuracies, scenes, **more):
    rows = {t: Row(t.title, 1.0, each, each, (0.05, each)) for t, each in accuracies.items()}
    return html_report("<t>", "s", rows, {"clean": scenes, "what <shows>": scenes}, **more)


@pytest.fixture(scope="module")
def page(scenes):
    facts = {"a&b": "1", "Caution": "too little"}
    return page_of(ACCURACIES, scenes, facts=facts, settings={"training": {"epochs": 14}})


def text_of(page):
    """Return the words of a page, without marks and pictures."""
    return " ".join(re.sub(r"<style>.*?</style>|<[^>]*>", " ", page, flags=re.DOTALL).split())


def test_it_needs_no_other_file(page):
    assert re.findall(r"https?:|src=\"(?!data:)|<script|@import|url\(", page) == []
    assert page.count("data:image/png") == page.count("data:image/jpeg") == 8
    assert page.count("data:image/svg+xml") == 2  # light and dark


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
@pytest.mark.parametrize("side", [32, 96])
def test_protected_images_of_a_page_carry_nothing(scenes, codec, side):
    """The key of a study is known to everybody."""
    clean = np.stack([np.asarray(Image.fromarray(each).resize((side, side))) for each in scenes])
    done = dsguard.protect_batch(clean, KEY, target=clean[::-1].copy(), codec=codec)
    restored = dsguard.restore_batch(done.images, KEY, sidecars=done.sidecars)
    assert np.abs(restored.astype(int) - clean).max() <= 1
    versions = {"clean": clean, "what shows": done.images}
    rows = {Trial("clean"): Row("clean", 1.0, 1.0, 1.0, (1.0,))}
    page = html_report("t", "s", rows, versions, {})
    drawn = [np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) for data in pictures_of(page)]
    np.testing.assert_array_equal(drawn[:8], clean)  # one looks at these
    for n, image in enumerate(drawn[8:]):
        beside = {0: done.sidecars[n]} if n in done.sidecars else None
        with pytest.raises(dsguard.DsguardError):
            dsguard.restore_batch(image[None], KEY, sidecars=beside)


def pictures_of(page):
    found = re.findall(r"data:image/(?:png|jpeg);base64,([^\"]*)", page)
    return [base64.b64decode(each) for each in found]


def test_a_page_with_clean_images_says_so(scenes):
    told = "show it to those who may see them"
    text = text_of(page_of(ACCURACIES, scenes, facts={}))
    assert f"The row clean shows clean images: keep this page to yourself, or {told}." in text
    rows = {Trial("clean"): Row("clean", 1.0, 1.0, 1.0, (1.0,))}
    assert told not in html_report("t", "s", rows, {"what shows": scenes}, {})


def test_words_of_others_are_text(page):
    assert "&lt;t&gt;" in page
    assert "what &lt;shows&gt;" in page
    assert "a&amp;b" in page


def test_the_worst_attack_stands_first(page):
    text = text_of(page)
    # Not 95 % of another network, nor 98 % of those who have clean images.
    assert "trained on protected 40.0% under the worst of 3 attacks tried: grayscale; 10.0%" in text
    assert "trained on restored 91.0% Part" in text
    assert re.findall(r'class="worst"[^>]*>([^<]*)', page) == ["40.0%"]


def test_all_figures_are_there(page):
    text = text_of(page)
    assert "as they are 90.0% 10.0% 91.0%" in text
    assert "grayscale 70.0% 40.0% –" in text
    assert "80 % protected, as they are 55.0% 54.0%" in text
    assert "training.epochs 14" in text
    assert "too little" in text
    for accuracy in ACCURACIES.values():
        assert f"{accuracy:.1%}" in text


def test_without_attacks_none_is_told(scenes):
    text = text_of(page_of({Trial("clean"): 0.9, Trial("protected"): 0.1}, scenes, facts={}))
    assert "worst" not in text
    assert "labelled" not in text
    assert "some images" not in text


def test_before_anything_is_trained_there_is_a_page(scenes):
    text = text_of(page_of({}, scenes, facts={"Images": "8"}))
    assert "Images 8" in text
    assert "%" not in text


def test_where_no_attack_helps_it_is_said(scenes):
    rows = {Trial("clean"): 0.9, Trial("protected"): 0.12, Trial("protected", "gray"): 0.1}
    text = text_of(page_of(rows, scenes, facts={}))
    assert "protected 12.0% as they are; no attack of 1 tried makes more of them" in text


def test_the_worst_is_of_those_who_have_protected_images_alone():
    assert worst({"none": 0.2, "gray": 0.1}) == "none"
    assert worst({"none": 0.2, "few-5": 0.9, "pseudo-labels-1": 0.8, "remover": 0.3}) == "remover"


def test_triptychs(scenes):
    picture = triptychs({"clean": scenes, "gray": scenes[..., :1]}, rows=3)
    assert picture.height > 3 * 90
    assert np.asarray(picture).std() > 0
