"""How good captions are: BLEU, ROUGE-L, CIDEr, things named.

Comes in: captions and what people said. Goes out: figures.
"""
