"""Code generation: a published version as one Python module, to be read, kept and served (design §2, the other way)."""
