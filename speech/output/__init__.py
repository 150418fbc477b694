"""From a transcript to what people keep: txt, srt, vtt, tsv, json.

Comes in: a transcript. Goes out: text.
"""
