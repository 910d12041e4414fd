"""torch-rechub's MMOE by its own trainer and data loader, as its documentation has it."""

from __future__ import annotations

import tempfile

import numpy as np
from torch.utils.data import DataLoader
from torch_rechub.basic.features import SparseFeature
from torch_rechub.models.multi_task import MMOE
from torch_rechub.trainers import MTLTrainer
from torch_rechub.utils.data import DataGenerator, PredictDataset

from benchmarks.train_peers.contest import EMBEDDING_DIM, EXPERT_DIMS, NUM_EXPERTS, TOWER_DIMS, begin


def main() -> None:
    """Train and report; `--extra N` gives the data loader N workers (its default is 0)."""
    contest = begin()
    ids, labels, sizes = contest.rows()
    tasks = ["classification"] * len(contest.labels)
    model = MMOE(
        [SparseFeature(name, vocab_size=size, embed_dim=EMBEDDING_DIM) for name, size in sizes.items()],
        tasks,
        n_expert=NUM_EXPERTS,
        expert_params={"dims": list(EXPERT_DIMS)},
        tower_params_list=[{"dims": list(TOWER_DIMS)} for _ in tasks],
    )
    train, _, _ = DataGenerator(ids["train"], labels["train"]).generate_dataloader(
        x_val=ids["valid"],
        y_val=labels["valid"],
        x_test=ids["test"],
        y_test=labels["test"],
        batch_size=contest.batch_size,
        num_workers=int(contest.extra[0]) if contest.extra else 0,
    )
    held_out = {
        split: DataLoader(PredictDataset(ids[split]), batch_size=contest.batch_size) for split in ("valid", "test")
    }
    optimizer = {"lr": contest.learning_rate, "weight_decay": 1e-5}  # its default, but for the rate
    with tempfile.TemporaryDirectory() as folder:
        trainer = MTLTrainer(model, tasks, optimizer_params=optimizer, n_epoch=1, model_path=folder)
        contest.run(
            model,
            lambda: trainer.train_one_epoch(train),
            lambda split: np.asarray(trainer.predict(model, held_out[split])),
            labels,
        )


if __name__ == "__main__":
    main()
