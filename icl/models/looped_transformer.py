"""A few transformer layers in a loop, with the prompt added to their input every time.

References:
    Yang, Lee, Nowak, Papailiopoulos 2023, Looped transformers are better at learning learning algorithms,
    arXiv:2311.12424
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from icl.core import Prompt
from icl.models.arguments import at_least_one
from icl.models.decoder_predictor import DecoderPredictor
from icl.models.gpt_layers import Decoders, normed


class LoopedTransformer(DecoderPredictor):
    """z_0 = 0,   z_{t+1} = LN(f(z_t + e)),   f the layers of one GPT-style block, e the tokens of the prompt.

    A step is a loop. Entry t ≥ 1 of a trajectory is the read-out of z_t at the x tokens; entry 0 is 0. `n_loops` is
    the depth that is trained for; any other can be asked for. With `checkpoint` a loop stores its input alone and is
    computed again for the gradient.
    """

    def __init__(
        self,
        *,
        dim: int,
        n_context: int,
        n_loops: int = 8,
        n_layers: int = 1,
        width: int = 64,
        n_heads: int = 2,
        checkpoint: bool = False,
        n_seeds: int = 1,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        at_least_one(n_loops=n_loops)
        super().__init__(dim=dim, n_context=n_context, n_layers=n_layers, width=width, n_heads=n_heads,
                         n_seeds=n_seeds, device=device, dtype=dtype)  # fmt: skip
        self.n_loops, self.checkpoint = n_loops, checkpoint

    @property
    def n_passes(self) -> int:
        """How often the layers are applied: the loops."""
        return self.n_loops

    def every_prefix(
        self, x: Float[Tensor, "#M B P D"], y: Float[Tensor, "#M B P"], *, steps: int | None = None
    ) -> Float[Tensor, "T M B P"]:
        """The guess at every position after 0..steps loops.

        Raises:
            ValueError: `steps` < 0.
        """
        steps = self.n_loops if steps is None else steps
        if steps < 0:
            raise ValueError(f"steps={steps} must be >= 0")
        prior = x.new_zeros(1, self.gpt.n_seeds, *x.shape[1:3])
        return torch.cat([prior, self.passes(x, y, steps)]) if steps else prior

    def last_every_prefix(self, x: Float[Tensor, "#M B P D"], y: Float[Tensor, "#M B P"]) -> Float[Tensor, "M B P"]:
        """`every_prefix(x, y)[-1]`."""
        return self._loops(x, y, [False] * (self.n_loops - 1) + [True])[0]

    def passes(self, x: Float[Tensor, "#M B P D"], y: Float[Tensor, "#M B P"], n: int) -> Float[Tensor, "K M B P"]:
        """The guesses after loops 1..n."""
        return self._loops(x, y, [True] * n)

    def windowed(self, prompt: Prompt, *, n_loops: int, window: int) -> Float[Tensor, "K M B P"]:
        """The guesses at every position after the last `window` of `n_loops` loops; the others have no gradient.

        Raises:
            ValueError: no loops, or a window larger than the loops.
        """
        if not 1 <= window <= n_loops:
            raise ValueError(f"window={window} must be in 1..{n_loops}, the loops (n_loops={n_loops} must be >= 1)")
        x, y = prompt.positions()
        return self._loops(x, y, [False] * (n_loops - window) + [True] * window, window=window)

    def _loops(self, x: Tensor, y: Tensor, answers: list[bool], window: int | None = None) -> Float[Tensor, "K M B P"]:
        """One loop an entry of `answers`, which says whether its guess is wanted."""
        if not answers:
            raise ValueError("n=0 must be >= 1")
        free = 0 if window is None else len(answers) - window
        parts = [self._loop(*part, answers, free) for part in self.gpt.chunks(x, y)]
        return torch.cat(parts, dim=1)

    def _loop(self, decoders: Decoders, x: Tensor, y: Tensor, answers: list[bool], free: int) -> Tensor:
        """h_t = z_t + e goes in, n_t comes out, z_{t+1} = g ⊙ n_t + s; z is a constant at the start of the window."""
        e = decoders.embed(x, y)
        z, guesses = torch.zeros_like(e[:, :1]), []
        for t, answer in enumerate(answers):
            last = t == len(answers) - 1
            with torch.set_grad_enabled(torch.is_grad_enabled() and t >= free):
                n = self._once(decoders, z + e, last)
                z = z if last else decoders.affine(n)
                if answer:
                    guesses.append(decoders.guess(n if last else n[:, :, ::2]))
        return torch.stack(guesses)

    def _once(self, decoders: Decoders, h: Tensor, only_x: bool) -> Tensor:
        def once(h: Tensor) -> Tensor:
            return normed(decoders.stack(h, only_x=only_x))

        if self.checkpoint and torch.is_grad_enabled():
            return checkpoint(once, h, use_reentrant=False, preserve_rng_state=False)
        return once(h)
