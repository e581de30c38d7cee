"""binary_cross_entropy: of probabilities, with the logarithm clamped at -100."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from torch_loss_parity import reference
from torch_loss_parity.cases import distributions
from torch_loss_parity.operators.facets import (
    REFUSED,
    SINGLE,
    Autocast,
    Compiled,
    Domain,
    Gap,
    Layouts,
    Modules,
    Rewritten,
)
from torch_loss_parity.operators.families import bits, elements, identities
from torch_loss_parity.operators.families.tables import mixed
from torch_loss_parity.operators.record import Operator, as_given, of_input


def rewritten(dtype: str) -> Iterator[Rewritten]:
    """What compilers have got wrong: the loss of a sigmoid, without its clamp."""
    # tensorflow#118313. These are 0 and 1 to the last bit, whatever the dtype.
    certain = {
        "input": np.asarray([0.0, 0.0, 1.0, 1.0]),
        "target": np.asarray([0.0, 1.0, 0.0, 1.0]),
        "weight": None,
        "reduction": "none",
    }
    yield Rewritten(
        name="binary_cross_entropy of a sigmoid",
        judged=certain,
        given={**certain, "input": np.asarray([-1000.0, -1000.0, 1000.0, 1000.0])},
        before=lambda x: x.sigmoid(),
    )


OPERATOR = Operator(
    name="binary_cross_entropy",
    family=elements.ELEMENTS,
    forward=reference.binary_cross_entropy,
    backward=reference.binary_cross_entropy_backward,
    function="torch.nn.functional.binary_cross_entropy",
    draw=elements.draw,
    differentiable=elements.differentiable,
    options=elements.OPTIONS,
    settle=as_given,
    output_dtype=of_input,
    result_shape=elements.result_shape,
    values=distributions.PROBABILITIES,
    shapes=elements.SHAPES,
    sizes=elements.sizes("certain_probabilities"),
    domain=Domain(
        values=distributions.EXTREME_PROBABILITIES,
        options=elements.EXTREME_OPTIONS,
        dtypes=mixed(
            ("float16,bfloat16,float64", "weight=float32", {"weight": "full"}),
            ("float16,bfloat16,float32", "weight=float64", {"weight": "last dimension"}),
        ),
        copies={"forward": 3, "gradients": 7},
    ),
    layouts=Layouts(result="kept", views=elements.VIEWS),
    identities=identities.of_elements("plain", of_logits=False),
    bits=bits.of_elements(bits.probabilities, weights=("weight",)),
    rewritten=rewritten,
    clamps=True,
    autocast=Autocast(cpu=SINGLE, cuda=REFUSED),  # its gradient does not fit float16
    modules=Modules(name="BCELoss", of_images=Gap("each element stands for itself")),
    compiled=(
        Compiled((4, 9), "confident_probabilities", {"weight": "full", "target": "soft"}),
        Compiled((17,), "boundary_probabilities", {"reduction": "none", "target": "hard"}),
    ),
    sample_inputs="nn.functional.binary_cross_entropy",
)
