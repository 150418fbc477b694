"""How good a recogniser is: error rates, word times, delay.

Comes in: a model and transcribed recordings. Goes out: figures.
"""
