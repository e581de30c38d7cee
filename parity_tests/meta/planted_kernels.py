"""Kernels as people ship them, each wrong in one way: files that need torch alone.

Each stands for a kind of claim, or for one of its checks whose failure is another one to reproduce.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Planted:
    """A wrong kernel.

    Attributes
    ----------
    claim : str
        The kind of claim that it breaks.
    operator : str
    source : str
        The file, without its import of torch.
    evidence : str
        A pattern of what its reproduction script prints.
    """

    claim: str
    operator: str
    source: str
    evidence: str


NUMBERS = r"WRONG"
PLANTED = {
    "a result that is off": Planted(
        "forward",
        "softmax",
        "def softmax(input, dim, dtype=None):\n    return torch.softmax(input, dim, dtype) * 1.01",
        NUMBERS,
    ),
    "a function that takes fewer arguments": Planted(
        "forward",
        "softmax",
        "def softmax(input, dim):\n    return torch.softmax(input, dim) * 1.01",
        NUMBERS,
    ),
    "a function that takes fewer arguments and writes to one": Planted(
        "hygiene",
        "softmax",
        """
def softmax(input, dim):
    result = torch.softmax(input, dim)
    input.data.add_(1)
    return result
""",
        "HAS CHANGED",
    ),
    "a result of another dtype": Planted(
        "forward",
        "softmax",
        "def softmax(input, dim, dtype=None):\n    return torch.softmax(input, dim, dtype).double()",
        r"torch\.float64",
    ),
    "an exception": Planted(
        "forward",
        "softmax",
        "def softmax(input, dim, dtype=None):\n    raise KeyError('no such kernel')",
        "KeyError: 'no such kernel'",
    ),
    "a gradient that is off": Planted(
        "gradients",
        "log_softmax",
        """
class LogSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx, input, dim):
        output = torch.log_softmax(input, dim)
        ctx.dim = dim
        ctx.save_for_backward(output)
        return output

    @staticmethod
    def backward(ctx, grad):
        (output,) = ctx.saved_tensors
        return grad - output.exp() * grad.sum(ctx.dim, keepdim=True) * 0.99, None

def log_softmax(input, dim, dtype=None):
    return LogSoftmax.apply(input if dtype is None else input.to(dtype), dim)
""",
        NUMBERS,
    ),
    "a second derivative that is off": Planted(
        "second_order",
        "softmax",
        """
class Softmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx, input, dim):
        output = torch.softmax(input, dim)
        ctx.dim = dim
        ctx.save_for_backward(output)
        return output

    @staticmethod
    def backward(ctx, grad):
        p = ctx.saved_tensors[0].detach()  # a constant, for who differentiates once more
        at = (grad * (p > 0.5)).sum(ctx.dim, keepdim=True)
        return p * (grad - at - ((grad - at) * p).sum(ctx.dim, keepdim=True)), None

def softmax(input, dim, dtype=None):
    return Softmax.apply(input if dtype is None else input.to(dtype), dim)
""",
        NUMBERS,
    ),
    "arguments that are accepted": Planted(
        "errors",
        "nll_loss",
        """
def nll_loss(input, target, weight=None, ignore_index=-100, reduction="mean"):
    if reduction not in ("none", "mean", "sum"):
        reduction = "mean"
    return torch.nn.functional.nll_loss(
        input, target, weight, ignore_index=ignore_index, reduction=reduction
    )
""",
        "ACCEPTED",
    ),
    "a row of -inf": Planted(
        "semantics",
        "softmax",
        "def softmax(input, dim, dtype=None):\n    return torch.softmax(input, dim, dtype).nan_to_num()",
        NUMBERS,
    ),
    "rows that are long": Planted(
        "domain",
        "softmax",
        """
def softmax(input, dim, dtype=None):
    output = torch.softmax(input, dim, dtype)
    return output * 1.01 if input.ndim and input.shape[dim] > 128 else output
""",
        NUMBERS,
    ),
    "a graph that is retained": Planted(
        "modes",
        "softmax",
        """
class Softmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx, input, dim):
        output = torch.softmax(input, dim)
        ctx.dim, ctx.passes = dim, 0
        ctx.save_for_backward(output)
        return output

    @staticmethod
    def backward(ctx, grad):
        ctx.passes += 1
        (p,) = ctx.saved_tensors
        at = (grad * (p > 0.5)).sum(ctx.dim, keepdim=True)
        return ctx.passes * p * (grad - at - ((grad - at) * p).sum(ctx.dim, keepdim=True)), None

def softmax(input, dim, dtype=None):
    return Softmax.apply(input if dtype is None else input.to(dtype), dim)
""",
        NUMBERS,
    ),
    "strides that are taken for granted": Planted(
        "layouts",
        "softmax",
        """
def softmax(input, dim, dtype=None):
    contiguous, stride = [], 1
    for n in reversed(input.shape):
        contiguous.insert(0, stride)
        stride *= n
    return torch.softmax(input.as_strided(input.shape, contiguous, input.storage_offset()), dim, dtype)
""",
        NUMBERS,
    ),
    "an argument that is written to": Planted(
        "hygiene",
        "nll_loss",
        """
def nll_loss(input, target, weight=None, ignore_index=-100, reduction="mean"):
    result = torch.nn.functional.nll_loss(
        input, target, weight, ignore_index=ignore_index, reduction=reduction
    )
    target.clamp_(min=0)
    return result
""",
        "target HAS CHANGED",
    ),
    "memory that is handed out twice": Planted(
        "hygiene",
        "softmax",
        """
buffers = {}

def softmax(input, dim, dtype=None):
    output = torch.softmax(input, dim, dtype)
    if input.requires_grad:
        return output
    kept = buffers.setdefault((output.shape, output.dtype), torch.empty_like(output))
    return kept.copy_(output)
""",
        "LIES IN THE MEMORY of",
    ),
    "results that are kept by shape": Planted(
        "hygiene",
        "softmax",
        """
kept = {}

def softmax(input, dim, dtype=None):
    if input.requires_grad:
        return torch.softmax(input, dim, dtype)
    key = input.shape, input.dtype, dim, dtype
    if key not in kept:
        kept[key] = torch.softmax(input, dim, dtype)
    return kept[key].clone()
""",
        NUMBERS,
    ),
    "a row that does not sum to 1": Planted(
        "identities",
        "softmax",
        "def softmax(input, dim, dtype=None):\n    return torch.softmax(input, dim, dtype) * 1.01",
        NUMBERS,
    ),
    "a loss whose classes have an order": Planted(
        "identities",
        "cross_entropy",
        """
def cross_entropy(input, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    loss = torch.nn.functional.cross_entropy(
        input, target, weight, ignore_index=ignore_index, reduction=reduction,
        label_smoothing=label_smoothing,
    )
    return loss + input[:, :1].sum() * 1e-3
""",
        NUMBERS,
    ),
    "a batching rule": Planted(
        "transforms",
        "softmax",
        """
class Softmax(torch.autograd.Function):
    @staticmethod
    def forward(input, dim):
        return torch.softmax(input, dim)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.dim = inputs[1]
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx, grad):
        (p,) = ctx.saved_tensors
        return p * (grad - (grad * p).sum(ctx.dim, keepdim=True)), None

    @staticmethod
    def vmap(info, in_dims, input, dim):
        moved = input.movedim(in_dims[0], 0)
        first = Softmax.apply(moved[:1], dim if dim < 0 else dim + 1)
        return first.expand_as(moved).clone(), 0  # that of the first sample, for all

def softmax(input, dim, dtype=None):
    return Softmax.apply(input if dtype is None else input.to(dtype), dim)
""",
        NUMBERS,
    ),
    "an exception under vmap": Planted(
        "transforms",
        "softmax",
        """
def softmax(input, dim, dtype=None):
    if torch._C._functorch.is_batchedtensor(input):
        raise KeyError("no batching rule")
    return torch.softmax(input, dim, dtype)
""",
        "KeyError: 'no batching rule'",
    ),
    "bits that change": Planted(
        "bits",
        "softmax",
        """
def softmax(input, dim, dtype=None):
    output = torch.softmax(input, dim, dtype)
    return output * (1 + torch.finfo(output.dtype).eps * torch.randint(0, 64, (), dtype=output.dtype))
""",
        "OTHER BITS",
    ),
}
