"""The pytest interface: one plugin, made of modules that each do one thing."""

import torch_loss_parity.plugin.start  # noqa: F401  before torch

pytest_plugins = (
    "torch_loss_parity.plugin.supervised",
    "torch_loss_parity.plugin.lost_device",
    "torch_loss_parity.plugin.observing",
    "torch_loss_parity.plugin.options",
    "torch_loss_parity.plugin.expectations",
    "torch_loss_parity.plugin.selection",
    "torch_loss_parity.plugin.fixtures",
    "torch_loss_parity.plugin.integrity",
    "torch_loss_parity.plugin.known",
    "torch_loss_parity.plugin.records",
    "torch_loss_parity.plugin.dtype_rotation",
    "torch_loss_parity.audit.plugin",
)
