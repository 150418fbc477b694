"""The training loop: batches that resume, schedules, moving averages, checkpoints, the record of a run.

Comes in: a module with a loss and batches. Goes out: the best model so far, and a run that can go on.
"""
