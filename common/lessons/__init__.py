"""Lessons on the recurrent core: each a file to read in one sitting and to run with one command.

`README.md` beside this file is their book. They need PyTorch, NumPy, Pillow and tqdm alone.
"""
