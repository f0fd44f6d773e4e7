"""What all stages share: the campaign directory, handles, outputs, earlier campaigns."""
