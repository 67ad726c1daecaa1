"""What a model needs, and which of its profiles this machine can run: manifests, families, the plan."""
