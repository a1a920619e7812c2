"""torchrun for the programs beside it, ending as they do: `python trainers/torchrun.py --nnodes 2 ... train.py ...`.

It takes the options of torchrun. After SIGTERM torchrun itself raises an error with a stack trace and code 1 although
all ranks have saved and ended well, and every other error has code 1 and a report beside the ranks' own words. Nodes
that are gone or cut off: meeting.py.
"""

import logging
import os
import signal
import socket
import sys
from typing import Any

from viewstream.shards.cli import run
from viewstream.shards.errors import UserError
from viewstream.shards.programs import as_typed

ABOUT = """torchrun for train.py and evaluate.py, which ends in one line where they do.

  python trainers/torchrun.py --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint HOST:29500 \
    trainers/train.py ...

The same command starts on every node; HOST is one of them. The options before the program are those of `torchrun
--help`. docs/clusters.md has more about several nodes."""

HANGS = 124  # the code of a job that its watchdog ends, too


def main() -> None:
    if sys.argv[1:] in ([], ["-h"], ["--help"]):
        print(as_typed(ABOUT))
        return
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # no traces of connections that end with a job
    from torch.distributed import run as torchrun

    from viewstream.trainers import meeting

    logging.disable(logging.ERROR)  # of this process, not of the ranks: the same reports again
    meeting.mend()
    start(torchrun.parse_args(sys.argv[1:]))


def start(options: Any) -> None:
    """Run the program on this node; ends with the words and the code of the first rank that fails here."""
    from torch.distributed import DistError
    from torch.distributed import run as torchrun
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous import RendezvousError

    from viewstream.trainers.meeting import ALONE, Alone

    place = options.rdzv_endpoint or f"{options.master_addr}:{options.master_port}"
    try:
        torchrun.run(options)
    except SignalException as stopped:  # it has been passed on, and the ranks have ended
        sys.exit(130 if stopped.sigval == signal.SIGINT else 0)
    except ChildFailedError as failed:
        rank, first = failed.get_first_failure()
        if first.exitcode > 0:  # its words are on standard error already
            sys.exit(first.exitcode)
        print(f"error: rank {rank} was ended by {signal.Signals(-first.exitcode).name}", file=sys.stderr)
        sys.exit(128 - first.exitcode)
    except Alone as alone:
        silent = f"the ranks of {socket.gethostname()} were silent for {ALONE:.0f} s after that, and are killed"
        remedy = "see what the other nodes say, and start again with --resume auto"
        print(f"\nerror: {place}, where the nodes meet, {alone}, and {silent}: {remedy}", file=sys.stderr)
        sys.exit(HANGS)
    except (RendezvousError, DistError) as error:
        reason = str(error).partition(" See inner")[0].partition("\n")[0].rstrip(".") or type(error).__name__
        remedy = "start the same command on every node, and on the one of --rdzv-endpoint too; --resume auto continues"
        raise UserError(f"the nodes did not meet at {place} ({reason}): {remedy}") from error
    except ValueError as error:  # an option that it cannot use
        raise UserError(f"torchrun: {error}") from error


if __name__ == "__main__":
    run(main)
