"""Training the captioner in stages.

Comes in: captioned photographs. Goes out: a model directory.
"""
