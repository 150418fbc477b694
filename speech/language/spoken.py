"""How the words of a language model are spoken: words -> phones, stored as arrays of small numbers.

Comes in: words in their order, and how some of them are spoken. Goes out: two tensors for a model file, and
back. Of a word that is not known, only the spelling is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from common.pronunciations import ARPABET

Pronunciations = Mapping[str, tuple[str, ...]]

# The tensors' names: all phones end to end, as places in ARPABET, and how many each word has.
_PHONES, _LENGTHS = "spoken.phones", "spoken.lengths"

_LONGEST = 255  # phones of a word, which are counted in a byte


def known_only(words: Iterable[str], pronunciations: Pronunciations) -> dict[str, tuple[str, ...]]:
    """How those of the words are spoken that a dictionary knows."""
    return {
        word: phones
        for word in words
        if (phones := pronunciations.get(word)) is not None and 0 < len(phones) <= _LONGEST
    }


def stored(words: Sequence[str], pronunciations: Pronunciations) -> dict[str, Tensor]:
    """Tensors that tell how the words are spoken; none if that is known of no word.

    Args:
        words: in the order in which the model has them.
        pronunciations: of some of them.
    """
    if not pronunciations:
        return {}
    numbers = {phone: number for number, phone in enumerate(ARPABET)}
    spoken = [pronunciations.get(word, ()) for word in words]
    phones = [numbers[phone] for one in spoken for phone in one]
    return {
        _PHONES: torch.tensor(phones, dtype=torch.uint8),
        _LENGTHS: torch.tensor([len(one) for one in spoken], dtype=torch.uint8),
    }


def restored(words: Sequence[str], tensors: Mapping[str, Tensor]) -> dict[str, tuple[str, ...]]:
    """What `stored` was given.

    Raises:
        ValueError: if the tensors hold something else.
    """
    phones, lengths = tensors.get(_PHONES), tensors.get(_LENGTHS)
    if phones is None or lengths is None:
        return {}
    fits = (
        phones.dtype == lengths.dtype == torch.uint8
        and lengths.shape == (len(words),)
        and phones.shape == (int(lengths.sum()),)
        and int(phones.numpy().max(initial=0)) < len(ARPABET)
    )
    if not fits:
        raise ValueError("it says of its words what cannot be spoken")
    names = np.array(ARPABET, dtype=object)[phones.numpy()].tolist()
    ends = np.cumsum(lengths.numpy(), dtype=np.int64).tolist()
    return {
        word: tuple(names[end - length : end])
        for word, end, length in zip(words, ends, lengths.tolist(), strict=True)
        if length
    }
