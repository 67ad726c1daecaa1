"""RunPod's pods."""
