"""RunPod's serverless workers. Their endpoints are made on the site: no form here, and no renting."""
