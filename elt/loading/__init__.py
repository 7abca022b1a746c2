"""From an object to rows in schema `raw`, in one transaction."""
