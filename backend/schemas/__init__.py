"""Pydantic models of what the API takes and answers; the API document is made from them."""
