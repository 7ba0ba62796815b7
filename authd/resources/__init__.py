"""HTTP, and nothing but HTTP: falcon's resources turn nginx' headers into our values, and our values into answers."""
