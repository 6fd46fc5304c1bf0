"""One file, many workers: its rows are split by ranges of a key, written side by side, and joined."""
