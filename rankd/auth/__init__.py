"""Who may call and do what, and what proves that a prediction is ours: pure but for reading two files."""

from rankd.auth.auth_file import digest_of, read_credentials
from rankd.auth.caller import ANYBODY, Caller
from rankd.auth.credentials import Credential, Credentials, Quota, Role
from rankd.auth.exposure import check_exposure
from rankd.auth.reloading_file import ReloadingFile, Stamp, stamp_of
from rankd.auth.signing_keys import SigningKeys, read_keys

__all__ = [
    "ANYBODY",
    "Caller",
    "Credential",
    "Credentials",
    "Quota",
    "ReloadingFile",
    "Role",
    "SigningKeys",
    "Stamp",
    "check_exposure",
    "digest_of",
    "read_credentials",
    "read_keys",
    "stamp_of",
]
