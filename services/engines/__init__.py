"""The models: one file per family. Torch is imported only when an engine is used."""
