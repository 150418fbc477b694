"""Training the recogniser: corpora, cached features, augmentation, the loss.

Comes in: transcribed recordings. Goes out: a model directory.
"""
