"""Tables and plots of ``docs/efficacy.md``, and ``choices.md`` beside the figures.

    python -m bench.efficacy

reads ``bench/results/efficacy``: ``choices.json``, ``visibility.json``, and of each study its
``results.json`` under the name ``<preset>-<data>-<profile>-<epsilon>.json``. ``earlier`` there
has what was found with patterns that lost.
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import stdev
from typing import Any

from matplotlib.figure import Figure

from .report import put_into_page, table

FOLDER = Path(__file__).parent / "results" / "efficacy"
DOCS = Path(__file__).parents[1] / "docs"
PAGES = (DOCS / "efficacy.md", FOLDER / "choices.md")
PICTURES = DOCS / "pictures"
Trials = dict[str, dict[str, Any]]
RADII = (("exact-fine", 4), ("exact-fine", 8), ("exact", 8), ("exact", 16), ("exact", 32))
MEASURES = {
    "plain": "none",
    "projection": "projection",
    "crop and flip": "crop-and-flip",
    "JPEG 10": "jpeg",
    "adversarial": "adversarial",
    "evened": "evened",
    "evened, projection": "informed",
    "ViT": "vit",
    "MobileNet": "mobilenet",
    "80 % protected": "80 %",
    "80 % protected, crop and flip": "80 %, crop-and-flip",
}
Radius = tuple[str, int, dict[str, float], Trials]


def main() -> None:
    """Put all tables into the pages, and draw the plots."""
    trials, earlier = read_studies(FOLDER), read_studies(FOLDER / "earlier")
    exact, halves = (of["quick-cifar10-exact-16"] for of in (trials, earlier))
    mark("table 1", table_1(trials))
    mark("matrix", matrix(halves | exact, exact, trials["quick-cifar10-veil-16"]))
    mark("shares", shares(exact, trials["quick-cifar10-veil-16"]))
    mark("textures", candidates(read("earlier/textures")))
    mark("candidates", candidates(read("earlier/explored")))
    mark("halves", candidates(read("earlier/choices")))
    mark("choices", candidates(read("choices")))
    draw_epochs(halves | exact, PICTURES / "epochs.png")
    visible = read("visibility")
    by_radius = [
        (profile, n, visible[f"{profile}, ε {n}"], trials[f"quick-cifar10-{profile}-{n}"])
        for profile, n in RADII
        if f"quick-cifar10-{profile}-{n}" in trials
    ]
    mark("radii", radii(by_radius))
    draw_radii(by_radius, PICTURES / "radii.png")


def read(name: str) -> dict[str, Any]:
    """Return the figures in a file of the folder."""
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return found


def read_studies(folder: Path) -> dict[str, Trials]:
    """Return the trials of each study in a folder, by its name."""
    return {
        path.stem: by_title(json.loads(path.read_text()))
        for path in sorted(folder.glob("*.json"))
        if path.stem.startswith(("quick-", "paper-"))
    }


def mark(name: str, text: str) -> None:
    """Put text between the marks of this name, in the page that has them."""
    start = f"<!-- {name}: bench/efficacy.py -->"
    (page,) = (page for page in PAGES if start in page.read_text())
    put_into_page(start, f"<!-- end of {name} -->", text, page)


def by_title(study: dict[str, Any]) -> Trials:
    """Return the mean row of each trial, by what tables call it, with what it is the mean of."""
    return {
        trial["seeds"][0]["name"]: {
            **trial["mean"],
            "of": [row["test_accuracy"] for row in trial["seeds"]],
        }
        for trial in study["trials"]
    }


def both(row: dict[str, Any] | None) -> str:
    """Return last accuracy, ± standard deviation if of several seeds, and the best of any epoch."""
    if row is None:
        return "–"
    about = f" ± {100 * stdev(row['of']):.1f}" if len(row["of"]) > 1 else ""
    return f"{row['test_accuracy']:.1%}{about} ({row['peak_accuracy']:.1%})"


def table_1(studies: dict[str, Trials]) -> str:
    """Return one row per study, as the paper's Table 1."""
    head = (
        "study",
        "clean",
        "protected",
        "restored",
        "protected / clean, last epoch",
        "protected, crop and flip",
    )
    rows = []
    for name, trials in studies.items():
        if "clean" not in trials:
            continue
        ratio = trials["protected"]["test_accuracy"] / trials["clean"]["test_accuracy"]
        cells = (both(trials[version]) for version in ("clean", "protected", "restored"))
        augmented = both(trials.get("protected, crop and flip"))
        rows.append((f"`{name}`", *cells, f"{ratio:.2f}", augmented))
    return table(head, rows)


def matrix(clean: Trials, exact: Trials, veil: Trials) -> str:
    """Return one row per counter-measure and network."""
    rows = []
    for title, row in clean.items():
        other = title.replace("clean", "protected", 1)
        if not title.startswith("clean") or other not in exact:
            continue
        cells = (both(of.get(other)) for of in (exact, veil))
        rows.append((title[7:] or "plain training", both(row), *cells))
    return table(("training", "clean", "`exact`, ε 16", "`veil`, ε 16"), rows)


def shares(exact: Trials, veil: Trials) -> str:
    """Return one row per share of protected images and way to train, beside the others alone."""
    rows = []
    for name, trials in (("`exact`, ε 16", exact), ("`veil`, ε 16", veil)):
        for title, row in trials.items():
            share, of, way = title.partition(" % protected")
            if of:
                alone = exact[f"the other {100 - int(share)} % alone{way}"]  # the same for all
                gain = 100 * (row["test_accuracy"] - alone["test_accuracy"])
                how = way.removeprefix(", ") or "plain"
                rows.append((name, f"{share} %", how, both(row), both(alone), f"{gain:+.1f}"))
    head = ("profile", "protected", "training", "all images", "the others alone, as many steps")
    return table((*head, "gain, points"), rows)


def candidates(found: dict[str, Any]) -> str:
    """Return one row per candidate, with the measures that some of them were tried under."""
    tried = {measure for entry in found.values() for measure in entry["trials"]}
    measures = {title: measure for title, measure in MEASURES.items() if measure in tried}
    seen = ["PSNR"] if any("psnr" in entry for entry in found.values()) else []
    rows = [
        (
            name,
            *(f"{entry['psnr']:.1f} dB" if "psnr" in entry else "–" for _ in seen),
            *(cell(entry["trials"].get(measure)) for measure in measures.values()),
        )
        for name, entry in found.items()
    ]
    return table(("candidate", *seen, *measures), rows)


def cell(trial: dict[str, float] | None) -> str:
    """Return last and best accuracy of a trial of a candidate."""
    return "–" if trial is None else f"{trial['last']:.1%} ({trial['peak']:.1%})"


def radii(by_radius: list[Radius]) -> str:
    """Return one row per ε: how much shows, and what is learned."""
    rows = [
        (
            f"`{profile}`, ε {radius}",
            f"{visible['psnr']:.1f} dB",
            f"{visible['ssim']:.2f}",
            both(trials["clean"]),
            both(trials["protected"]),
            both(trials.get("protected, crop and flip")),
        )
        for profile, radius, visible, trials in by_radius
    ]
    return table(
        ("profile", "PSNR", "SSIM", "clean", "protected", "protected, crop and flip"), rows
    )


def draw_radii(by_radius: list[Radius], path: Path) -> None:
    """Plot what is learned against how much shows."""
    figure = Figure(figsize=(6, 4), dpi=100, layout="constrained")
    axes = figure.add_subplot(
        xlabel="SSIM, protected against clean", ylabel="test accuracy, %", ylim=(0, 65)
    )
    for profile, colour in (("exact", "r"), ("exact-fine", "b")):
        own = [one for of, *one in by_radius if of == profile]
        seen = [visible["ssim"] for _, visible, _ in own]
        for title, of, style in (
            ("best of any epoch", "peak_accuracy", "--o"),
            ("after the last epoch", "test_accuracy", "-o"),
        ):
            learned = [100 * trials["protected"][of] for _, _, trials in own]
            axes.plot(seen, learned, colour + style, label=f"{profile}, {title}")
        for (radius, _, trials), at in zip(own, seen, strict=True):
            height = 100 * trials["protected"]["peak_accuracy"]
            below = profile == "exact-fine"
            offset = (-8, -14 if below else 7)
            axes.annotate(f"ε {radius}", (at, height), offset, textcoords="offset points")
    clean = by_radius[0][-1]["clean"]["test_accuracy"]
    axes.axhline(100 * clean, color="k", linestyle=":", label="clean, after the last epoch")
    axes.legend(fontsize="small")
    figure.savefig(path)


def draw_epochs(trials: Trials, path: Path) -> None:
    """Plot test accuracy after each epoch, on clean and on protected images."""
    figure = Figure(figsize=(8, 4), dpi=100, layout="constrained")
    axes = figure.add_subplot(xlabel="epoch", ylabel="test accuracy, %", ylim=(0, 75))
    for title, style in (
        ("clean", "k-"),
        ("clean, crop and flip", "k--"),
        ("clean, adversarial training", "k:"),
        ("protected", "r-"),
        ("protected, crop and flip", "r--"),
        ("protected, adversarial training", "r:"),
    ):
        tests = trials[title]["by_epoch"]
        axes.plot(range(1, len(tests) + 1), [100 * test for test in tests], style, label=title)
    figure.legend(fontsize="small", loc="outside right upper")
    figure.savefig(path)


if __name__ == "__main__":
    main()
