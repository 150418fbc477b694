"""How probable a text is: language models over words, counted and recurrent, and how they are made.

Comes in: text. Goes out: log-probabilities of a word after others.
"""
