"""From features to log-probabilities.

Comes in: features (batch, frames, mels). Goes out: log-probabilities (batch, steps, symbols) of subwords,
what the symbols mean, and the same network for other runtimes.
"""
