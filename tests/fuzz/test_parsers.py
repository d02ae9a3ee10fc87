"""Whatever bytes the readers of files and messages are given: a result or one clear error."""

from __future__ import annotations

import contextlib
import io
import json
import struct
import warnings
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dsguard
from dsguard.bulk.journal import Journal, told
from dsguard.codecs.header import HEADER_BYTES, MAGIC, Header
from dsguard.errors import DsguardError
from dsguard.formats import decode_image, encode_image
from dsguard.formats.images import decode_files, pixels_of
from dsguard.formats.places import LocalPlace
from dsguard.formats.tar import END, packed
from dsguard.kernels.geometry import Geometry
from tests.fuzz import EXAMPLES
from tests.fuzz.mutations import mutated
from tests.fuzz.seeds import KEY, Files, images, journal_seed, pictures, protected_seed
from tests.fuzz.seeds import folder as folder_files
from tests.fuzz.trial import MOST_MEMORY, peak_memory

NUMBERS = st.integers(0, 1 << 32)
PICTURES = pictures()
PROTECTED = dsguard.protect_batch(images(), KEY, profile="veil")


def changed(data: bytes, number: int) -> bytes:
    """Return one file, mutated."""
    random = Random(number)
    files: Files = mutated({"file": data}, random)
    return next(iter(files.values()), b"")


@pytest.mark.parametrize("name", PICTURES)
@EXAMPLES
@given(number=NUMBERS)
def test_image_files(name, number):
    data, before = changed(PICTURES[name], number), peak_memory()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow, of damage
        assert pixels_of(data) >= 0
        try:
            image = decode_image(data)
        except DsguardError:
            pass
        else:
            assert image.dtype == np.uint8
            assert image.ndim == 3
    assert peak_memory() - before < MOST_MEMORY


@EXAMPLES
@given(number=NUMBERS)
def test_protected_image_files(number):
    """A changed file gives the clean image or an error, and never another image."""
    random = Random(number)
    n = random.randrange(len(PROTECTED.images))
    file = encode_image(PROTECTED.images[n], "png", PROTECTED.sidecars.get(n, b"side"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        groups, errors = decode_files([changed(file, number)])
    assert len(groups) + len(errors) == 1
    for group in groups:
        done = dsguard.restore_batch(group.images, KEY, sidecars=group.sidecars, on_error="report")
        if not done.errors:
            np.testing.assert_array_equal(done.images[0], images()[n])


@EXAMPLES
@given(
    number=NUMBERS,
    shape=st.tuples(st.integers(13, 40), st.integers(13, 40), st.sampled_from((1, 3, 4))),
    kind=st.integers(0, 255),
    length=st.integers(0, (1 << 32) - 1) | st.integers(0, 400),
    version=st.sampled_from((1, 1, 1, 0, 2, 255)),
    sidecar=st.binary(max_size=200),
)
def test_forged_headers(number, shape, kind, length, version, sidecar):
    rng = np.random.default_rng(number)
    image = rng.integers(0, 256, (1, *shape), dtype=np.uint8)
    body = MAGIC + struct.pack("<BB6sI", version, kind, bytes.fromhex(KEY.key_id), length)
    raw = body + _checksum(body)
    dsguard.kernels.kernels().embed(image, np.frombuffer(raw, np.uint8)[None], Geometry.of(image))
    with contextlib.suppress(DsguardError):
        assert dsguard.inspect(image[0], sidecar or None).key_id == KEY.key_id
    given = {0: raw + sidecar} if sidecar else {}
    done = dsguard.restore_batch(image, KEY, sidecars=given, on_error="report")
    assert list(done.errors) == [0]


def _checksum(body: bytes) -> bytes:
    import binascii

    assert len(body) == HEADER_BYTES - 2
    return binascii.crc_hqx(body, 0).to_bytes(2, "big")


@EXAMPLES
@given(raw=st.binary(min_size=HEADER_BYTES, max_size=HEADER_BYTES))
def test_headers(raw):
    for data in (raw, MAGIC + raw[4:]):
        with pytest.raises(DsguardError):
            Header.parse(data)


@pytest.mark.parametrize("passphrase", [None, "open"])
@EXAMPLES
@given(number=NUMBERS)
def test_key_files(number, passphrase, key_files, tmp_path_factory):
    file = tmp_path_factory.mktemp("key") / "some.key"
    file.write_bytes(changed(key_files[passphrase], number))
    try:
        key = dsguard.DatasetKey.load(file, passphrase)
    except DsguardError:
        return
    assert key == KEY


@pytest.fixture(scope="module")
def key_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    KEY.save(folder / "plain.key")
    KEY.save(folder / "wrapped.key", "open")
    plain, wrapped = ((folder / f"{name}.key").read_bytes() for name in ("plain", "wrapped"))
    cheap = wrapped.replace(b"N=65536", b"N=2")  # whose tag does not fit, and which is soon tried
    return {None: plain, "open": cheap}


@EXAMPLES
@given(number=NUMBERS)
def test_journals(number, journal_files, tmp_path_factory):
    root = tmp_path_factory.mktemp("journal")
    for name, data in mutated(journal_files, Random(number)).items():
        path = root / name
        if "\0" not in name and len(path.name) < 200:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    journal = Journal(LocalPlace(root))
    try:
        journal.settings()
        assert all(isinstance(name, str) for name in journal.companions())
        journal.is_whole()
        for shard in journal.done():
            lines = journal.lines(shard)
            if lines is not None:
                told(lines)
            journal.stamp(shard)
    except DsguardError:
        pass


@pytest.fixture(scope="module")
def journal_files():
    from tests.fuzz.seeds import Seed

    seed = journal_seed(protected_seed(Seed("folder", "in", folder_files())))
    start = "out.dsguard/"
    return {
        name.removeprefix(start): data
        for name, data in seed.files.items()
        if name.startswith(start)
    }


# ---- What the service is sent ----


@EXAMPLES
@given(number=NUMBERS, most=st.sampled_from((0, 100, 1 << 20)))
def test_frames(number, most):
    from dsguard.dmcp import frames

    sent = b"".join(frames.packed(f"a/{n}.png", "ok", bytes(n)) for n in range(0, 90, 30))
    try:
        for frame in frames.read(io.BytesIO(changed(sent, number)), most):
            assert len(frame.data) <= most
    except frames.BadFrameError:
        pass


@pytest.mark.parametrize("kind", ["frames", "tar", "form"])
@EXAMPLES
@given(number=NUMBERS)
def test_bodies(kind, number):
    from dsguard.dmcp import bodies, frames
    from dsguard.dmcp.access import Refused
    from dsguard.dmcp.restoring import restore_chunk

    names = ("a.png", "b/a.png", "b/a.jpg")
    if kind == "tar":
        pieces = [piece for name in names for piece in packed(name, PICTURES["in/cat/a.jpg"])]
        sent = b"".join([*pieces, END])
    else:
        sent = b"".join(frames.packed(name, "", PICTURES["in/cat/a.jpg"]) for name in names)
    types = {"frames": frames.CONTENT_TYPE, "tar": bodies.TAR, "form": bodies.FORM}
    try:
        uploads = list(bodies.images_of(types[kind], io.BytesIO(changed(sent, number)), 2000))
    except Refused:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        done = restore_chunk(uploads, {KEY.key_id: (1, KEY)})
    assert len(done.images) == len(uploads)
    answer, _ = bodies.streamed(types[kind], iter([done.images]))
    assert bool(b"".join(answer)) or not uploads


# ---- What torch has written ----


@pytest.fixture(scope="module")
def surrogate_file(tmp_path_factory):
    pytest.importorskip("torch")
    import torch

    from dsguard.covers.patterns import Patterns
    from dsguard.covers.surrogate import Surrogate
    from dsguard.networks.resnet import LAYERS, build

    centroids = {name: torch.zeros(2, 8 * 2**n) for n, name in enumerate(LAYERS)}
    model = build((8, 8, 3), 2, 8, seed=0)
    patterns = Patterns.drawn([0, 1], KEY)
    surrogate = Surrogate(model, np.arange(2), centroids, patterns, (8, 8, 3), 8, ("cat", "dog"))
    path = tmp_path_factory.mktemp("surrogate") / "surrogate.pt"
    surrogate.save(path)
    return path.read_bytes()


@EXAMPLES
@given(number=NUMBERS)
def test_surrogates(number, surrogate_file, tmp_path_factory):
    from dsguard.fsp import Surrogate

    path = tmp_path_factory.mktemp("surrogate") / "surrogate.pt"
    path.write_bytes(changed(surrogate_file, number))
    try:
        loaded = Surrogate.load(path, "cpu")
    except DsguardError:
        return
    assert json.dumps(loaded.class_names)
