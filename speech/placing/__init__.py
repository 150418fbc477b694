"""When each word is said.

Comes in: log-probabilities (steps, symbols) and a text. Goes out: words with start, end and confidence.
"""
