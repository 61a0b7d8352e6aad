"""The command `affect3d`: parse, build options, call the library, write."""

from affect3d.cli.app import main

__all__ = ["main"]
