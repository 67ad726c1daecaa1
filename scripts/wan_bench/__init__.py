"""What `bench_wan.py` measures: one file for each of its words."""
