"""Reading weights: files, the loader that brings them to the GPU, and the forms in which they lie there."""
