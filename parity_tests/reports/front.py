"""What the front page says of torch: the gravest entries of its ledgers."""

from __future__ import annotations

from torch_loss_parity.ledger import ledger
from torch_loss_parity.ledger.ledger import Divergence, Shortfall
from torch_loss_parity.reports.readme import markdown_table

# By the ids of their entries, the gravest first.
GRAVEST = {
    "bce-with-logits-cancels": (
        "a confident negative costs nothing: the loss is 0 where it is 1.1e-7, at logit -16 and target 0"
    ),
    "half-log-softmax-stores-normaliser": (
        "the log-probability of a likely class is 0 where it is -4.9e-4, and so is the loss in cross_entropy"
    ),
    "compile-dynamic-size-is-infinite-in-float16": (
        "under torch.compile with dynamic shapes the mean over 65520 rows and more is 0, in silence"
    ),
    "functorch-bce-with-logits-takes-log-of-a-sum": (
        "under vmap, grad and jacrev another formula loses confident positives, where a plain call is right"
    ),
    "half-nll-loss-accumulates-in-storage": (
        "losses are added up in half precision: a mean over 65536 rows is nan or 0"
    ),
    "cuda-autocast-cross-entropy-stores-log-probabilities": (
        "on a GPU under autocast the loss is float32, of log-probabilities in 16 bits; on the CPU it is right"
    ),
}


def gravest() -> str:
    """The gravest entries as Markdown, with the threads where they are discussed."""
    entries: dict[str, Divergence | Shortfall] = {}
    for subject in ("torch", "torch.compile"):
        entries |= {entry.id: entry for entry in ledger.entries_of(subject)}
        entries |= {entry.id: entry for entry in ledger.shortfalls_of(subject)}
    rows = []
    for identifier, what in GRAVEST.items():
        entry = entries[identifier]
        number = entry.link.rpartition("/issues/")[2] if "/issues/" in entry.link else ""
        thread = f"[#{number}]({entry.link})" if number else ""
        rows.append([", ".join(entry.operators), ", ".join(entry.dtypes) or "all", what, thread])
    return markdown_table(["operator", "dtypes", "what", "thread"], rows)
