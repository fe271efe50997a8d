"""Random numbers as a pure function of (seed, name, step, rank): no global state, so a resumed run is exact."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor


def stream_seed(seed: int, name: str, step: int, rank: int) -> int:
    """A 63-bit hash of the stream's name.

    torch's CPU generator (Mersenne twister) uses its low 32 bits, so two of K streams coincide with
    probability K^2 / 2^33; what happens then is that one batch comes twice.
    """
    digest = hashlib.blake2b(f"{seed}/{name}/{step}/{rank}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


@dataclass(frozen=True)
class Draw:
    """A source of tensors with a leading bank axis: member m reads the stream of `seeds[m]` alone.

    One seed is one stream: a lone member, or data shared by a whole bank. Successive calls on one Draw go on in the
    stream, so what a task draws depends on the order of its calls, never on who else is in the bank.
    """

    seeds: Sequence[int]
    name: str
    step: int = 0
    rank: int = 0
    device: torch.device | str = "cpu"
    dtype: torch.dtype = torch.float32
    _generators: list[torch.Generator] = field(default_factory=list, repr=False, compare=False)

    def at(self, step: int, name: str | None = None) -> "Draw":
        """The same streams, fresh, at another step (and under another name)."""
        return replace(self, step=step, name=self.name if name is None else name, _generators=[])

    def normal(self, *shape: int) -> Tensor:
        """Standard normal, (M, *shape)."""
        return self._fill(torch.Tensor.normal_, shape)

    def uniform(self, *shape: int) -> Tensor:
        """Uniform on [0, 1), (M, *shape)."""
        return self._fill(torch.Tensor.uniform_, shape)

    def gamma(self, shape: float, *sizes: int) -> Tensor:
        """Gamma of the given shape and scale 1, (M, *sizes)."""

        def fill(out: Tensor, generator: torch.Generator) -> Tensor:
            return out.copy_(torch._standard_gamma(torch.full_like(out, shape), generator=generator))

        return self._fill(fill, sizes)

    def integers(self, high: int, *shape: int) -> Tensor:
        """Uniform on 0..high-1 as int64, (M, *shape)."""
        return self._fill(lambda out, generator: out.random_(0, high, generator=generator), shape, torch.int64)

    def permutations(self, n_rows: int, n: int) -> Tensor:
        """n_rows permutations of 0..n-1 a member, (M, n_rows, n)."""
        return self.uniform(n_rows, n).argsort(dim=-1)

    def _fill(self, fill: Callable[..., Tensor], shape: tuple[int, ...], dtype: torch.dtype | None = None) -> Tensor:
        if not self._generators:
            for seed in self.seeds:
                generator = torch.Generator(device=self.device)
                generator.manual_seed(stream_seed(seed, self.name, self.step, self.rank))
                self._generators.append(generator)
        out = torch.empty(len(self.seeds), *shape, device=self.device, dtype=dtype or self.dtype)
        for member, generator in zip(out.unbind(0), self._generators, strict=True):
            fill(member, generator=generator)
        return out
