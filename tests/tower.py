"""The runtime type checker of the tests: beartype with the numeric tower, because YAML writes 1 for 1.0."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
