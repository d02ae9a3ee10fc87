"""Values of a Croissant document that go along: no facts of clean files, no pictures, no secrets.

Names and texts are free, as beside images, but all words together are bounded: a picture that is
drawn in words takes more of them.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

from dsguard.formats.allowance import Allowance, CouldHoldPictureError
from dsguard.formats.harmless import charge_string, charge_text
from dsguard.formats.images import is_image_name
from dsguard.formats.rows import LETTERS, Rows
from dsguard.formats.strings import size_of_scalar, size_of_string
from dsguard.formats.words import count_of, is_number, numbers_in, words_of

MOST_LETTERS = 8192
"""Letters of all different words of a document: those of texts, and those of the rest."""

_CONTEXT = "@context"
_INLINE = ("data", "examples")
_IDS = ("@id", "name", "column")
"""Keys of short names, of which several may well have as many letters."""
_TEXTS = ("description", "citeAs", "conditionsOfAccess", "abstract")
_FACTS = re.compile(
    r"hash(?!tag)|checksum|cksum|digest|etags?$|fingerprint|ssdeep|tlsh|md\d|^sha(sum)?$|sha\d|"
    r"crc(\d|$)|blake|b[23]sum|xxh|adler|ripemd|^size$|"
    r"(byte|file|content|download|disk|object|blob)s?size|contentlength|size(in)?bytes|n(um)?bytes"
)
"""Keys of facts of files, in lower case and without signs."""
_DIGEST = re.compile(
    r"(?<![0-9a-z])[0-9a-f]{32}(?:[0-9a-f]{8}|[0-9a-f]{24}|[0-9a-f]{32}|[0-9a-f]{64}|[0-9a-f]{96})?"
    r"(?![0-9a-z])",
    re.IGNORECASE,
)
"""A hash in hexadecimal: of 128, 160, 224, 256, 384 or 512 bits."""
_NAMED = re.compile(
    r"\b(md5|sha-?\d{1,3})[-:= ]+(?:[a-z0-9+/_-]{86}|[a-z0-9+/_-]{64}|[a-z0-9+/_-]{43}|"
    r"[a-z0-9+/_-]{38}|[a-z0-9+/_-]{27}|[a-z0-9+/_-]{22})(?![a-z0-9+/_-])={0,2}",
    re.IGNORECASE,
)
"""One in base64, behind its name."""
_LETTERS = re.compile(r"[^\W\d_]+")
_ADDRESS = re.compile(r"//[^\s\"'<>]+")
_USER = re.compile(r"^//[^/?#]*@")
_PARAMETER = re.compile(r"(?<=[?&;#])(?:([^=&;#]*)=)?([^&;#]+)[&;]?")
_SECRET = re.compile(
    r".*(auth(?!or)|cred|passw|pwd|secret|session|signature|token).*|.*key(-?pair)?[-_]?(id)?|"
    r"expires|pass|sig|x-.*",
    re.IGNORECASE,
)
_RUN = re.compile(r"[\w-]{20,}")


def local_name(key: str) -> str:
    """Return a key or kind without its vocabulary: of ``sc:name`` it is ``name``."""
    return re.split("[:/#]", key)[-1]


def without_clean(document: Any, names: Collection[str] = ()) -> Any:
    """Return a document without hashes and sizes of clean files, and without secrets.

    Records in it, and the keys of the context, are left as they are.

    Parameters
    ----------
    document : value of JSON
    names : collection of str
        Of published files; they may be hashes.
    """
    context = document.get(_CONTEXT) if isinstance(document, dict) else None
    return _Cleaning(names, context).of(document)


def without_addresses_of_contexts(value: Any) -> Any:
    """Return a document or a part without contexts that lie elsewhere: readers would ask there.

    Examples
    --------
    >>> without_addresses_of_contexts({"@context": ["https://a.org", {"a": "b"}], "name": "x"})
    {'@context': [{'a': 'b'}], 'name': 'x'}
    """
    if isinstance(value, list):
        return [without_addresses_of_contexts(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: _without_addresses(each) if key == _CONTEXT else without_addresses_of_contexts(each)
        for key, each in value.items()
        if key != "@import" and not (key == _CONTEXT and isinstance(each, str))
    }


def _without_addresses(context: Any) -> Any:
    """Return what a context has itself."""
    parts = context if isinstance(context, list) else [context]
    kept = [without_addresses_of_contexts(each) for each in parts if not isinstance(each, str)]
    return kept if isinstance(context, list) else kept[0]


class _Cleaning:
    """Takes hashes and sizes out of values; hashes in texts become numbers, the same ones alike."""

    def __init__(self, names: Collection[str], context: Any) -> None:
        words = (each for name in names for each in _DIGEST.findall(name))
        self._known = {word.lower(): word for word in words}
        self._facts = set(_names_of_facts(context))
        self._number = 0

    def of(self, value: Any, *, in_context: bool = False) -> Any:
        if isinstance(value, list):
            return [self.of(each, in_context=in_context) for each in value]
        if isinstance(value, str):
            text = _DIGEST.sub(self._numbered, without_secrets(value))
            return _NAMED.sub(r"\1", text)
        if not isinstance(value, dict):
            return value
        return {
            self.of(key): each
            if local_name(key) in _INLINE and not in_context
            else self.of(each, in_context=in_context or key == _CONTEXT)
            for key, each in value.items()
            if in_context or not (key in self._facts or _is_fact(key))
        }

    def _numbered(self, found: re.Match[str]) -> str:
        word = found[0].lower()
        if word not in self._known:
            self._number += 1
            self._known[word] = f"hash-{self._number}"
        known = self._known[word]
        return found[0] if known.lower() == word else known


def _is_fact(key: str) -> bool:
    """Tell whether a key is one of facts of files; ``sha512/256`` is no address."""
    forms = {local_name(key), "" if "//" in key else key}
    return any(_FACTS.search(re.sub(r"[\W_]+", "", each.lower())) for each in forms)


def _names_of_facts(context: Any) -> Iterator[str]:
    """Yield the names that a context gives to hashes and sizes."""
    for part in context if isinstance(context, list) else [context]:
        for name, term in part.items() if isinstance(part, dict) else ():
            meant = term.get("@id") if isinstance(term, dict) else term
            if isinstance(meant, str) and _is_fact(meant):
                yield name


def without_secrets(text: str) -> str:
    """Return a text whose addresses have no user, and no parameter that could be a token.

    Examples
    --------
    >>> without_secrets("see https://me:word@example.org/a?page=2&token=abc.")
    'see https://example.org/a?page=2'
    """
    return _ADDRESS.sub(_open_address, text) if "//" in text else text


def _open_address(found: re.Match[str]) -> str:
    def kept(each: re.Match[str]) -> str:
        return "" if _SECRET.fullmatch(each[1] or "") or _has_token(each[2]) else each[0]

    address = _USER.sub("//", found[0])
    cut = _PARAMETER.sub(kept, address)
    return address if cut == address else cut.rstrip("?&;#")


def _has_token(text: str) -> bool:
    """Tell whether a text has a long run of letters and digits."""
    runs = _RUN.findall(text)
    return any(any(map(str.isdigit, run)) and any(map(str.isalpha, run)) for run in runs)


def is_infinite(value: Any) -> bool:
    """Tell whether a value is, or has in it, a number that JSON does not have."""
    if isinstance(value, dict | list):
        return any(map(is_infinite, value.values() if isinstance(value, dict) else value))
    return isinstance(value, float | Decimal) and not math.isfinite(value)


class Kept:
    """What is kept of a document: not inline records, and nothing that could hold a picture.

    All of it has one allowance, and texts such as descriptions another, as a file beside it has.

    Parameters
    ----------
    free : collection of str
        Strings that cost nothing.
    new_name : callable
        Returns the name under which a file of the source is published; its old one is free, too.
    """

    def __init__(self, free: Collection[str], new_name: Callable[[str], str]) -> None:
        self._free, self._new_name = free, new_name
        self._allowances = {True: Allowance(), False: Allowance()}
        self._words: dict[bool, set[str]] = {True: set(), False: set()}
        self._letters = Counter[bool]()
        self._rows: dict[str, Rows] = defaultdict(Rows)
        self._times = Counter[str]()

    def of(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return a document without the rest; what other parts refer to is looked at first."""
        first = sorted(document, key=lambda name: name not in ("distribution", "recordSet"))
        kept = self._any({name: document[name] for name in first}) or {}
        return {name: kept[name] for name in document if name in kept}

    def _any(self, value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            kept = {
                name: self._any(each, name)
                for name, each in value.items()
                if local_name(name) not in _INLINE or key == _CONTEXT
                if self._is_harmless(name, "")
            }
            kept = {name: each for name, each in kept.items() if each is not None}
            return None if "@id" in value and "@id" not in kept else kept  # nothing has its name
        if isinstance(value, list):
            found = [self._any(each, key) for each in value]
            return [each for each in found if each is not None]
        return value if self._is_harmless(value, key) else None

    def _is_harmless(self, value: Any, key: str) -> bool:
        """Charge a value; tell whether there was enough left."""
        is_text = isinstance(value, str) and (local_name(key) in _TEXTS or key.startswith("rai:"))
        left = replace(self._allowances[is_text])
        try:
            if not isinstance(value, str):
                self._charge_number(value, left)
            elif not self._is_free(value):
                self._charge_words(value, key, is_text=is_text)
                (self._charge_text if is_text else self._charge_name)(value, left)
        except CouldHoldPictureError:
            return False
        self._allowances[is_text] = left
        return True

    def _charge_number(self, value: Any, left: Allowance) -> None:
        if is_infinite(value):
            msg = "is no number of JSON"
            raise CouldHoldPictureError(msg)
        if is_number(value):
            left.take_row(1)
            left.take(count_of(value), 0)
        else:
            size_of_scalar(value)

    def _charge_words(self, text: str, key: str, *, is_text: bool) -> None:
        """Charge the words of a string that were in none before, and a picture drawn with them."""
        if not is_text:
            size_of_string(text)
        if self._times[text]:
            return
        for line in text.splitlines():
            words = words_of(_JOINT.sub(" ", line))
            if key not in _IDS or sum(map(len, words)) >= LETTERS:
                self._rows[key].add(" ".join(words), words)
        new = set(_LETTERS.findall(text)) - self._words[is_text]
        self._letters[is_text] += sum(map(len, new))
        if self._letters[is_text] > MOST_LETTERS:
            self._letters[is_text] -= sum(map(len, new))
            msg = f"has different words of more than {MOST_LETTERS} letters"
            raise CouldHoldPictureError(msg)
        self._words[is_text] |= new

    def _charge_text(self, text: str, left: Allowance) -> None:
        self._times[text] += 1
        charge_text(text, lambda words: left, self._is_free, left)

    def _charge_name(self, name: str, left: Allowance) -> None:
        words = _JOINT.sub(" ", name)  # paths and terms of plain words are plain
        times, self._times[name] = self._times[name], self._times[name] + 1
        if times % _REFERENCES == 0 or numbers_in(words):
            charge_string(words, left)

    def _is_free(self, text: str) -> bool:
        is_old_name = is_image_name(text, of_any_kind=True) and self._new_name(text) in self._free
        return text in self._free or is_old_name


_JOINT = re.compile(r"(?<=[^\W\d_])[:/.#](?=[^\W\d_])|^@(?=[a-z])|://")
_REFERENCES = 6
"""How often a name costs nothing more: a column is an id, a name, a source, a key, a reference."""
