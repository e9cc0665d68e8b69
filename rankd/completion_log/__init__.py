"""The completion log: prompts and what became of them, kept for retraining and for comparing candidates.

Off unless a directory is set. pyarrow is imported only where it is on. docs/guides/completion-log.md has what is in it.
"""

from rankd.completion_log.log import CompletionLog, open_log
from rankd.completion_log.records import LoggedCompletion

__all__ = ["CompletionLog", "LoggedCompletion", "open_log"]
