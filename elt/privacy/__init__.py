"""Keeping data about people: classes, pseudonyms, erasure, retention, subject access."""
