"""`python -m viewstream`: the same as the command `viewstream`."""

from viewstream.tools.console import start

if __name__ == "__main__":
    start()
