"""Protect a folder of photographs, check what is published, and bring it back.

    python examples/publish_a_folder.py [FOLDER]

writes into FOLDER, ``out/publish`` by default: ``photos`` (yours, in earnest), ``published`` (for
everybody), ``dataset.key`` and ``published.dsguard`` (for nobody else), ``restored``.
"""

import csv
import filecmp
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

from dsguard import DatasetKey
from dsguard.bulk import protect_dataset, restore_dataset, verify_dataset
from dsguard.covers import Preview


def main(out: Path) -> None:
    """Do all of it."""
    photos, published, restored = out / "photos", out / "published", out / "restored"
    make_photos(photos)
    key = DatasetKey.generate()
    key.save(out / "dataset.key")

    # What shows is a preview of 4 x 4 cells. Without a cover it is a drawn picture.
    report = protect_dataset(photos, published, key, cover=Preview(cells=4))
    print(f"{report.done} images protected, {report.failed} failed")
    for pattern, kept in report.left_out.items():
        print(f"not published: {pattern}, such as {kept.first}")

    checked = verify_dataset(published, key, against=photos)
    print(f"{checked.done} images checked against the clean ones, {checked.failed} differ")

    restore_dataset(published, restored, key)
    different = [each for each in files_in(photos) if not same(photos / each, restored / each)]
    print(f"{len(files_in(restored))} files came back, {len(different)} of them changed")
    assert not different


def make_photos(folder: Path, size: int = 96) -> None:
    """Cut squares out of two photographs, and save them as JPEG files beside a table."""
    rows = []
    for name, photo in zip(("temple", "flower"), load_sample_images().images, strict=True):
        (folder / name).mkdir(parents=True)
        for top in range(0, photo.shape[0] - size, size):
            for left in range(0, photo.shape[1] - size, size):
                file = folder / name / f"{top:03}-{left:03}.jpg"
                square = np.ascontiguousarray(photo[top : top + size, left : left + size])
                Image.fromarray(square).save(file, quality=90)
                rows.append((f"{name}/{file.name}", name, int(square.mean())))
    with (folder / "labels.csv").open("w", newline="") as table:
        csv.writer(table).writerows([("file", "label", "brightness"), *rows])


def files_in(folder: Path) -> list[Path]:
    """Return all files of a folder, as paths in it."""
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def same(one: Path, other: Path) -> bool:
    """Tell whether two files are equal to the last byte."""
    return other.is_file() and filecmp.cmp(one, other, shallow=False)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out/publish"))
