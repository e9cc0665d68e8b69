"""Who may call and do what, and what proves that a prediction is ours: pure but for reading two files."""

from rankd.auth.auth_file import digest_of, read_book
from rankd.auth.caller import ANYBODY, Caller
from rankd.auth.credentials import Book, Credential, Quota, Role
from rankd.auth.exposure import check_exposure
from rankd.auth.reloading_file import Followed, Stamp, stamp_of
from rankd.auth.signing_keys import Keys, read_keys

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
