"""From a file to features.

Comes in: whatever FFmpeg reads. Goes out: samples at 16 kHz, segments in which somebody speaks, and log-mel
features (frames, mels).
"""
