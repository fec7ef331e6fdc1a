"""Where a program begins: ``meeshy`` and ``python -m meeshy_sfu``. Leaves everything to cli/."""

import signal
import sys


def main() -> int:
    """Run the command line and give its exit code; Ctrl-C while modules are being loaded ends without a trace."""
    former = signal.signal(signal.SIGINT, signal.SIG_DFL)
    from meeshy_sfu.cli import main as run  # noqa: PLC0415

    signal.signal(signal.SIGINT, former)
    return run()


if __name__ == "__main__":
    sys.exit(main())
