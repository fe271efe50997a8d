"""Several layers: the token form, and its identities with the last two layers by vectors."""

from collections.abc import Iterator

from icl.benchmarks.settings import Settings
from icl.benchmarks.steps import (
    LossBy,
    by_gram_of_layers,
    by_tokens_of_layers,
    last_form,
    token_form,
    training_step,
)
from icl.benchmarks.timing import Candidate, Ratio, Table

FORMS = {
    "token form": token_form,
    "tokens, then vectors": by_tokens_of_layers,
    "Gram matrix, then vectors": by_gram_of_layers,
    "last": last_form,
}
BASE = "token form, M=1"
LAYERS, MEMBERS = (2, 4), (1, 8)


def run(settings: Settings) -> Iterator[Table]:
    for n_layers in settings.L or LAYERS:
        forms = [(name, form, 1) for name, form in FORMS.items()]
        forms += [("last", last_form, members) for members in settings.M or MEMBERS if members > 1]
        candidates = [
            Candidate(
                name=f"{name}, M={members}",
                call=training_step(settings, members, n_layers=n_layers, objective=LossBy(guess=form)),
                work=members,
                ratios=[] if name == "token form" else [Ratio(to=BASE)],
            )
            for name, form, members in forms
        ]
        yield settings.table(
            f"{n_layers} layers, shared stream, d={settings.d} N={settings.N} batch {settings.B}", candidates
        )
