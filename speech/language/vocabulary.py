"""The two words with which every language model's vocabulary begins; the normaliser writes neither."""

from __future__ import annotations

END, UNKNOWN = 0, 1  # the end of a sentence, which also stands before its first word; any word not known
SPECIAL = ("</s>", "<unknown>")
