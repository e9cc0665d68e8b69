"""Who may call and do what, and what proves that a prediction is ours: pure but for reading two files."""

from rankd.auth.book import Book, Credential, Quota, Role
from rankd.auth.caller import ANYBODY, Caller
from rankd.auth.exposure import check_exposure
from rankd.auth.file import digest_of, read_book
from rankd.auth.followed import Followed, Stamp, stamp_of
from rankd.auth.keys import Keys, read_keys

__all__ = [
    "ANYBODY",
    "Book",
    "Caller",
    "Credential",
    "Followed",
    "Keys",
    "Quota",
    "Role",
    "Stamp",
    "check_exposure",
    "digest_of",
    "read_book",
    "read_keys",
    "stamp_of",
]
