"""What people look at: server-rendered pages, each as the person who looks may see it."""
