"""From captions to what people keep: txt, jsonl, csv, html, metadata, pictures of where it looked.

Comes in: captions. Goes out: text, and files beside the photographs or inside them.
"""
