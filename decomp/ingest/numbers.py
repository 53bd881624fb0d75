"""From cells to numbers: decimal and thousands signs, words and sentinels that mean missing."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from decomp.model.instance import Array, InputError

BLANK = frozenset(
    ("", "na", "n/a", "nan", "null", "none", "-", "--", "#n/a", "#n/a n/a", "<na>", "-nan", "nat", "missing")
)
SPACES = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u2009": " ", "\u2212": "-", "\u2019": "'"})

# A sign before or behind a number; the unit is the spec's.
CURRENCY = r"^([+-]?) ?[$€£¥] ?(?=[\d.])|(?<=\d) ?[$€£¥]()$"


def missing_of(na_values: Any, column: str) -> list[Any]:
    """What means missing in a column."""
    said = na_values.get(column, []) if isinstance(na_values, dict) else na_values
    said = said if isinstance(said, list) else [said]
    if not all(isinstance(v, (str, int, float)) for v in said):
        raise InputError(f"na_values = {na_values!r}: must be a list of words and numbers, or a table of such lists")
    return said


def numbers(words: Array, decimal: str, thousands: str, missing: list[Any]) -> tuple[Array, Array]:
    """Numbers of texts and which of them are unreadable; NaN where missing, (word,).

    A thousands sign must stand where thousands are: 12,5 is no number by thousands = ",".
    """
    import pandas as pd

    texts = pd.Series(words, dtype=object).astype(str).str.translate(SPACES).str.strip()
    texts = texts.str.replace(CURRENCY, r"\1\2", regex=True)
    absent = texts.str.lower().isin(BLANK | {str(m).strip().lower() for m in missing}).to_numpy(bool)
    wrong = np.zeros(len(texts), dtype=bool)
    if thousands:
        sign = re.escape(thousands.translate(SPACES))
        held = texts.str.contains(sign, regex=True).to_numpy(bool)
        point = re.escape(decimal or ".")
        good = texts.str.fullmatch(rf"[+-]?\d{{1,3}}(?:{sign}\d{{2,3}})*{sign}\d{{3}}(?:{point}\d*)?").to_numpy(bool)
        wrong |= held & ~good
        texts = texts.str.replace(sign, "", regex=True)
    if decimal and decimal != ".":
        wrong |= texts.str.contains(".", regex=False).to_numpy(bool)
        texts = texts.str.replace(decimal, ".", regex=False)
    values = pd.to_numeric(texts.where(~absent, "nan"), errors="coerce").to_numpy(float)
    wrong |= ~absent & ~np.isfinite(values)
    values = np.where(wrong | absent, np.nan, values)
    sentinels = [float(m) for m in missing if _is_number(m)]
    if sentinels:
        values = np.where(np.isin(values, sentinels), np.nan, values)
    return values, wrong


def _is_number(text: Any) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def looks_like_thousands(words: Array) -> bool:
    """Whether points in a column's numbers seem to stand between thousands: 981, 1.459, 1.502.

    All numbers with a point have three digits after it, and those without one are hundreds of times larger.
    """
    plain, pointed = [], []
    for word in words[:2000]:
        text = str(word).strip().lstrip("+-")
        if re.fullmatch(r"[1-9]\d{0,2}(\.\d{3})+", text):
            pointed.append(float(text[: text.index(".") + 4]))
        elif re.fullmatch(r"\d{1,3}", text):
            plain.append(float(text))
        elif text.lower() not in BLANK:
            return False
    if not pointed or not plain:
        return False
    return max(plain) >= 100 and float(np.median(pointed)) * 30 < max(plain)
