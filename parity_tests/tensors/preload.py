"""torch's compiler, loaded by whoever imports this: what other processes are forked from loads it by name."""

from torch_loss_parity.tensors.torch_private import load_compiler

load_compiler()
