"""Paths in Parquet tables that are not those of files in a folder."""

from __future__ import annotations

import pytest

import dsguard
from dsguard.bulk import protect_dataset, restore_dataset, verify_dataset
from dsguard.cli.commands import Exit, run
from dsguard.formats import encode_image

pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")

KEY = dsguard.DatasetKey(bytes(32))


def table(file, scenes, paths, **metadata) -> None:
    files = [encode_image(scene) for scene in scenes[: len(paths)]]
    rows = [{"bytes": data, "path": path} for data, path in zip(files, paths, strict=True)]
    file.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table({"image": rows}).replace_schema_metadata(metadata), file)


def paths_of(file) -> list[str | None]:
    return [row["path"] for row in pq.read_table(file)["image"].to_pylist()]


@pytest.mark.parametrize(
    ("paths", "back"),
    [
        (["0.png", "a/1.png", None], "all"),
        (["0", "1.png"], "contents"),
        (["https://x.org/0.png", "1.png"], "contents"),
        (["/home/me/0.png", "1.png"], "contents"),
    ],
)
def test_what_comes_back_of_them_is_told(tmp_path, scenes, paths, back):
    table(tmp_path / "clean" / "0.parquet", scenes, paths)
    protect_dataset(tmp_path / "clean", tmp_path / "safe", KEY, workers=1)
    restore_dataset(tmp_path / "safe", tmp_path / "back", KEY, workers=1)
    is_same = paths_of(tmp_path / "back" / "0.parquet") == paths
    report = verify_dataset(tmp_path / "safe", KEY, against=tmp_path / "clean", workers=1)
    assert not report.failures
    assert (report.compared, is_same) == (back, back == "all")


@pytest.mark.parametrize("path", ["0.p", "0.cache", "0.pt"])
def test_an_image_that_is_called_as_a_pickle_comes_back(tmp_path, scenes, path):
    table(tmp_path / "clean" / "0.parquet", scenes, [path])
    assert not protect_dataset(tmp_path / "clean", tmp_path / "safe", KEY, workers=1).failures
    assert not restore_dataset(tmp_path / "safe", tmp_path / "back", KEY, workers=1).failures
    assert paths_of(tmp_path / "back" / "0.parquet") == [path]


def test_no_image_shows_itself_by_the_name_of_another(tmp_path, scenes, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for n, name in enumerate(("train", "test")):
        named = {"dsguard.named": "1"}
        table(
            tmp_path / "both" / f"{name}.parquet",
            scenes[n * 4 :],
            ["0.png", f"{n + 1}.png"],
            **named,
        )
    KEY.save("k.key")
    options = ["--cover", "samples", "--sample"]
    assert run(["protect", "both", "safe", "--key", "k.key", *options, "0.png"]) == Exit.USAGE
    assert "has 2 images called '0.png', which is to show itself" in capsys.readouterr().err
    assert run(["protect", "both", "safe", "--key", "k.key", *options, "1.png"]) == Exit.OK
