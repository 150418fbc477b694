"""The ground floor: recurrent networks, and what every application of them needs.

It knows neither sound nor pictures. Read as a story of recurrent networks, the rooms stand in this order:

1. `core/recurrent.py`: a cell reads one vector and remembers; layers, directions, sequences of unlike length.
   The plain cells (Elman 1990), the LSTM (Hochreiter and Schmidhuber 1997), the GRU (Cho et al. 2014).
2. `core/gates.py`: what the gates of an LSTM and a GRU do at each step.
3. `core/topologies.py`: one output a step, one a sequence, a sequence from a vector, a sequence from another,
   with attention or without.
4. `training/loop.py`: gradients clipped, back-propagation truncated, runs that go on where they were killed.
5. `core/search.py`: a network gives probabilities; greedy, beam and sampling make sentences of them.
6. `benchmark.py`: what it costs; run `python -m common.benchmark`.
7. `lessons/`: all of it learned and seen, one command a lesson; `lessons/README.md` is their book.
8. From here to a whole application: `speech/recognizer.py` and `caption/captioner.py`.

The other rooms are the house's plumbing: `models/` and `manifest.py` for what lies on the disk, `commands/`
for the command lines, `errors.py` and `files.py` below them all.
"""
