"""Installs releases of authd beside one another and switches between them.

The standard library alone: what it installs must not be what it runs on. `.ci/release` packs it into one file,
`authd-release`, that lies in every bundle.
"""
