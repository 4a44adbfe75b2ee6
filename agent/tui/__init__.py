"""The terminal app: the same journal as headless, drawn as it grows. Nothing outside this package imports textual."""
