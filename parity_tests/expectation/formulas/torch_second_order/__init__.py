"""The second-order formulas that torch in fact evaluates, where they are weaker than the derivative of the
definition.

Read from torch's source (tools/autograd/derivatives.yaml, torch/csrc/autograd/FunctionsManual.cpp,
torch/_decomp, version 2.13). Like ways, see
`torch_loss_parity.reference.ways`, they are evaluated in the rounding arithmetic.
Each takes the quantity, the direction, the upstream gradient and the arguments of the
call, and returns the value of the quantity.
"""

from torch_loss_parity.expectation.formulas.torch_second_order.binary_cross_entropy import (
    bce_double_backward,
    bce_double_backward_in_float16,
    bce_jvp_in_float16,
    bce_jvp_of_backward,
    bce_jvp_of_backward_in_float16,
    bce_jvp_of_input_in_float16,
    bce_jvp_with_a_zero_tangent,
)
from torch_loss_parity.expectation.formulas.torch_second_order.binary_cross_entropy_with_logits import (
    bce_with_logits_decomposed_double_backward,
    bce_with_logits_decomposed_jvp,
    bce_with_logits_double_backward,
    bce_with_logits_jvp,
    bce_with_logits_logsigmoid_double_backward,
)
from torch_loss_parity.expectation.formulas.torch_second_order.classes import (
    cross_entropy_double_backward,
    cross_entropy_jvp,
)
from torch_loss_parity.expectation.formulas.torch_second_order.linear_cross_entropy import (
    linear_cross_entropy_double_backward,
    linear_cross_entropy_jvp,
)
from torch_loss_parity.expectation.formulas.torch_second_order.logsumexp import (
    logsumexp_double_backward,
    logsumexp_double_backward_from_memory,
    logsumexp_forward_mode,
)
from torch_loss_parity.expectation.formulas.torch_second_order.rows import (
    log_softmax_double_backward,
    log_softmax_double_backward_from_memory,
    log_softmax_jvp,
    softmax_double_backward,
    softmax_double_backward_from_memory,
    softmax_double_backward_in_float16,
    softmax_jvp,
)

__all__ = [
    "bce_double_backward",
    "bce_double_backward_in_float16",
    "bce_jvp_in_float16",
    "bce_jvp_of_backward",
    "bce_jvp_of_backward_in_float16",
    "bce_jvp_of_input_in_float16",
    "bce_jvp_with_a_zero_tangent",
    "bce_with_logits_decomposed_double_backward",
    "bce_with_logits_decomposed_jvp",
    "bce_with_logits_double_backward",
    "bce_with_logits_jvp",
    "bce_with_logits_logsigmoid_double_backward",
    "cross_entropy_double_backward",
    "cross_entropy_jvp",
    "linear_cross_entropy_double_backward",
    "linear_cross_entropy_jvp",
    "log_softmax_double_backward",
    "log_softmax_double_backward_from_memory",
    "log_softmax_jvp",
    "logsumexp_double_backward",
    "logsumexp_double_backward_from_memory",
    "logsumexp_forward_mode",
    "softmax_double_backward",
    "softmax_double_backward_from_memory",
    "softmax_double_backward_in_float16",
    "softmax_jvp",
]
