"""Names of classes that come from one class of the source but differ."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass


@dataclass
class Variant:
    """Modules that share a class: their paths, and what makes each of their children."""

    paths: Sequence[str]
    makers: Mapping[str, str]


def variant_names(cls: str, variants: Sequence[Variant]) -> list[str]:
    """A name for each: the largest is ``cls``, others say where they are or what they have.

    ``T5Stack`` as ``T5EncoderStack`` and ``T5DecoderStack``, ``Block`` and ``BlockWithSkip``. Names
    need not differ yet.
    """
    if len(variants) == 1:
        return [cls]
    places = [_place(v, [o for o in variants if o is not v]) for v in variants]
    if all(places):
        return [_placed(cls, place) for place in places]
    main = max(variants, key=lambda v: len(v.paths))
    names = []
    for variant, place in zip(variants, places, strict=True):
        name = cls
        if variant is not main:
            name = _by_children(cls, variant, main) or (_placed(cls, place) if place else cls)
        names.append(name)
    return names


def _by_children(cls: str, variant: Variant, main: Variant) -> str:
    mine, base = variant.makers, main.makers
    more, less = [c for c in mine if c not in base], [c for c in base if c not in mine]
    if more:
        return f"{cls}With{_camel(more[0])}"
    if less:
        return f"{cls}Without{_camel(less[0])}"
    other = [m for c, m in mine.items() if m != base[c] and re.fullmatch(r"[\w.]+", m)]
    return f"{cls}With{other[0].removeprefix('nn.')}" if other else ""


def _place(variant: Variant, others: Sequence[Variant]) -> str:
    """The outermost attribute on the way to all of a variant's modules and to none of the others'
    (itself last); nothing if there is none.
    """
    common = set.intersection(*(set(_words(p)) for p in variant.paths))
    elsewhere = {w for o in others for p in o.paths for w in _words(p)}
    return next((w for w in _words(variant.paths[0]) if w in common - elsewhere), "")


def _words(path: str) -> Iterator[str]:
    return (w for w in path.split(".") if w and not w.isdigit())


def _placed(cls: str, place: str) -> str:
    """``T5`` + ``Decoder`` + ``Stack``; a word that both end with is not said twice."""
    head, last = re.fullmatch(r"(.*?)([A-Z]+[a-z0-9]*|[a-z0-9]*)", cls).groups()  # type: ignore[union-attr]
    word = _camel(place)
    if word.lower().endswith(last.lower()):
        word = word[: len(word) - len(last)]
    return cls if head.endswith(word) else f"{head}{word}{last}"


def _camel(name: str) -> str:
    return "".join(p[:1].upper() + p[1:] for p in name.split("_"))
