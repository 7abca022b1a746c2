"""An upload's life: accepted, found, replaced, fixed, approved, withdrawn, replayed."""
