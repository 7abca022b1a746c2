"""Objects kept as bytes: one protocol, in a folder or in S3."""
