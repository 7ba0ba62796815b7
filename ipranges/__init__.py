"""ipranges: keeps an origin's allowlists equal to the edge's published ranges. Shares nothing with authd."""

__version__ = "0.1.0"
