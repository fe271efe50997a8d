"""One model of one layer: its whole step by the plain form and by the fast ones.

References:
    von Oswald et al. 2022, Transformers learn in-context by gradient descent, arXiv:2212.07677 (the sizes)
"""

from collections.abc import Iterator

from icl.benchmarks.settings import Settings
from icl.benchmarks.steps import LossBy, by_gram, by_vectors, last_form, token_form, training_step
from icl.benchmarks.timing import Candidate, Ratio, Table

FORMS = {"token form": token_form, "Gram matrix": by_gram, "vectors": by_vectors, "last": last_form}
BASE, GOAL = "token form", 4.0  # the model's own choice takes at most a quarter of the plain form's time


def run(settings: Settings) -> Iterator[Table]:
    def ratios(name: str) -> list[Ratio]:
        goal = settings.goal(GOAL) if name == "last" else None
        return [] if name == BASE else [Ratio(to=BASE, at_least=goal)]

    candidates = [
        Candidate(name=name, call=training_step(settings, objective=LossBy(guess=form)), ratios=ratios(name))
        for name, form in FORMS.items()
    ]
    yield settings.table(f"one layer, one model, d={settings.d} N={settings.N} batch {settings.B}", candidates)
