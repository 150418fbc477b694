"""Model directories: read, checked, written, averaged, made smaller.

Comes in: a directory with weights and a configuration in JSON. Goes out: tensors and a frozen dataclass, and
back.
"""
