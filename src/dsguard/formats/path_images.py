"""Images that are but paths: what to do about them, if the paths are one's own."""

from __future__ import annotations

from dsguard.formats.names import leads_out, shown

EMBED = (
    'dataset = dataset.with_format("arrow").map(datasets.table.embed_table_storage, batched=True)'
)
"""What puts the files into a table of Hugging Face's, whatever files the paths name."""


def told_of_path(path: object) -> str:
    """Return why there is no image, and what to do, for a path in its place.

    Whoever wrote the paths chooses the files that are read: nobody is told to embed those of
    another machine, or of anywhere on this one.

    >>> told_of_path("/etc/hostname")[:60]
    "is not in the file, which has but the path '/etc/hostname', "
    """
    if isinstance(path, str) and _is_elsewhere(path):
        return (
            f"is not in the file, which has but the path {shown(path)}, a URL or any file of your "
            "machine; whoever made the dataset could have anything read so: ask for the images"
        )
    return (
        "is not in the file, which has but its path; if the dataset is your own, embed the images "
        f"before to_parquet: {EMBED}. That reads every file that a path names: do it with no "
        "dataset of others"
    )


def _is_elsewhere(path: str) -> bool:
    """Tell whether a path may be that of a file outside the folder of a dataset, on any system."""
    plain = path.replace("\\", "/")
    return leads_out(plain) or plain.startswith("~") or "://" in plain or "::" in plain
