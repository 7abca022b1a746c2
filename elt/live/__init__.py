"""The country databases followed to the second: what they hold now, and running sums."""

CHANNEL = "laurel_live"
"""What listeners hear of: each transaction that changed the picture notifies it with the new version."""
