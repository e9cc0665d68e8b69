"""Who may call and do what, and what proves that a prediction is ours: pure but for reading files."""

from rankd.auth.auth_file import digest_of, parse_credentials, read_credentials
from rankd.auth.caller import ANYBODY, Caller
from rankd.auth.credentials import Credential, Credentials, Quota, Role
from rankd.auth.exposure import check_exposure
from rankd.auth.reloading_file import Contents, FileWatch, FollowedState, ReloadingFile, read_secret
from rankd.auth.signing_keys import SigningKeys, parse_keys, read_keys

__all__ = [
    "ANYBODY",
    "Caller",
    "Contents",
    "Credential",
    "Credentials",
    "FileWatch",
    "FollowedState",
    "Quota",
    "ReloadingFile",
    "Role",
    "SigningKeys",
    "check_exposure",
    "digest_of",
    "parse_credentials",
    "parse_keys",
    "read_credentials",
    "read_keys",
    "read_secret",
]
