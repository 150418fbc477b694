"""The recurrent core, a textbook in code: cells and stacks, topologies, gates, search.

Comes in: tensors, batch first. Goes out: hidden vectors, states, symbols. It needs PyTorch alone.
"""
