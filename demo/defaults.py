"""How large the demo school is unless said otherwise. Apart, so that `laurel --help` need not load NumPy."""

from __future__ import annotations

SEED = 7
STUDENTS = 1_100
"""Enough that the last two years of each exam have the 200 candidates without whom no model is judged."""
SCHOOLS = 3
YEARS = 4
"""Two years of exams to learn from, and two to judge by."""
RESPONSES = 400
"""In each country database, to begin with."""
