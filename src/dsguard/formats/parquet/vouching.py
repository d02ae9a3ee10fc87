"""Which values of published rows may stand beside sealed ones, and what is told of the others.

The owner says of which type a column is, and anybody can publish values of it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dsguard.formats.names import some_of
from dsguard.formats.parquet.columns import arrow
from dsguard.formats.parquet.foreign import without_types

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass
class Troubles:
    """All that is odd about published rows into which sealed columns are put.

    Attributes
    ----------
    file : str
        The published file.
    unknown : list of str
        Images whose row is not known.
    changed : set of str
        Columns with other values than were published.
    typeless : set of str
        Columns that come back without their type.
    not_sealed : set of str
        Columns of types that readers run, with values that were not sealed.
    """

    file: str
    unknown: list[str] = field(default_factory=list)
    changed: set[str] = field(default_factory=set)
    typeless: set[str] = field(default_factory=set)
    not_sealed: set[str] = field(default_factory=set)

    def told(self, misfits: Collection[str]) -> str:
        """Return all of it for a message; `misfits` are columns that have other types since."""
        told = [
            self._of_unknown(),
            self._of_misfits(misfits),
            self._of_changed(),
            self._of_types(),
        ]
        return "; ".join(filter(None, told))

    def _of_unknown(self) -> str:
        if not self.unknown:
            return ""
        others = len(self.unknown) - 1
        more = f" and of {others} more" if others else ""
        return (
            f"rows of {self.file} were sorted, taken, added or changed since, and other "
            f"images are just like that of {self.unknown[0]}{more}: whose values are whose is not "
            "known, and they stay sealed; restore the file as it was published"
        )

    def _of_misfits(self, found: Collection[str]) -> str:
        if not found:
            return ""
        return (
            f"{self.file} was published with another type of column "
            f"{some_of(sorted(found))}, which comes back as it is now: what was sealed of it does "
            "not fit, and stays sealed; restore the file as it was published"
        )

    def _of_changed(self) -> str:
        if not self.changed:
            return ""
        return (
            f"{self.file} has other values than were published in column "
            f"{some_of(sorted(self.changed))}, and those that were sealed come back in their "
            "place; give the new ones a column of their own"
        )

    def _of_types(self) -> str:
        found = sorted(self.not_sealed | self.typeless)
        if not found:
            return ""
        how = "without its type" if self.typeless else "without these values"
        return (
            f"{self.file} has values that were not sealed in column {some_of(found)}, which "
            f"is of a type that readers run; it comes back {how}: get a whole copy"
        )


def vouched(
    batch: pa.RecordBatch,
    image: str | None,
    trusted: Collection[str],
    sealed: Sequence[Collection[str]],
    troubles: Troubles,
) -> pa.RecordBatch:
    """Return rows in which columns of types that readers run have sealed values alone.

    Parameters
    ----------
    batch : pyarrow.RecordBatch
    image : str or None
        The column with the images.
    trusted : collection of str
        Columns of which some rows were sealed: all others of such types lose these.
    sealed : sequence of collection of str
        The columns of each row that were sealed.
    troubles : Troubles
        Gets the columns that lost their type, or some values.
    """
    _, found = without_types(batch, image)
    typed = {name for name in batch.schema.names if _are_of(name, found)}
    kept = typed.intersection(trusted)
    if typed - kept:
        troubles.typeless.update(typed - kept)
        batch, _ = without_types(batch, image, kept)
    arrays = dict(zip(batch.schema.names, batch.columns, strict=True))
    for name in kept:
        rows = [n if name in own else None for n, own in enumerate(sealed)]
        taken = arrays[name].take(arrow()[0].array(rows, "int64"))
        if taken.null_count > arrays[name].null_count:
            troubles.not_sealed.add(name)
            arrays[name] = taken
    return arrow()[0].RecordBatch.from_arrays(list(arrays.values()), schema=batch.schema)


def _are_of(column: str, names: Collection[str]) -> bool:
    """Tell whether some names are that of a column, or of what lies within it."""
    return any(name == column or name.startswith(f"{column}.") for name in names)
