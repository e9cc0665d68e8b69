"""From the completion log to a better ranker in service, as one run that can be killed at any point.

Apart from the daemon, as training is. What it stands on (training, connections, installing) is handed to it by the
command line, so that it holds the order of the steps, what is kept between runs, and the decisions
(docs/adr/0032-retraining.md).
"""
