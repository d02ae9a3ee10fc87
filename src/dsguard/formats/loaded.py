"""Members of WebDataset shards that readers load as pickles, which are programs."""

from __future__ import annotations

_PICKLES = frozenset({"pickle", "pkl", "pt", "pth", "pyd"})
"""Kinds of fields that decoders of WebDataset, or of torch, give to `pickle` or `torch.load`."""

A_PICKLE = (
    "is a pickle, which readers of WebDataset run, and was not sealed: anybody can have put it "
    "there. It does not come back; take it from the published data yourself if you trust its author"
)


def is_loaded(name: str) -> bool:
    """Tell whether readers of WebDataset load a member, or a field, as a pickle.

    They look at the end of a name in any case, and at what lies in gzip files.

    >>> is_loaded("0.PKL"), is_loaded("pth.gz"), is_loaded("0.npy")
    (True, True, False)
    """
    name = name.lower()
    while name.endswith(".gz"):
        name = name.removesuffix(".gz")
    return name.rpartition(".")[2] in _PICKLES
