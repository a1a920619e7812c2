"""torchrun for the programs beside it, ending as they do: `python trainers/torchrun.py --nnodes 2 ... train.py ...`.

It takes the options of torchrun. After SIGTERM torchrun itself raises an error with a stack trace and code 1 although
all ranks have saved and ended well, and every other error has code 1 and a report beside the ranks' own words.
"""

import logging
import signal
import sys

from viewstream.shards.cli import run
from viewstream.shards.errors import UserError
from viewstream.shards.programs import as_typed

ABOUT = """torchrun for train.py and evaluate.py, which ends in one line where they do.

  python trainers/torchrun.py --nnodes 2 --node-rank 0 --nproc-per-node 8 --master-addr HOST trainers/train.py ...

The options before the program are those of `torchrun --help`."""


def main() -> None:
    if sys.argv[1:] in ([], ["-h"], ["--help"]):
        print(as_typed(ABOUT))
        return
    from torch.distributed import run as torchrun
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    logging.disable(logging.ERROR)  # of this process, not of the ranks: the same reports again
    try:
        torchrun.run(torchrun.parse_args(sys.argv[1:]))
    except SignalException as stopped:  # it has been passed on, and the ranks have ended
        sys.exit(130 if stopped.sigval == signal.SIGINT else 0)
    except ChildFailedError as failed:
        rank, first = failed.get_first_failure()
        if first.exitcode > 0:  # its words are on standard error already
            sys.exit(first.exitcode)
        print(f"error: rank {rank} was ended by {signal.Signals(-first.exitcode).name}", file=sys.stderr)
        sys.exit(128 - first.exitcode)
    except ValueError as error:  # an option that it cannot use
        raise UserError(f"torchrun: {error}") from error


if __name__ == "__main__":
    run(main)
