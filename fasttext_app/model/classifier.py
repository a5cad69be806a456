"""The classifier: a bag of embeddings and an output layer, which is linear or an adaptive softmax.

Shapes: **N** ids in a batch, **B** texts, **V** table rows, **D** embedding dim, **C** classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from fasttext_app.config.schema import ModelConfig
from fasttext_app.core.arrays import F32, I64, Array, on_cache_lines
from fasttext_app.model.shard import Share


class AdaptiveSoftmax(nn.AdaptiveLogSoftmaxWithLoss):
    """Torch's adaptive softmax instead of a linear layer; see ``model/adaptive_softmax.py``.

    Its outputs are log-probabilities of the classes, the most frequent first. All weights start at
    zero except the projections of the tails: if they were zero too, neither they nor the layers
    behind them would ever get a gradient. They start like linear layers of torch, uniform in
    ±1/√dim.

    Args:
        dim: D.
        classes: C.
        cutoffs: the first rank of each cluster.
        div_value: the factor by which the dimensions shrink from cluster to cluster.
        generator: the source of the random projections.
    """

    def __init__(
        self,
        dim: int,
        classes: int,
        cutoffs: Sequence[int],
        div_value: float,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(dim, classes, cutoffs, div_value, head_bias=True)
        for name, values in self.named_parameters():
            nn.init.zeros_(values)
            if name.endswith(".0.weight"):
                nn.init.uniform_(values, -(dim**-0.5), dim**-0.5, generator=generator)

    @property
    def bias(self) -> nn.Parameter:
        """The bias of the head; tails have none."""
        return self.head.bias

    @property
    def out_features(self) -> int:
        """C."""
        return self.n_classes

    def losses(self, bags: Tensor, ranks: Tensor) -> Tensor:
        """Return the loss of each bag, [B], given the frequency ranks of the right classes, [B]."""
        log_probabilities: Tensor = super().forward(bags, ranks).output
        return -log_probabilities

    def forward(self, bags: Tensor) -> Tensor:  # type: ignore[override]  # as a linear layer does
        """Return the outputs of bags, [B, C]."""
        return self.log_prob(bags)


class FastTextClassifier(nn.Module):
    """``nn.EmbeddingBag`` over word and n-gram rows, and ``linear`` on top.

    ``linear`` is an ``nn.Linear`` or, with ``cutoffs``, an :class:`AdaptiveSoftmax`.

    The table starts uniform in ±1/dim and the linear layer at zero, as in fastText. A text without
    ids is the zero vector, so its logits are the bias.

    Args:
        rows: table rows (V).
        classes: classes (C).
        dim: embedding dim (D).
        mode: how the rows of a bag become one vector: ``mean``, ``sum`` or ``max``.
        sparse: whether the table's gradient is a sparse tensor.
        max_norm: rows with a larger norm are rescaled to it when they are looked up.
        norm_type: the p of that norm.
        scale_grad_by_freq: divide a row's gradient by how often it occurs in the batch; dense
            gradients only, and one backward pass for each forward pass.
        include_last_offset: whether offsets are [B + 1] (the design's form) or [B].
        padding_idx: a row that takes no part.
        cutoffs: the first rank of each cluster of an adaptive softmax; none: the layer is linear.
        div_value: the factor by which dimensions shrink in an adaptive softmax.
        generator: the source of the random initial table.
        shard: the part of the table that this process holds; None: all.
    """

    def __init__(
        self,
        rows: int,
        classes: int,
        dim: int = 10,
        *,
        mode: str = "mean",
        sparse: bool = True,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        include_last_offset: bool = True,
        padding_idx: int | None = None,
        cutoffs: Sequence[int] = (),
        div_value: float = 4.0,
        generator: torch.Generator | None = None,
        shard: Share | None = None,
    ) -> None:
        super().__init__()
        self.shard = shard
        table = (
            torch.from_numpy(on_cache_lines(max(rows, 1), dim)).uniform_(
                -1 / dim, 1 / dim, generator=generator
            )
            if shard is None
            else shard.draw(generator)
        )
        if padding_idx is not None:
            table[padding_idx] = 0
        self.embedding = nn.EmbeddingBag(
            len(table),
            table.shape[1],
            max_norm=max_norm,
            norm_type=norm_type,
            mode=mode,
            sparse=sparse,
            _weight=table,
            include_last_offset=include_last_offset,
            padding_idx=padding_idx,
        )
        with torch.random.fork_rng(devices=[]):  # leave torch's global generator untouched
            self.linear = (
                AdaptiveSoftmax(dim, classes, cutoffs, div_value, generator)
                if cutoffs
                else _zero_linear(dim, classes)
            )
        # EmbeddingBag's own scale_grad_by_freq divides by other rows' counts on the CPU
        # (pytorch issue 190063, in all releases up to 2.13), so the model does it here.
        self.scale_grad_by_freq = scale_grad_by_freq
        if scale_grad_by_freq:
            self.embedding.weight.register_hook(self._divide_by_occurrences)

    @classmethod
    def from_config(
        cls,
        config: ModelConfig,
        rows: int,
        classes: int,
        generator: torch.Generator | None = None,
        shard: Share | None = None,
    ) -> FastTextClassifier:
        """Build the model that a configuration describes."""
        return cls(
            rows,
            classes,
            config.dim,
            mode=config.mode,
            sparse=config.sparse,
            max_norm=config.max_norm,
            norm_type=config.norm_type,
            scale_grad_by_freq=config.scale_grad_by_freq,
            include_last_offset=config.include_last_offset,
            padding_idx=config.padding_idx,
            cutoffs=config.cutoffs or (),
            div_value=config.div_value,
            generator=generator,
            shard=shard,
        )

    def forward(
        self,
        indices: Tensor,
        offsets: Tensor | None = None,
        per_sample_weights: Tensor | None = None,
    ) -> Tensor:
        """Return the outputs of the output layer, [B, C]: logits, for most losses.

        Args:
            indices: the row ids of all texts end to end, [N]; or [B, L] for B texts of L ids each,
                without offsets.
            offsets: where each text begins, and the end of the last one, [B + 1].
            per_sample_weights: the weight of each id, in the shape of ``indices``; ``sum`` only.

        >>> model = FastTextClassifier(rows=5, classes=2, dim=3)
        >>> model(torch.tensor([4, 0, 4]), torch.tensor([0, 2, 2, 3])).shape  # an empty text too
        torch.Size([3, 2])
        """
        logits: Tensor = self.linear(self.bags(indices, offsets, per_sample_weights))
        return logits

    def bags(
        self,
        indices: Tensor,
        offsets: Tensor | None = None,
        per_sample_weights: Tensor | None = None,
    ) -> Tensor:
        """Return the vector of each text, [B, D]; the arguments match :meth:`forward`."""
        if self.scale_grad_by_freq:
            rows = range(len(self.embedding.weight)) if self.shard is None else self.shard.part[0]
            counts = indices.flatten().bincount(minlength=rows.stop)
            self._occurrences = counts[rows.start : rows.stop : rows.step]
        if self.shard is not None:
            assert offsets is not None
            return self.shard.bags(self.embedding, indices, offsets, per_sample_weights)
        vectors: Tensor = self.embedding(indices, offsets, per_sample_weights)
        return vectors

    def _divide_by_occurrences(self, gradient: Tensor) -> Tensor:
        return gradient / self._occurrences.clamp(min=1)[:, None]

    @torch.no_grad()
    def set_rows(self, rows: I64, vectors: F32, *, freeze: bool) -> None:
        """Put ``vectors`` [R, D] into the table at ``rows`` [R]; ``freeze`` keeps them as they are.

        A frozen row's gradient is set to zero, which leaves it unchanged under every optimizer
        here (none of them decays or carries momentum over a sparse table).
        """
        weight = self.embedding.weight
        if self.shard is not None:
            rows, vectors = self.shard.take(rows, vectors)
        weight[torch.from_numpy(rows)] = torch.from_numpy(vectors)
        if freeze:
            trained = torch.ones(len(weight), 1, dtype=weight.dtype)
            trained[torch.from_numpy(rows)] = 0
            self.register_buffer("trained_rows", trained, persistent=False)
            weight.register_hook(self._mask_gradient)

    def _mask_gradient(self, gradient: Tensor) -> Tensor:
        trained = self.trained_rows
        assert isinstance(trained, Tensor)
        if not gradient.is_sparse:
            return gradient * trained
        rows, values = gradient._indices(), gradient._values()
        return torch.sparse_coo_tensor(rows, values * trained[rows[0]], gradient.shape)

    @torch.no_grad()
    def grow_from(self, tensors: Mapping[str, Array], rows: I64) -> None:
        """Copy the weights of a smaller model; all other weights stay as they are.

        A folded model can have fewer columns than this one. Its classes have zero weights for the
        other columns here, so their logits stay the same.

        Args:
            tensors: its weights, in the form of :meth:`export_tensors`.
            rows: the row here of each of its table's rows; its classes are the first ones here.
        """
        assert isinstance(self.linear, nn.Linear)
        classes, dim = tensors["weight"].shape
        table = tensors["table"]
        if self.shard is not None:
            rows, table = self.shard.take(rows, table)
        self.embedding.weight[torch.from_numpy(rows), : table.shape[1]] = torch.tensor(table)
        self.linear.weight[:classes, :dim] = torch.from_numpy(tensors["weight"])
        self.linear.bias[:classes] = torch.from_numpy(tensors["bias"])

    @torch.no_grad()
    def export_tensors(self) -> dict[str, Array]:
        """Return the weights as NumPy arrays.

        They are ``table`` [V, D] with ``weight`` [C, D] and ``bias`` [C] of the linear layer, or
        the tensors of ``adaptive_softmax.tensor_shapes``.

        With ``max_norm``, every row is rescaled as its next lookup would rescale it.
        """
        table = self.embedding.weight.detach().cpu()
        if self.embedding.max_norm is not None:
            norms = table.norm(self.embedding.norm_type, dim=1, keepdim=True)
            scale = self.embedding.max_norm / (norms + 1e-7)
            table = torch.where(norms > self.embedding.max_norm, table * scale, table)
        layer = {name: value.cpu().numpy() for name, value in self.linear.state_dict().items()}
        whole = table.numpy() if self.shard is None else self.shard.collect(table.numpy())
        return {"table": whole, **layer}

    @torch.no_grad()
    def load_tensors(self, tensors: Mapping[str, Array]) -> None:
        """Take weights of the form of :meth:`export_tensors`."""
        self.embedding.weight.copy_(torch.from_numpy(tensors["table"]))
        for name, value in self.linear.state_dict().items():
            value.copy_(torch.from_numpy(tensors[name]))


def _zero_linear(dim: int, classes: int) -> nn.Linear:
    linear = nn.Linear(dim, classes)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear
