"""Where a store is, and with which options it is opened: what is wrong is said before anything is stored there.

The names of the options are obstore's, which is imported only when a store is opened:
https://developmentseed.org/obstore/latest/api/store/aws/#obstore.store.S3Config (and GCSConfig, AzureConfig,
ClientConfig).
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from typing import Any

LOOKS = "must be the path of a folder, or look like s3://bucket, gs://bucket or az://container"
NO_SECRETS = (
    "takes no user, password, query or fragment: credentials come from the environment, or from bgtasks_store_options"
)


def _names(prefix: str, names: str) -> tuple[str, ...]:
    return tuple(prefix + name for name in names.split())


#: The options of each kind of bucket, by the scheme of its URL.
OPTIONS = {
    "s3": _names(
        "aws_",
        "access_key_id secret_access_key session_token role_arn role_session_name web_identity_token_file "
        "container_credentials_relative_uri container_credentials_full_uri container_authorization_token_file "
        "metadata_endpoint imdsv1_fallback region default_region endpoint virtual_hosted_style_request s3_express "
        "request_payer skip_signature unsigned_payload checksum_algorithm conditional_put copy_if_not_exists "
        "disable_tagging disable_bulk_delete server_side_encryption sse_kms_key_id sse_bucket_key_enabled "
        "sse_customer_key_base64",
    ),
    "gs": _names(
        "google_",
        "service_account service_account_key application_credentials bearer_token base_url skip_signature",
    ),
    "az": _names(
        "azure_",
        "storage_account_name storage_account_key storage_sas_key storage_token storage_client_id "
        "storage_client_secret storage_tenant_id storage_authority_host storage_endpoint storage_use_emulator "
        "client_id client_secret tenant_id authority_host credential_type endpoint msi_endpoint object_id "
        "msi_resource_id federated_token_file use_fabric_endpoint fabric_token_service_url fabric_workload_host "
        "fabric_session_token fabric_cluster_identifier use_azure_cli skip_signature disable_tagging",
    ),
}
#: What options that are addresses end with; ``proxy_url``, which may have a password, is told to nobody.
ADDRESSES = ("endpoint", "base_url", "_host", "_service_url", "_uri")
#: Options that have more than one line.
DOCUMENTS = ("root_certificate", "proxy_ca_certificate", "google_service_account_key")
#: What any of them may be told about its connections.
CLIENT = _names(
    "",
    "allow_http allow_invalid_certificates connect_timeout http1_only http2_only pool_idle_timeout "
    "pool_max_idle_per_host proxy_url proxy_ca_certificate proxy_excludes randomize_addresses read_timeout "
    "root_certificate timeout user_agent",
)


def scheme(url: str) -> str:
    """``s3``, ``gs`` or ``az``; ``""`` for a folder."""
    return url.partition("://")[0] if "://" in url else ""


def checked(url: object) -> str:
    """The same as text. Raises: ValueError, which does not show it, since it may hold a password."""
    text = os.fspath(url) if isinstance(url, os.PathLike) else url
    if not isinstance(text, str) or not text or "\0" in text:
        raise ValueError(LOOKS)
    if kind := scheme(text):
        bucket = text.partition("://")[2].partition("/")[0]
        if "@" in bucket or "?" in text or "#" in text:
            raise ValueError(NO_SECRETS)
        if kind not in OPTIONS or not bucket:
            raise ValueError(LOOKS)
    return text


def options_of(url: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """What a bucket is opened with: of what is said for all what fits it, and what is said for it and its like.

    :param options: ``bgtasks_store_options``, checked.
    """
    fitting = {*OPTIONS.get(scheme(url), ()), *CLIENT}
    beginnings = sorted(
        (name for name in options if isinstance(options[name], Mapping) and _covers(name, url)), key=len
    )
    said = [options, *(options[name] for name in beginnings)]  # the longest has the last word
    return {name: value for some in said for name, value in some.items() if name in fitting}


def _covers(beginning: str, url: str) -> bool:
    return f"{url}/".startswith(f"{beginning.rstrip('/')}/")


def check_options(options: object) -> dict[str, Any]:
    """``bgtasks_store_options`` as obstore takes them. Raises: ValueError, which names the option and no value."""
    if not isinstance(options, Mapping):
        raise ValueError("must be a mapping of options, or of the beginnings of URLs to such mappings")
    return {str(name): _checked_option(name, value) for name, value in options.items()}


def _checked_option(name: object, value: Any) -> Any:
    if not isinstance(value, Mapping):
        return _checked_value(name, value, [known for names in OPTIONS.values() for known in names])
    try:
        kind = scheme(checked(name))
    except ValueError as error:
        raise ValueError(f"the beginning of a URL {error}") from None
    if not kind:
        raise ValueError("a folder has no options: name a bucket, such as s3://bucket")
    return {
        str(inner): _checked_value(inner, of, OPTIONS[kind], f" of a store of {kind}://") for inner, of in value.items()
    }


def _checked_value(name: object, value: object, known: Any, where: str = "") -> str | bool:
    if name not in known and name not in CLIENT:
        raise ValueError(f"{name!r} is no option{where}{_hint(str(name), [*known, *CLIENT])}")
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, bool | str):
        raise ValueError(f"{name!r} needs a text, a number, true or false")
    if isinstance(value, str) and not value.isprintable() and name not in DOCUMENTS:
        raise ValueError(f"{name!r} has a line break, or another character that is not printable")
    if isinstance(value, str) and str(name).endswith(ADDRESSES) and _has_user(value):
        raise ValueError(f"{name!r} takes no user and no password: it is shown where it does not answer")
    return value


def _has_user(address: str) -> bool:
    return "@" in address.partition("://")[2].partition("/")[0]


def _hint(name: str, known: list[str]) -> str:
    unprefixed = [each for each in known if each.endswith(f"_{name}")]
    nearest = unprefixed or difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f": did you mean {nearest[0]!r}?" if nearest else ""
