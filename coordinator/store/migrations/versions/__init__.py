"""One file for each revision of the schema. A file that was released never changes."""
