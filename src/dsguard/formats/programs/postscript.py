"""Images that are programs: PostScript, for which image libraries start Ghostscript."""

from __future__ import annotations

_POSTSCRIPT = (b"%!PS", b"\xc5\xd0\xd3\xc6")
"""How files of PostScript begin, plain and with a preview (EPS)."""

IPTC = b"\x1c"
"""How each field of IPTC/NAA begins."""
_IPTC = frozenset((*range(1, 10), 240))
"""Records of IPTC/NAA, behind whose fields Pillow looks for an image of any kind."""
_IPTC_IMAGE = (8, 10)
_MOST_FIELDS = 1000


def is_postscript(data: bytes) -> bool:
    """Tell whether an image is PostScript, or IPTC/NAA, which may hold some."""
    return data.startswith(_POSTSCRIPT) or _is_iptc(data)


def _is_iptc(data: bytes) -> bool:
    """Tell whether a file has an image among its fields of IPTC/NAA, as Pillow reads them.

    What merely begins so is left alone: NIfTI-2 does.
    """
    at = 0
    for _ in range(_MOST_FIELDS):
        head = data[at : at + 5]
        if len(head) < 5 or head[:1] != IPTC or head[1] not in _IPTC or head[3] > 132:
            return False
        if (head[1], head[2]) == _IPTC_IMAGE:
            return True
        more = max(head[3] - 128, 0)  # bytes of a length that follows
        length = data[at + 5 : at + 5 + more] if head[3] >= 128 else head[3:5]
        at += 5 + more + int.from_bytes(length, "big")
    return True
