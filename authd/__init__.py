"""authd: access control for web applications behind nginx, in the manner of Cloudflare Access."""

__version__ = "0.1.0"
