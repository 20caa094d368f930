"""Words, and the tokens that spell them: which words of a prompt fit into what the text encoder reads."""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import Any

from aigc_course.studio.known import vocabulary


def split_words(text: str) -> list[tuple[str, int, int]]:
    """Words and where they stand; a prompt without spaces, as Chinese is, is taken by the phrases the world knows."""
    chinese = sorted((form for form in vocabulary() if not form.isascii()), key=len, reverse=True)
    pattern = "|".join(map(re.escape, chinese)) + r"|[^\x00-\x7f\s]|[a-z0-9][a-z0-9-]*"
    return [(found.group(), *found.span()) for found in re.finditer(pattern, text, re.IGNORECASE)]


def heard(tokenizer: Any, text: str) -> tuple[str, str]:
    """A text up to the last word that the text encoder has room for, and the rest, which it cannot read."""

    def length(stop: int | None) -> int:
        return len(tokenizer(text[:stop], verbose=False).input_ids)  # else it warns on stderr of what is too long

    if length(None) <= tokenizer.model_max_length:
        return text, ""
    stops = [0, *(stop for _, _, stop in split_words(text))]
    stop = stops[max(1, bisect_right(stops, tokenizer.model_max_length, key=length)) - 1]
    return text[:stop], text[stop:].strip(" ,;.，、；。")


def tokens_of(tokenizer: Any, text: str) -> list[tuple[str, list[int]]]:
    """Each word of a prompt that is heard, and the numbers of the tokens that spell it."""
    text, _ = heard(tokenizer, text)
    spans = tokenizer(text, return_offsets_mapping=True).offset_mapping
    found = []
    for word, start, stop in split_words(text):
        tokens = [i for i, (a, b) in enumerate(spans) if a < stop and b > start and a < b]
        if tokens:
            found.append((word, tokens))
    return found
