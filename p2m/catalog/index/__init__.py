"""The local catalogue: every dataset and model card ever seen, in one SQLite file, found by words, meaning and use."""
