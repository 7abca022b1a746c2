"""Reading the marts: each person sees their own part."""
