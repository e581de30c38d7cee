"""linear_cross_entropy: cross_entropy of the logits of a linear layer, of class indices or of probabilities.

The shape of a case is that of the logits; see
`torch_loss_parity.operators.families.linear_classes`.
"""

from __future__ import annotations

from torch_loss_parity import reference
from torch_loss_parity.cases import factors
from torch_loss_parity.operators import linear_cross_entropy_refusals, linear_cross_entropy_semantics
from torch_loss_parity.operators.cross_entropy import PROBABILITIES
from torch_loss_parity.operators.facets import SINGLE, Autocast, Compiled, Domain, Gap, Layouts
from torch_loss_parity.operators.facets_audit import Audited
from torch_loss_parity.operators.facets_workload import INPUT, WHOLE_INPUT, Workload
from torch_loss_parity.operators.families import audits, classes, identities, linear_classes, workloads
from torch_loss_parity.operators.record import Operator, of_input
from torch_loss_parity.reference.ways import ways_of

OPERATOR = Operator(
    name="linear_cross_entropy",
    family=linear_classes.LINEAR_CLASSES,
    forward=reference.linear_cross_entropy,
    backward=reference.linear_cross_entropy_backward,
    ways=ways_of("linear_cross_entropy"),
    second_order=("linear_cross_entropy_double_backward", "linear_cross_entropy_jvp"),
    function="torch.nn.functional.linear_cross_entropy",
    draw=linear_classes.draw,
    differentiable=linear_classes.differentiable,
    options=linear_classes.OPTIONS,
    extensions=classes.EXTENSIONS,
    reconcile=linear_classes.reconcile,
    output_dtype=of_input,
    result_shape=linear_classes.result_shape,
    values=factors.FACTORS,
    shapes=linear_classes.SHAPES,
    sizes=linear_classes.SIZES,
    domain=Domain(
        values=factors.EXTREME_FACTORS,
        marked="equal_products_but_one",
        masked=Gap("a weight of -inf times a gradient of 0 is nan"),
        options=linear_classes.EXTREME_OPTIONS,
        dtypes=Gap("torch refuses factors of two dtypes; targets and weights of others are cross_entropy's"),
        copies={"forward": 3, "gradients": 6},
    ),
    semantics=tuple(linear_cross_entropy_semantics.semantics()),
    promotions=Gap("torch refuses factors of two dtypes; targets and weights of others are cross_entropy's"),
    refusals=tuple(linear_cross_entropy_refusals.refusals()),
    layouts=Layouts(result="contiguous", views=linear_classes.VIEWS),
    identities=identities.of_linear_classes(),
    bits=Gap(
        "a matrix product has the bits of its library, which chooses an order by shape, alignment and threads"
    ),
    rewritten=Gap("no rewrite of a compiler around it is known to have gone wrong"),
    clamps=False,
    autocast=Autocast(cpu=SINGLE, cuda=SINGLE, factors=("input", "linear_weight", "linear_bias")),
    modules=Gap("torch.nn.LinearCrossEntropyLoss holds a layer of its own, which no call can give it"),
    compiled=(
        Compiled((7, 33), "products", {"weight": "positive", "ignored": "some", "linear_bias": "any_sign"}),
        Compiled((3, 5, 2), "wide_products", {"reduction": "sum", **PROBABILITIES}),
    ),
    sample_inputs="nn.functional.linear_cross_entropy",
    log_probabilities=Gap("cross_entropy of the logits, without reduction, is what is compared"),
    audit=Audited(
        telling=audits.TELLING_PRODUCTS,
        scales=(),
        base=audits.LAYER_BASE,
        paths=(
            {"reduction": "none", "linear_bias": "any_sign"},
            {"reduction": "none", "weight": "positive"},
            {"reduction": "none", "label_smoothing": 0.1},
            {"reduction": "none", "target": "probabilities"},
            {"reduction": "mean", "ignored": "some"},
        ),
        probabilities=(),
        shortened=Gap("a logit is a sum of products, and no logarithm of a count is added to it"),
        every_number=Gap("a logit is a sum of products of two numbers at least"),
        features=audits.LAYER_FEATURES,
        logits=audits.logits_of_a_layer,
    ),
    workload=Workload(
        values="products",
        options={"features": 64},
        variants={"probabilities": {"target": "probabilities"}},
        exponentials=(1, 1),
        reads=WHOLE_INPUT,
        gradient_from=INPUT,
        beside=workloads.target_and_class_weights,
        scipy=Gap("scipy.special has no linear_cross_entropy"),
        operands=workloads.input_and_layer,
        products=(1, 2),
    ),
)
