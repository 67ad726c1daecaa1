"""How the demo models are made: small networks of the published classes, in the published file layouts."""
