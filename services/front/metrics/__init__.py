"""What is counted: requests, clips, GPUs, dollars."""
