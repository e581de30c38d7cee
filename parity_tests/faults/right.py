"""The kernels that faults are planted in, without a fault, as a subject."""

from torch_loss_parity.faults.kernels import RIGHT

softmax = RIGHT["softmax"]
log_softmax = RIGHT["log_softmax"]
nll_loss = RIGHT["nll_loss"]
cross_entropy = RIGHT["cross_entropy"]
binary_cross_entropy = RIGHT["binary_cross_entropy"]
binary_cross_entropy_with_logits = RIGHT["binary_cross_entropy_with_logits"]
