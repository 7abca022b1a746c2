"""What is not handed in as a file: databases and exam boards, read by comparison and turned into uploads."""
