"""Backups of both databases in the object store: taken, tried by restoring them, kept, and restored."""
