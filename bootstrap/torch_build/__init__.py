"""Which build of torch runs on a driver and a card. Plain Python: shell scripts ask it, too."""
