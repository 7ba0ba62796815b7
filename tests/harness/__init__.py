"""Real servers for tests and benchmarks: nginx, an application that echoes, and a stand-in for authd."""
