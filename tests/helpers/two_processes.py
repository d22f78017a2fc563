"""Two processes of torch.distributed on this machine, joined by gloo."""

import tempfile
from pathlib import Path

import torch
import torch.multiprocessing as mp

UNJOINED = "not joined"  # gloo takes ports that were free a moment ago


def _ranked(work, rank, meeting, results):
    torch.set_num_threads(1)
    try:
        torch.distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2)
    except RuntimeError:
        results.put((rank, UNJOINED))
        return
    results.put((rank, work(rank)))
    torch.distributed.destroy_process_group()


def in_two_processes(work, attempts=3):
    """What work(rank), a function of a module, returns on each of two ranks; without tensors."""
    context = mp.get_context("forkserver")
    # What takes seconds to import, once for all tests.
    context.set_forkserver_preload(["pytest", "hypothesis", "torch", "torch_bridge"])
    results = context.Queue()
    with tempfile.TemporaryDirectory() as folder:
        # A file of their own: another program may take a port that was free a moment ago.
        meeting = (Path(folder) / "ranks").as_uri()
        ranks = [context.Process(target=_ranked, args=(work, r, meeting, results)) for r in (0, 1)]
        for process in ranks:
            process.start()
        found = {}
        while len(found) < 2 and UNJOINED not in found.values():
            found.update([results.get(timeout=120)])
        if UNJOINED in found.values() and attempts > 1:
            for process in ranks:
                process.terminate()
                process.join(60)
            return in_two_processes(work, attempts - 1)
        for process in ranks:
            process.join(60)
    assert [process.exitcode for process in ranks] == [0, 0]
    return found[0], found[1]
