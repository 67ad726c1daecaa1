"""What a GPU child does between its start and its first clip, beside the loading of weights."""
