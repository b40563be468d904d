"""Runs a compiled program over one scan: every thread of a scan calls `run`, and takes blocks of output rows step by step.

Output-stationary: one thread owns a block of output rows and adds all kernel offsets and channels to it while it stays in the
cache. No two threads write one row, and each row's sum has the same order whatever the number of threads or the size of a block,
so the answer is the same to the bit for any number of threads. Between steps the threads meet; within a step they take blocks by
counting a shared counter up, so that a thread that the system has put aside holds up its own block only.

The functions work on addresses, which `relidar.compiled.plan` fills in. `relidar.program_file.check_program` and `Plan` check the
network once, `CompiledProgram` checks the shapes of each scan, and `pairs_of_block` the rows that its tables name.
"""

from relidar.cached_kernel import cached_kernel
from relidar.compiled.block_pairs import pairs_of_block
from relidar.compiled.layer import layer_of_block
from relidar.compiled.scores import scores_of_block
from relidar.compiled.steps import COUNTERS, MEETINGS, PAIRS, SCORES
from relidar.raw_memory import atomic_add, meet


@cached_kernel(sources=("relidar.compiled", "relidar.raw_memory", "relidar.program", "relidar.rulebook"))
def run(steps, shared, threads, every_row, scratch):  # type: ignore[no-untyped-def]
    """Does one thread's share of all steps; returns when all threads have done theirs.

    Args:
        steps: of type STEP.
        shared: address of int64 (COUNTERS + steps,), zero at the start, the same for all threads of a scan.
        threads: how many of them call this.
        every_row: address of int32 0, 1, 2, ... as many as any step has rows.
        scratch: address of this thread's own memory, as much as the steps ask for.
    """
    for index in range(len(steps)):
        step = steps[index]
        block = atomic_add(shared + 8 * (COUNTERS + index), 1)
        while block < step.blocks:
            if step.kind == PAIRS:
                pairs_of_block(step, block, shared, scratch)
            elif step.kind == SCORES:
                scores_of_block(step, block, every_row, scratch)
            else:
                layer_of_block(step, block, every_row, scratch)
            block = atomic_add(shared + 8 * (COUNTERS + index), 1)
        meet(shared + 8 * MEETINGS, threads * (index + 1))
