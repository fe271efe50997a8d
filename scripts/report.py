"""`scripts/lab report DIR`: draw the report of a run folder, or of a sweep."""

from icl.pipelines.catalogue import plain_main, report

if __name__ == "__main__":
    plain_main(report)
