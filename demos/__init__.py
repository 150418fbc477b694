"""The pages: each shows one application through its public names alone."""
