"""The phones that the lower half of the recogniser hears, and the dictionary that says where they stand."""

from __future__ import annotations

from common.pronunciations import ARPABET, read_pronunciations

__all__ = ["PHONES", "read_pronunciations"]

# CTC's blank, and the 39 phones of American English without their stress.
PHONES: tuple[str, ...] = ("<blank>", *ARPABET)
