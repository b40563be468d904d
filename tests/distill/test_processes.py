"""Several processes: rows and statistics of all, with gradients; the same training as one process with the whole batch."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from distill.checkpoint import load_student
from distill.shared_batch_norm import share_batch_norm
from distill.trainer import STUDENT

ROOT = Path(__file__).parents[2]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]

STEP = """
import os, sys
import numpy as np, torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel
from distill.config import ContrastiveLoss, ContrastiveTolerantLoss, RelationalLoss, ScalrLoss, SimilarityLoss
from distill.pooling import pool
from distill.processes import gather_rows
from distill.shared_batch_norm import share_batch_norm
from distill.sparse_conv import pair_tables
from distill.student import LEVELS, Student, StudentConfig
from distill.training_module import make_loss
from relidar.rulebook import build_rulebook

torch.set_num_threads(1)
rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
if size > 1:
    distributed.init_process_group("gloo")

def scan(number):  # of other sizes and numbers of rows each
    random = np.random.default_rng(number)
    cells = np.unique(random.integers(0, 24, (400 + 300 * number, 3)), axis=0).astype(np.int32)
    rows = 5 + 7 * number
    teacher = torch.nn.functional.normalize(torch.from_numpy(random.normal(size=(rows, 16))), dim=1)
    return cells, torch.from_numpy(random.normal(size=(len(cells), 1))), torch.arange(len(cells)) % rows, teacher

scans = [scan(number) for number in range(2)][rank::size]
cells = np.concatenate([scan[0] for scan in scans])
numbers = np.repeat(np.arange(len(scans), dtype=np.int32), [len(scan[0]) for scan in scans])
tables = pair_tables(build_rulebook(cells, LEVELS, numbers))
x, teacher = torch.cat([scan[1] for scan in scans]), torch.cat([scan[3] for scan in scans])
first_row = np.cumsum([0] + [len(scan[3]) for scan in scans])
row = torch.cat([scan[2] + int(first) for scan, first in zip(scans, first_row)])
torch.manual_seed(0)
student = Student(StudentConfig(architecture="minkunet14", width=0.25), 1, 16).double()
if size > 1:
    share_batch_norm(student)
model = DistributedDataParallel(student) if size > 1 else student
found = {}
kinds = (RelationalLoss(), ContrastiveLoss(), ContrastiveTolerantLoss(drop_share=0.2), SimilarityLoss(), ScalrLoss())
for kind in kinds:
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
    optimizer.zero_grad()
    k = pool(model(x, tables), torch.arange(len(x)), row, len(teacher))
    loss = make_loss(kind)(gather_rows(k), gather_rows(teacher))
    loss.backward()
    found[kind.kind + " loss"] = loss.detach()
    found |= {f"{kind.kind} gradient {name}": parameter.grad.clone() for name, parameter in student.named_parameters()}
    optimizer.step()
    found |= {f"{kind.kind} {name}": tensor.clone() for name, tensor in student.state_dict().items()}
own = torch.full((2 * rank, 3), float(rank), requires_grad=True)
everyone = gather_rows(own)
(everyone * torch.arange(1.0, 1 + len(everyone))[:, None]).sum().backward()
found[f"gathered {rank}"], found[f"gradient {rank}"] = everyone.detach(), own.grad
torch.save(found, f"{sys.argv[1]}/{size}_{rank}.pt")
if size > 1:
    distributed.destroy_process_group()
"""


def test_two_processes_do_what_one_does_with_the_whole_batch(tmp_path: Path) -> None:
    script = tmp_path / "step.py"
    script.write_text(f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n{STEP}")
    subprocess.run([sys.executable, script, tmp_path], cwd=ROOT, check=True, capture_output=True)
    done = subprocess.run([*TORCHRUN, "2", script, tmp_path], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    alone, first, second = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("1_0", "2_0", "2_1"))
    names = [name for name in alone if not name.startswith(("gathered", "gradient"))]
    assert len(names) > 500
    for name in names:
        torch.testing.assert_close(first[name], alone[name], rtol=1e-9, atol=1e-11, msg=lambda text, name=name: f"{name}: {text}")
        assert torch.equal(second[name], first[name]), name
    # Rank 0 has no row at all, rank 1 has two; both processes' sums count each row once.
    assert first["gathered 0"].tolist() == second["gathered 1"].tolist() == [[1.0] * 3] * 2
    assert first["gradient 0"].shape == (0, 3)
    assert second["gradient 1"].tolist() == [[2.0] * 3, [4.0] * 3]


def test_alone_shared_batch_norm_is_batch_norm() -> None:
    plain = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    shared = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    shared.load_state_dict(plain.state_dict())
    share_batch_norm(shared)
    x = torch.randn(20, 3)
    assert torch.equal(plain(x), shared(x))
    assert torch.equal(plain.eval()(x), shared.eval()(x))
    assert list(plain.state_dict()) == list(shared.state_dict())


@pytest.mark.slow  # the commands of four processes; the test of a step above compares two with one in the default set
def test_torchrun_trains_as_one_process_does(config_values: dict, tmp_path: Path) -> None:
    schedule = config_values["schedule"] | {"steps": 10, "checkpoint_every": 5}
    students, losses = {}, {}
    for processes, scans, rows in ((1, 2, 512), (2, 1, 256)):
        run = tmp_path / str(processes)
        values = config_values | {"run": str(run), "schedule": schedule | {"batch_scans": scans, "rows": rows}}
        config = tmp_path / f"{processes}.yaml"
        config.write_text(yaml.safe_dump(values))
        command = [*TORCHRUN, str(processes), "-m", "distill.train", "--config", config]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        students[processes] = load_student(run / STUDENT).student.state_dict()
        log = EventAccumulator(str(run / "log"))
        log.Reload()
        losses[processes] = log.Scalars("loss")[-1].value
    # Adam divides small gradients by themselves, rounding included, so weights drift apart in float32; the test of one step in
    # float64 compares them.
    assert losses[2] == pytest.approx(losses[1], rel=1e-3)
