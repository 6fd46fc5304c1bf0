"""The file types of the reference deployment, one module each."""
