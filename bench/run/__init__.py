"""One run of bench, ready or tune: train, judge, record, report."""
