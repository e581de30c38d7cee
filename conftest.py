"""Loads the pytest interface, which lives in parity_tests/plugin, and that of the benchmarks."""

pytest_plugins = ("torch_loss_parity.plugin.interface", "torch_loss_parity.benchmarks.plugin")
