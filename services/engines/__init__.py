"""The models: one folder for each family, and what they share. Torch is imported when an engine is used."""
