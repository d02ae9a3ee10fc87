"""Where does the time go? Stage by stage, 32×32×3, one thread."""

from __future__ import annotations

from pathlib import Path

import cffi
import numpy as np
import pytest
from Crypto.Cipher import AES

import dsguard
from dsguard.codecs import paper
from dsguard.kernels import kernels, native
from dsguard.keys.derived import SEALING_KEY_BYTES, derived, sealer

from .conftest import setup

LIBRARIES = Path(__file__).resolve().parents[1] / "build" / "bench"
C_STAGES = [
    "read blocks",
    "transpose",
    "statistics and ranks",
    "pairing",
    "shifts",
    "rotations",
    "apply",
    "pack Sequence",
    "write blocks",
]


def isas() -> list[str]:
    """Return the instruction sets of this machine."""
    found = []
    for name in ("scalar", "avx2", "avx512", "neon"):
        try:
            native.set_isa(name)
            found.append(name)
        except dsguard.InputError:
            continue
    native.set_isa(None)
    return found


@pytest.fixture
def library(isa):
    """Return the library of csrc/bench/stages.c for one instruction set; `make bench` builds it."""
    ffi = cffi.FFI()
    ffi.cdef(
        "int dsg_stage_tiles(void);"
        "void dsg_stage_prepare(const uint8_t *, const uint8_t *);"
        "void dsg_stage_run(unsigned, unsigned);"
    )
    return ffi, ffi.dlopen(str(LIBRARIES / f"stages-{isa}.so"))


@pytest.mark.benchmark(group="C stages")
@pytest.mark.parametrize("isa", isas())
@pytest.mark.parametrize("stage", range(len(C_STAGES)), ids=lambda stage: C_STAGES[stage])
def bench_c_stage(measure, library, stage, isa):
    ffi, lib = library
    s = setup()
    count = lib.dsg_stage_tiles() // 3
    planes = [
        np.ascontiguousarray(images[:count].transpose(0, 3, 1, 2)) for images in (s.clean, s.target)
    ]
    buffers = [ffi.from_buffer("uint8_t[]", images) for images in planes]
    lib.dsg_stage_prepare(*buffers)
    repeats = 20
    measure(
        lambda: lib.dsg_stage_run(stage, repeats),
        count * repeats,
        name=C_STAGES[stage],
        isa=isa,
    )


@pytest.mark.benchmark(group="kernels")
@pytest.mark.parametrize("which", [*isas(), "numba", "reference"])
@pytest.mark.parametrize("stage", ["transform", "embed", "extract", "invert"])
def bench_kernel(measure, backend, stage, which):
    s = setup()
    if which in ("numba", "reference"):
        backend(which)
    else:
        backend("native")
        native.set_isa(which)
    run = kernels()
    count = 20 if which == "reference" else len(s.clean)
    clean, target, out = s.clean[:count], s.target[:count], np.empty_like(s.clean[:count])
    sequences, payloads = s.sequences[:count], s.payloads[:count]
    carried = s.temporary[:count].copy()
    calls = {
        "transform": lambda: run.transform(clean, target, s.geometry, out),
        "embed": lambda: run.embed(carried, payloads, s.geometry),
        "extract": lambda: run.extract(s.protected[:count], payloads.shape[1], s.geometry),
        "invert": lambda: run.invert(s.temporary[:count], sequences, s.geometry, out),
    }
    measure(calls[stage], count, name=stage, backend=which)
    expected = {"transform": s.temporary, "invert": s.clean}.get(stage)
    if expected is not None:
        np.testing.assert_array_equal(out, expected[:count])
    elif stage == "embed":
        np.testing.assert_array_equal(carried, s.protected[:count])


@pytest.mark.benchmark(group="sealing, 10,000 Sequences of 32×32×3")
@pytest.mark.parametrize("stage", ["seal", "open"])
def bench_siv(measure, stage):
    s = setup(32, 10_000)
    siv = sealer(s.key)
    associated = [np.zeros((len(s.sequences), 62), np.uint8)]
    sealed, tags = siv.seal(s.sequences, associated)
    if stage == "seal":
        measure(
            lambda: siv.seal(s.sequences, associated), len(sealed), name="AES-SIV seal, batched"
        )
    else:
        result = measure(
            lambda: siv.open(sealed, tags, associated), len(sealed), name="AES-SIV open, batched"
        )
        assert result[1].all()


@pytest.mark.benchmark(group="sealing, 10,000 Sequences of 32×32×3")
@pytest.mark.parametrize("stage", ["seal", "open"])
def bench_mode_siv(measure, stage):
    """Do the same with pycryptodome's own mode, one record after another."""
    s = setup()
    secret = derived(s.key.secret, SEALING_KEY_BYTES, b"seal")
    records = [row.tobytes() for row in s.sequences[:200]]

    def cipher():
        new = AES.new(secret, AES.MODE_SIV)
        new.update(bytes(62))
        return new

    sealed = [cipher().encrypt_and_digest(record) for record in records]
    if stage == "seal":
        measure(
            lambda: [cipher().encrypt_and_digest(record) for record in records],
            len(records),
            name="MODE_SIV seal, a loop",
        )
    else:
        measure(
            lambda: [cipher().decrypt_and_verify(*pair) for pair in sealed],
            len(records),
            name="MODE_SIV open, a loop",
        )


@pytest.mark.benchmark(group="sealing")
@pytest.mark.parametrize("stage", ["seal", "unseal"])
def bench_sealing(measure, stage):
    """With header and SHA-256 of every carrier."""
    s = setup()
    carriers = s.protected
    payloads = paper.seal(s.sequences, carriers, s.header, s.key)
    if stage == "seal":
        measure(
            lambda: paper.seal(s.sequences, carriers, s.header, s.key),
            len(carriers),
            name="SHA-256 and seal",
            stage="seal",
        )
    else:
        _, genuine = measure(
            lambda: paper.unseal(payloads, carriers, s.key),
            len(carriers),
            name="SHA-256 and open",
            stage="unseal",
        )
        assert genuine.all()
