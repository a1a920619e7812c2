"""What many ranks of a node ask a server for when all of them open one set at the same time."""

import multiprocessing
from collections import Counter

from viewstream.pipeline.readers.remote import open_remote

from .fetched import QUICK

RANKS = 4


def rank(url, folder, ready, opened):
    ready.wait()
    opened.put(len(open_remote(url, folder, retry=QUICK)))


def test_processes_that_open_a_set_at_once_fetch_its_manifest_once_and_list_nothing(server, many, tmp_path):
    context = multiprocessing.get_context("fork")  # ranks that have imported all they need
    ready, opened = context.Barrier(RANKS), context.Queue()
    ranks = [context.Process(target=rank, args=(server.url, tmp_path, ready, opened)) for _ in range(RANKS)]
    for process in ranks:
        process.start()
    assert [opened.get(timeout=60) for _ in ranks] == [len(many)] * RANKS
    for process in ranks:
        process.join()
    assert Counter(server.asked) == {"dataset.json": RANKS, "manifest.parquet": 1}
    assert server.commands == {"GET"}
