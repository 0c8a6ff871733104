"""What the emulated model says: words drawn from the request, so that the same request gets the same answer.

Token k of an answer needs nothing but the answer's seed and k: no state, and an answer of any length costs no memory.
"""

from __future__ import annotations

from hashlib import sha256

from simulator.physics.routing import unit_draw

TOKENS = (
    *(" the", " of", " and", " to", " in", " a", " is", " that", " for", " it", " with", " as", " on", " be", " at"),
    *(" model", " copy", " queue", " token", " answer", " time", " stream", " load", " one", " two", " more", " than"),
    *(",", ".", ":", "\n", ' "', '"', " \\", "\t", " {", "}", " data:", "\n\n"),
    *(" naïve", " größer", " déjà", " año", " žluť", " łódź", " ελλάδα", " мир", " שלום", " سلام", " नमस्ते", " ไทย"),
    *(
        " 日本",
        "東京",
        "語",
        " 한국",
        "中文",
        " 😀",
        "🚀",
        " 👩🏽‍💻",
        "🇪🇺",
        " ½",
        " €",
        " →",
        "…",
        " é",
        " \u00a0",
        "\u2028",
    ),
)
"""Plain words, marks that need escaping in JSON, and characters of two, three and four bytes."""

NATURAL_TOKENS = (32, 256)
"""Shortest and longest answer of a model that is allowed to end by itself."""
CHARACTERS_PER_TOKEN = 4


def seed_of(*parts: str) -> int:
    """A seed from any texts, the same on every machine."""
    return int.from_bytes(sha256("\0".join(parts).encode("utf-8", "surrogatepass")).digest()[:8], "big")


def token_text(seed: int, k: int, size_bytes: int | None = None) -> str:
    """Token k, from 0, of the answer with this seed; filled up to about `size_bytes` if that is given."""
    text = TOKENS[int(unit_draw(seed, k) * len(TOKENS))]
    if size_bytes is None:
        return text
    return text + "x" * max(0, size_bytes - len(text.encode()))


def natural_tokens(seed: int) -> int:
    """After how many tokens the model ends by itself."""
    shortest, longest = NATURAL_TOKENS
    return shortest + int(unit_draw(seed ^ 1, 0) * (longest - shortest + 1))


def count_tokens(text: str) -> int:
    """How many tokens a prompt has: one for every four characters, at least 1."""
    return max(1, -(-len(text) // CHARACTERS_PER_TOKEN))
