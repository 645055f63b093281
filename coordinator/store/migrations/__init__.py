"""Alembic's scripts: `env.py` and, in `versions`, one file for each revision."""
