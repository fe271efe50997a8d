"""The largest eigenvalues of every member's Hessian with their vectors: exactly, or from products alone by Lanczos.

References:
    Lanczos 1950; full reorthogonalisation as in Golub & Van Loan, Matrix Computations, 10.3
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from icl.probes.loss_surface import LARGEST_EXACT, LossSurface, Product

Method = Literal["auto", "exact", "products"]
TOLERANCE = 1e-6  # of a Ritz pair's residual, over the largest eigenvalue
CHECK_EVERY = 8  # Lanczos steps between two looks at the residuals


def largest(
    surface: LossSurface, theta: Float[Tensor, "M F"], k: int, method: Method = "auto"
) -> tuple[Float[Tensor, "M K"], Float[Tensor, "M F K"]]:
    """The k algebraically largest eigenvalues, falling, and their vectors. `auto`: exact while that is small.

    A member whose training has diverged, so that its Hessian is not finite, gets nan.

    Raises:
        ValueError: `method` is exact, and the Hessian too large; or k is more than the parameters.
    """
    size = surface.n_parameters
    if not 1 <= k <= size:
        raise ValueError(f"k={k} eigenvectors must be in 1..{size}, the parameters of a member")
    few = 20 * k < size  # then Lanczos needs fewer products than there are columns
    if method == "exact" or (method == "auto" and size <= LARGEST_EXACT and not few):
        H = surface.hessian(theta)
        finite = H.isfinite().flatten(1).all(1)
        values, vectors = torch.linalg.eigh(torch.where(finite[:, None, None], H, 0.0))
        return _or_nan(finite, values.flip(-1)[:, :k], vectors.flip(-1)[..., :k])
    product = surface.products(theta)
    finite = product(torch.ones_like(theta)).isfinite().all(1)

    def kept(v: Float[Tensor, "M F"]) -> Float[Tensor, "M F"]:
        return torch.where(finite[:, None], product(v), 0.0)

    return _or_nan(finite, *lanczos(kept, torch.ones_like(theta), k))


def _or_nan(finite: Tensor, values: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
    where = finite[:, None]
    return torch.where(where, values, torch.nan), torch.where(where[..., None], vectors, torch.nan)


def lanczos(product: Product, like: Float[Tensor, "M F"], k: int) -> tuple[Tensor, Tensor]:
    """As `largest`, from products alone; every member has its own Krylov space, all are advanced together."""
    generator = torch.Generator().manual_seed(0)

    def fresh() -> Tensor:
        return torch.randn(like.shape, generator=generator, dtype=like.dtype).to(like.device)

    basis, diagonal, beside = [_unit(fresh())], [], []
    while True:
        w = product(basis[-1])
        diagonal.append((basis[-1] * w).sum(1))
        w, size = _orthogonal(w, basis), diagonal[0].abs() + diagonal[-1].abs()
        beta = w.norm(dim=1)
        closed = beta <= 1e-12 * size + 1e-300  # an invariant subspace: go on beside it
        n = len(diagonal)
        if n == like.shape[1] or (n > k and n % CHECK_EVERY == 0) or bool(closed.all()):
            values, vectors = torch.linalg.eigh(_tridiagonal(diagonal, beside))
            residual = (beta[:, None] * vectors[:, -1].abs())[:, -k:]
            done = (residual <= TOLERANCE * values.abs().amax(1, keepdim=True)).all()
            if n == like.shape[1] or (n >= k and bool(done)):
                vectors = torch.stack(basis, dim=-1) @ vectors
                return values.flip(-1)[:, :k], vectors.flip(-1)[..., :k]
        beside.append(torch.where(closed, 0.0, beta))
        basis.append(_unit(torch.where(closed[:, None], _orthogonal(fresh(), basis), w)))


def _orthogonal(w: Float[Tensor, "M F"], basis: list[Tensor]) -> Float[Tensor, "M F"]:
    """`w` without its part in the basis; twice, because once leaves rounding in it."""
    V = torch.stack(basis, dim=-1)
    for _ in range(2):
        w = w - torch.einsum("mfk,mgk,mg->mf", V, V, w)
    return w


def _tridiagonal(diagonal: list[Tensor], beside: list[Tensor]) -> Float[Tensor, "M n n"]:
    T = torch.diag_embed(torch.stack(diagonal, dim=-1))
    if beside:
        off = torch.stack(beside, dim=-1)
        T = T + torch.diag_embed(off, offset=1) + torch.diag_embed(off, offset=-1)
    return T


def _unit(w: Float[Tensor, "M F"]) -> Float[Tensor, "M F"]:
    return w / w.norm(dim=1, keepdim=True)


def share_within(g: Float[Tensor, "... F"], space: Float[Tensor, "... F K"]) -> Float[Tensor, "..."]:
    """|Vᵀ g|² / |g|² for orthonormal columns V: K/F on average for a g that knows nothing of V."""
    inside = torch.einsum("...fk,...f->...k", space, g).square().sum(-1)
    return inside / g.square().sum(-1)


def overlap(a: Float[Tensor, "M F K"], b: Float[Tensor, "M F K"]) -> Float[Tensor, "M"]:
    """|Aᵀ B|²_F / K of two spaces: 1 for the same one."""
    return (a.mT @ b).square().sum((-2, -1)) / a.shape[-1]
