"""Installing: each target is changed as a transaction, proved, or put back."""

from ipranges.install.inspect import Inspection, Wanted, inspect_target
from ipranges.install.run import Installer, install_all

__all__ = ["Inspection", "Installer", "Wanted", "inspect_target", "install_all"]
