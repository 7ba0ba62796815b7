"""`make demo`: authd, nginx, an identity provider and two applications on one machine, for a look at them.

Everything is written to `.demo/` of the checkout and listens on loopback only.
"""
