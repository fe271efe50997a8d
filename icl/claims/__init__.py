"""What a result must show, and whether it does, over seeds.

A failed claim is a result. It is reported with the seeds that fail it, never hidden, and its bound stays.
"""

from icl.claims.claim import Claim, metrics, read, unknown_metrics
from icl.claims.judgement import Judgement, judge, line, record

__all__ = ["Claim", "Judgement", "judge", "line", "metrics", "read", "record", "unknown_metrics"]
