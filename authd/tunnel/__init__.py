"""Tunnels of origins that open no port: OpenSSH (default), WireGuard, or Cloudflare's own. See docs/tunnels.md."""
