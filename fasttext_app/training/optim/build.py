"""Choose the training step of a run: ``torch.optim``, compiled for the CPU, or Triton on CUDA."""

from __future__ import annotations

from fasttext_app.config.rules import unsupported_by_fused
from fasttext_app.config.schema import Config
from fasttext_app.errors import MissingDependencyError
from fasttext_app.model.classifier import FastTextClassifier
from fasttext_app.training.losses import Loss
from fasttext_app.training.optim.cpu_step import CpuStep
from fasttext_app.training.optim.cuda_step import CudaStep
from fasttext_app.training.optim.sharded_step import ShardedTorchStep, sharded_step
from fasttext_app.training.optim.step import Step
from fasttext_app.training.optim.torch_step import TorchStep


def build_step(model: FastTextClassifier, config: Config, loss: Loss) -> Step:
    """Return the step that ``optimizer.implementation`` asks for, on the model's device.

    Args:
        model: on the device where it is trained.
        config: the run's settings.
        loss: the loss of a batch.

    Raises:
        MissingDependencyError: a fused step is asked for on CUDA, and Triton is not installed.
    """
    implementation, on_cuda = config.optimizer.implementation, model.embedding.weight.is_cuda
    if model.shard is not None and on_cuda:
        implementation = "torch"  # Triton kernels update whole rows of whole tables only
    if implementation == "torch" or unsupported_by_fused(config):
        if model.shard is not None:
            return ShardedTorchStep(model, config, loss, model.shard)
        return TorchStep(model, config, loss)
    if not on_cuda:
        if model.shard is not None:
            return sharded_step(model, config, loss)
        return CpuStep(model, config, loss)
    try:
        return CudaStep(model, config, loss)
    except ImportError as error:
        if implementation == "auto":
            return TorchStep(model, config, loss)
        raise MissingDependencyError(
            f'optimizer.implementation = "fused" on CUDA needs Triton ({error}); '
            'install it, or set "auto"'
        ) from None
