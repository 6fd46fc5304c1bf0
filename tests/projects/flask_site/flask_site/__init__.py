"""A Flask site that exports the readings of its weather stations."""
