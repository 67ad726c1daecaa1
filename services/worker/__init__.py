"""The worker takes jobs from a front and makes them in a GPU process of its own."""
