"""Real servers for tests, benchmarks and the demonstration: nginx, applications, an identity provider."""
