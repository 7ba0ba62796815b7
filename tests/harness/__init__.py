"""What tests and the demonstration start beside authd: an identity provider, and what it needs."""
