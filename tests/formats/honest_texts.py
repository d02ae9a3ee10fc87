"""Texts that lie beside images and are no pictures, for tests of false alarms."""

from __future__ import annotations

import hashlib
import random

_RNG = random.Random(0)
_FILMS = "".join(
    f"{''.join(_RNG.choices('abcdefgHIJKLMNOP0123456789_-', k=11))}\n" for _ in range(40)
)
_DIGESTS = "".join(f"img_{n:04}.png,{hashlib.sha256(bytes([n])).hexdigest()}\n" for n in range(40))
_DNA = "".join("".join(_RNG.choices("ACGT", k=24)) + "\n" for _ in range(20))
_PROTEINS = "".join("".join(_RNG.choices("ACDEFGHIKLMNPQRSTVWY", k=28)) + "\n" for _ in range(6))
_TQDM = "".join(
    f"{n * 5:3}%|{'█' * n:<20}| {n}/20 [00:{n:02}<00:20,  1.00it/s]\n" for n in range(21)
)
_TABLE = "+----------+-------+\n" + "|          |       |\n+----------+-------+\n" * 8
_RICH = (
    "┏━━━━━━━━━━┳━━━━━━━━┓\n┃ class    ┃ images ┃\n┡━━━━━━━━━━╇━━━━━━━━┩\n"
    + "│ cat      │ 12     │\n" * 9
    + "└──────────┴────────┘\n"
)
_TREE = ".\n" + "".join(
    f"│   │   {'│   ' * (n % 4)}├── img_{n}\n│   │   │   └── x{n}\n" for n in range(12)
)
_CONTENTS = "".join(f"Chapter {n} {'.' * (40 - 3 * n)} {n * 7}\n" for n in range(1, 12))

HONEST = {
    "english": "The quick brown fox jumps over the lazy dog, and looks back. " * 20,
    "german": "Die Donaudampfschifffahrtsgesellschaft fährt wöchentlich von Wien ab. " * 20,
    "finnish": "Hääyöaikeet saattaa kuulua pääasiallisesti rakkaussuhteeseen.\n" * 12,
    "chinese": "一只猫坐在红色的沙发上，旁边有一本打开的书。\n" * 20,
    "hindi": "लाल सोफे पर एक बिल्ली बैठी है और पास में एक किताब है।\n" * 12,
    "arabic": "قطة تجلس على أريكة حمراء بجانب كتاب مفتوح.\n" * 12,
    "capitals": "MY CAT SLEEPS ALL DAY LONG ON THE RED SOFA NEAR THE BIG WINDOW.\n" * 9,
    "python": (
        "class StratifiedShuffleSplit(BaseShuffleSplit):\n"
        "    def fit(self, X: np.ndarray, y: np.ndarray) -> StratifiedShuffleSplit:\n"
        '        return self._checked(X).reshape(-1, 3)[:, ::2].astype("float32")\n'
    )
    * 8,
    "javascript": 'document.getElementById("fooBar").innerHTML=function(e,t){return e[t]++};\n' * 9,
    "closers": "".join(f"{' ' * (40 - 4 * n)}}}\n" for n in range(9)),
    "comments": "        /* one */\n        // two\n        #  three\n" * 9,
    "html": '<span class="hljs-comment">//   [</span>\n<td>&nbsp;</td>\n' * 12,
    "csv": "".join(f"a/{n}.png,cat,,,,,,,,,,{n % 7},,,,,,\n" for n in range(20)),
    "digests": _DIGESTS,
    "films": _FILMS,
    "uuids": "3f2b8c1e-9d4a-4f6b-8a7c-1e2d3c4b5a69\n" * 12,
    "yaml": "train:\n  - images/Train2017\n  nc: 80\n  names: [cat, dog, T-shirt]\n" * 9,
    "urls": "".join(
        f"https://live.Example.com/{n}65/{n * 7919}_aB3xQ9_b.jpg?size=L&v=2#top\n"
        for n in range(20)
    ),
    "latex": "\\begin{tabular}{ll} $\\mathbb{R}^{n\\times m}$ & $x_{i}$ \\\\ \\end{tabular}\n" * 9,
    "markdown": "| `String.normalize()`      | none (no-op)      | full      |\n" * 12,
    "log": "2026-01-02 12:00:01,123 INFO dsguard.bulk.Runner[42]: Read 12 images (OK)\n" * 9,
    "smiles": "CC(C)(C)NC[C@H](O)c1cccc(O)c1Cl\nCN1C=NC2=C1C(=O)N(C(=O)N2C)C\n" * 9,
    "dna": _DNA,
    "proteins": _PROTEINS,
    "mail": "=E9t=E9 =C3=A9t=C3=A9 caf=C3=A9=\n" * 20,
    "query": "a=01&b=02&month=05&day=07&colour=FF0000\n" * 20,
    "numbers": "".join(f"{n * 37 % 90 + 10} " * 12 + "\n" for n in range(20)),
    "zeros": "0 0 0 0 0 0 0 1\n0,0,0,0,0,0,0,0\n" * 9,
    "tqdm": _TQDM,
    "one bar": "100%|██████████████████| 10/10\n",
    "bars": "".join(f"cat {'█' * n}{'░' * (20 - n)} {n * 5} %\n" for n in range(21)),
    "table": _TABLE,
    "rich": _RICH,
    "tree": _TREE,
    "contents": _CONTENTS,
    "dots": ("." * 30 + "\n") * 9,
    "rules": "Title\n==========\n\nPart\n----------\n**********\n~~~~~~~~~~\n" * 9,
    "box": "┌────────┐\n" + "│        │\n" * 9 + "└────────┘\n",
    "fixed width": "".join(f"Anna  B{n:02}  Hill    NY  tall   yes\n" for n in range(20)),
}
