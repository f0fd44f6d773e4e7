"""What stands beside the job directories of a batch: approval, list and scheduler."""
