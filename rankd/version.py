"""The version of the installed distribution, or of the checkout that is run where none is installed."""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("rankd")
except PackageNotFoundError:  # a checkout on PYTHONPATH, on a host that nothing can be installed on
    VERSION = "0.0.0+checkout"
