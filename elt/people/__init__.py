"""Who acts: people who sign in, programs with keys, Laurel itself."""
