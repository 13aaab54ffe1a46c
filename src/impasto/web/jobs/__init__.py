"""What visitors asked for: paintings, sheets and films, their queue, and their workers."""
