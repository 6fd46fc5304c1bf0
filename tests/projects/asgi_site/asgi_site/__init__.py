"""A FastAPI site that exports the visits to a museum."""
