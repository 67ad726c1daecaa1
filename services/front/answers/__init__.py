"""What is read of jobs and clips, at the price of what changed."""
