"""Two processes of torch.distributed on this machine, joined by gloo."""

import socket

import torch
import torch.multiprocessing as mp


def _ranked(work, rank, port, results):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2
    )
    results.put((rank, work(rank)))
    torch.distributed.destroy_process_group()


def in_two_processes(work):
    """What work(rank), a function of a module, returns on each of two ranks; without tensors."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = mp.get_context("spawn")
    results = context.Queue()
    ranks = [context.Process(target=_ranked, args=(work, r, port, results)) for r in (0, 1)]
    for process in ranks:
        process.start()
    found = dict(results.get(timeout=120) for _ in ranks)
    for process in ranks:
        process.join(60)
    assert [process.exitcode for process in ranks] == [0, 0]
    return found[0], found[1]
