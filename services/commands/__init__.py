"""The commands that make clips. Each is imported when it is used."""
