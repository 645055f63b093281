"""The commands, one file each. A file's `COMMAND` is what `main` puts under its name."""
