"""Targets: how each program wants its list written, and how what it holds is read back."""

from ipranges.targets.file_formats import FileFormat, build_file_format

__all__ = ["FileFormat", "build_file_format"]
