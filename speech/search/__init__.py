"""From log-probabilities to words.

Comes in: log-probabilities (steps, symbols), a language model, hotwords or a grammar. Goes out: the likeliest
texts.
"""
