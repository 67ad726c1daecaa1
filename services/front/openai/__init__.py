"""The videos API, as OpenAI's clients speak it."""
