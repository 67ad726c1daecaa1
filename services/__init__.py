"""What runs once the model is there. Knows video, not machines."""
