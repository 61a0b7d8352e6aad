"""Options of `affect3d gan` that say where a training runs; `affect3d.gan.machine` does it."""

from __future__ import annotations

from affect3d.cli import numbers

__all__ = ["DEVICES", "PRECISIONS", "add_machine"]

#: Those of `affect3d.gan.machine`, listed here so that --help imports nothing heavy.
DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("32", "bf16")


def add_machine(parser) -> None:
    """Add --device, --precision, --devices and --threads to an argparse parser, as a group of their own."""
    group = parser.add_argument_group("machine")
    group.add_argument("--device", choices=DEVICES, default="auto", help="default: a GPU of NVIDIA, or else the CPU")
    group.add_argument("--precision", choices=PRECISIONS, default="32", help="bits of what layers compute (default 32)")
    group.add_argument("--devices", type=numbers.whole(1, 1024), default=1, metavar="N", help="that share each batch")
    group.add_argument("--threads", type=numbers.whole(0, 1024), default=0, help="of torch (default: its own choice)")
