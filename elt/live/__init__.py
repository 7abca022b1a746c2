"""The country databases followed to the second: what they hold now, and running sums."""

CHANNEL = "laurel_live"
"""What listeners hear of: each transaction that changed the picture notifies it with the new version."""

LOCK_KEY = 0x6C61_7572_6C69_7665  # "laurlive"
"""The advisory lock of the one who follows."""
