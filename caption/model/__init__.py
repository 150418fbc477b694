"""From a photograph to the likeliest next word.

Comes in: pictures (batch, 3, 224, 224). Goes out: grids (batch, positions, channels), logits (batch, words),
and what the words are.
"""
