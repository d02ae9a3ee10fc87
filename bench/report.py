"""Turn the benchmarks' JSON into the tables and the plot of docs/performance.md.

    python bench/report.py build/bench/results.json bench/results/performance

writes ``performance.md`` and ``performance.png`` there and puts the table of targets into
``docs/performance.md``. Figures are the shortest of all rounds.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "performance.md"
START, END = "<!-- figures: bench/report.py -->", "<!-- end of figures -->"
BEST = "native"


@dataclass(frozen=True)
class Results:
    """All benchmarks of one run, microseconds per image."""

    rows: list[dict[str, Any]]

    @classmethod
    def read(cls, path: Path) -> Results:
        """Read what pytest-benchmark wrote."""
        rows = [
            bench["extra_info"]
            | {
                "group": bench["group"],
                "us": bench["stats"]["min"] / bench["extra_info"]["images"] * 1e6,
            }
            for bench in json.loads(path.read_text())["benchmarks"]
        ]
        return cls(rows)

    def us(self, group: str, **facts: object) -> float:
        """Return the one benchmark of a group that has these facts."""
        found = [
            row["us"]
            for row in self.rows
            if row["group"].startswith(group)
            and all(row.get(name) == value for name, value in facts.items())
        ]
        if len(found) != 1:
            msg = f"{len(found)} benchmarks of {group!r} have {facts}"
            raise LookupError(msg)
        return found[0]

    @property
    def isa(self) -> str:
        """The best instruction set that was measured."""
        return [row["isa"] for row in self.rows if row["group"] == "C stages"][-1]


def import_milliseconds() -> float:
    """Return the shortest time of several fresh imports of all that the library needs, in ms."""

    def run(code: str) -> float:
        timed = "import time; t = time.perf_counter();" + code + ";print(time.perf_counter() - t)"
        shown = subprocess.run(
            [sys.executable, "-c", timed], capture_output=True, text=True, check=True
        )
        return float(shown.stdout)

    return 1000 * min(run("import dsguard; dsguard.protect_batch") for _ in range(7))


def targets(r: Results, millions: dict[str, dict[str, Any]]) -> list[tuple[str, str, str, bool]]:
    """Return (what, target, reached, met) of each row of the table of targets."""
    there = r.us("kernels", name="transform", backend=r.isa)
    there += r.us("kernels", name="embed", backend=r.isa)
    back = r.us("kernels", name="extract", backend=r.isa)
    back += r.us("kernels", name="invert", backend=r.isa)
    to = there / r.us("memcpy", stage="memcpy3")
    fro = back / r.us("memcpy", stage="memcpy2")
    protect, restore = (1e6 / r.us("size", name=call, side=32) for call in ("protect", "restore"))
    threads = r.us("threads", name="C stages", threads=1) / r.us(
        "threads", name="C stages", threads=2
    )
    slow = min(
        r.us("backend", name=call, backend="reference") / r.us("backend", name=call, backend=BEST)
        for call in ("protect", "restore")
    )
    embed = r.us("embed the", name="dsguard, native")
    peers = {row["name"]: row["us"] for row in r.rows if row["group"].startswith("embed the")}
    inner = peers.pop("stego-lsb, inner function")
    del peers["dsguard, native"]
    fastest = min(peers, key=lambda name: peers[name])
    size = max(
        r.us("size", name=call, side=224) / 49 / r.us("size", name=call, side=32)
        for call in ("protect", "restore")
    )
    seal = max(r.us("sealing", name=f"AES-SIV {way}, batched") for way in ("seal", "open"))
    loop = r.us("sealing", name="MODE_SIV seal, a loop")
    start = import_milliseconds()
    rows = [
        (
            "transform + embed over `memcpy` of three buffers",
            "≤ 15×",
            f"{to:.1f}×",
            to <= 15,
        ),
        ("extract + invert over `memcpy` of two buffers", "≤ 12×", f"{fro:.1f}×", fro <= 12),
        (
            "`protect_batch` with sealing, given targets, one thread",
            "≥ 100,000 images/s",
            f"{protect:,.0f}",
            protect >= 1e5,
        ),
        ("`restore_batch`, one thread", "≥ 120,000 images/s", f"{restore:,.0f}", restore >= 1.2e5),
        ("two threads over one, the C stages", "≥ 1.8×", f"{threads:.2f}×", threads >= 1.8),
        ("native over reference NumPy, whole calls", "≥ 50×", f"{slow:,.0f}×", slow >= 50),
        (
            f"native over the fastest LSB peer ({fastest}), embedding the same bits",
            "≥ 200×",
            f"{peers[fastest] / embed:,.0f}× ({inner / embed:,.0f}× over its inner NumPy function)",
            peers[fastest] / embed >= 200,
        ),
        (
            "cost per pixel, 224 px over 32 px, the worse call",
            "≤ 1.3",
            f"{size:.2f}",
            size <= 1.3,
        ),
        (
            "sealing or opening a Sequence, batch of 10,000",
            "≤ 1.5 µs",
            f"{seal:.2f} µs ({loop / seal:,.0f}× a loop over `MODE_SIV`)",
            seal <= 1.5,
        ),
        ("`import dsguard`", "≤ 150 ms", f"{start:.0f} ms", start <= 150),
    ]
    for profile, million in millions.items():
        seconds, peak = million["protect_s"] + million["restore_s"], million["peak_mib"]
        rows.append(
            (
                f"a million images, `{profile}`, protect + restore, two threads (run apart)",
                "≤ 25 s, ≤ 1 GiB",
                f"{seconds:.1f} s, {peak:,.0f} MiB",
                seconds <= 25 and peak <= 1024,
            )
        )
    return rows


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def put_into_page(start: str, end: str, text: str, page: Path = PAGE) -> None:
    """Put text between two marks of a page, by default docs/performance.md."""
    before, rest = page.read_text().split(start)
    after = rest.split(end)[1]
    page.write_text(f"{before}{start}\n\n{text}\n\n{end}{after}")


def stage_rows(r: Results) -> list[tuple[str, ...]]:
    """Return one row per C stage, one column per instruction set."""
    isas = list(dict.fromkeys(row["isa"] for row in r.rows if row["group"] == "C stages"))
    names = list(dict.fromkeys(row["name"] for row in r.rows if row["group"] == "C stages"))
    rows = [(n, *(f"{r.us('C stages', name=n, isa=i):.2f}" for i in isas)) for n in names]
    sums = (f"{sum(r.us('C stages', name=n, isa=i) for n in names):.2f}" for i in isas)
    return [("stage, µs per image", *isas), *rows, ("sum", *sums)]


def kernel_rows(r: Results) -> list[tuple[str, ...]]:
    """Return one row per kernel, one column per backend."""
    which = list(dict.fromkeys(row["backend"] for row in r.rows if row["group"] == "kernels"))
    rows = [
        (n, *(f"{r.us('kernels', name=n, backend=w):,.2f}" for w in which))
        for n in ("transform", "embed", "extract", "invert")
    ]
    return [("kernel, µs per image", *which), *rows]


def other_rows(r: Results) -> list[tuple[str, ...]]:
    """Return everything else, a row each."""
    rows = [
        (
            row["group"],
            row["name"],
            str(row.get("backend", "")),
            str(row.get("side", "")),
            f"{row['images']:,}",
            str(row.get("threads", "")),
            f"{row['us']:,.2f}",
        )
        for row in r.rows
        if row["group"] not in ("C stages", "kernels")
    ]
    return [("question", "what", "backend", "px", "images", "threads", "µs per image"), *rows]


def plot(r: Results, path: Path) -> None:
    """Draw where the time of one image goes, and how the backends compare."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    head, *rows, _ = stage_rows(r)
    for row, isa in enumerate(head[1:]):
        start = 0.0
        for n, (name, *cells) in enumerate(rows):
            left.barh(
                isa, float(cells[row]), left=start, color=f"C{n}", label=None if row else name
            )
            start += float(cells[row])
    left.set(title="mRIT transformation, by stage", xlabel="µs per 32×32×3 image")
    left.legend(fontsize=7, loc="upper right")
    names = ["native", "numba", "reference"]
    for offset, call in ((-0.2, "protect"), (0.2, "restore")):
        speeds = [1e6 / r.us("backend", name=call, backend=name) for name in names]
        bars = right.bar([n + offset for n in range(3)], speeds, 0.38, label=f"{call}_batch")
        right.bar_label(bars, [f"{speed:,.0f}" for speed in speeds], fontsize=7)
    right.set(title="whole calls, one thread", ylabel="images/s", yscale="log")
    right.set_xticks(range(3), names)
    right.legend(fontsize=8)
    figure.savefig(path, dpi=110)


def cpu() -> str:
    """Return the name of the processor, as far as it can be told."""
    name = platform.processor() or platform.machine()
    if not Path("/proc/cpuinfo").exists():
        return name
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(": ", 1)[1] for line in lines if line.startswith("model name")), name)


def machine(r: Results) -> str:
    """Say where and with what the figures were made."""
    versions = ", ".join(f"{p} {version(p)}" for p in ("dsguard", "numpy", "numba", "pycryptodome"))
    images = "real images" if r.rows[0]["real"] else "SYNTHETIC images: the datasets were absent"
    return (
        f"{cpu()}, {r.isa}; Python {platform.python_version()}, {versions}; {images}, targets "
        "within ε 8/255; the shortest of all rounds."
    )


def main() -> None:
    """Write tables and plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("json", type=Path)
    parser.add_argument("out", type=Path, help="path without suffix")
    options = parser.parse_args()
    r = Results.read(options.json)
    stored = sorted(options.out.parent.glob("million*.json"))
    millions = {made["profile"]: made for made in (json.loads(p.read_text()) for p in stored)}
    rows = [(w, t, got, "yes" if met else "**no**") for w, t, got, met in targets(r, millions)]
    summary = (
        table(("profile `paper`, 32×32×3", "target", "reached", "met"), rows) + "\n\n" + machine(r)
    )
    tables = [table(head, rest) for head, *rest in (stage_rows(r), kernel_rows(r), other_rows(r))]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.with_suffix(".md").write_text("\n\n".join([summary, *tables]) + "\n")
    plot(r, options.out.with_suffix(".png"))
    put_into_page(START, END, f"{summary}\n\n{tables[0]}\n\n{tables[1]}")
    print(summary)


if __name__ == "__main__":
    main()
