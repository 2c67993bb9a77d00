"""MSAL for Python and its extensions, unmodified, on a cache file that authbridge shares.

Usage: interop.py FLOW JSON. Ends with an assertion where MSAL does not see what it must.
`--browse URL` is the person's browser: it reads the same JSON from SANDBOX.
"""

import json
import os
import sys
import time
import urllib.parse

import msal
import msal_extensions
import requests

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "outsider"))
from msal_flows import SCOPES, checked, good, public, walk  # noqa: E402

REFRESH_TOKEN = msal.TokenCache.CredentialType.REFRESH_TOKEN


def browse(sandbox, url):
    """Signs in and goes where the page sends it, as a browser does."""
    back = walk(sandbox, url)
    session = requests.Session()
    session.trust_env = False
    assert session.get(back).ok


def sign_in(sandbox):
    app = public(sandbox)
    flow = app.initiate_auth_code_flow(
        SCOPES, redirect_uri="http://localhost:8400", login_hint=sandbox["user"])
    back = walk(sandbox, flow["auth_uri"])
    answer = dict(urllib.parse.parse_qsl(urllib.parse.urlparse(back).query))
    checked(app.acquire_token_by_auth_code_flow(flow, answer), sandbox)


def account_of(app, sandbox):
    [account] = app.get_accounts(username=sandbox["user"])
    return account


def refresh_tokens(app, account):
    query = {"home_account_id": account["home_account_id"], "client_id": app.client_id}
    return [entry["secret"] for entry in app.token_cache.search(REFRESH_TOKEN, query=query)]


def silent(sandbox):
    """A token without asking anybody: from the source that is expected."""
    app = public(sandbox)
    account = account_of(app, sandbox)
    result = good(app.acquire_token_silent_with_error(SCOPES, account))
    assert result["token_source"] == sandbox["source"], result["token_source"]
    assert len(refresh_tokens(app, account)) == 1, "one refresh token of a user and application"


def forced(sandbox):
    """Redeems the refresh token of the file; the file has the new one afterwards."""
    app = public(sandbox)
    account = account_of(app, sandbox)
    [before] = refresh_tokens(app, account)
    result = app.acquire_token_silent_with_error(SCOPES, account, force_refresh=True)
    assert good(result)["token_source"] == "identity_provider", result["token_source"]
    [after] = refresh_tokens(public(sandbox), account)
    assert after != before


def nobody(sandbox):
    """What authbridge has removed is gone here, too."""
    app = public(sandbox)
    assert app.get_accounts(username=sandbox["user"]) == []
    with open(sandbox["cache"]) as file:
        kept = json.load(file)
    # Nor is anything of the user left under keys that MSAL does not look at.
    for kind in ("AccessToken", "RefreshToken", "IdToken", "Account"):
        owners = [entry["home_account_id"] for entry in kept.get(kind, {}).values()]
        assert not any(owner.startswith(sandbox["object_id"]) for owner in owners), kind


def remove(sandbox):
    app = public(sandbox)
    app.remove_account(account_of(app, sandbox))
    assert app.get_accounts(username=sandbox["user"]) == []


def write(sandbox):
    """Puts in one sign-in of somebody else after the other until told to stop; then all of them,
    and all that was there before, must be in the file."""
    cache = msal_extensions.PersistedTokenCache(
        msal_extensions.FilePersistence(sandbox["cache"]))
    longest, count = 0.0, 0
    while not os.path.exists(sandbox["stop"]):
        assert count < 5000, "never told to stop"
        # A look without the lock, as every get_accounts and acquire_token_silent begins with.
        assert list(cache.search(REFRESH_TOKEN, query={"client_id": sandbox["client_id"]}))
        entry = {
            "home_account_id": "oid-%d.tid" % count, "environment": "login.microsoftonline.com",
            "client_id": "another", "credential_type": REFRESH_TOKEN,
            "secret": "secret-%d" % count, "target": "a b",
        }
        begin = time.monotonic()
        cache.modify(REFRESH_TOKEN, entry, entry)
        longest = max(longest, time.monotonic() - begin)
        count += 1
        # Other programs write now and then, not without a pause.
        time.sleep(0.02)
    with open(sandbox["cache"]) as file:
        kept = json.load(file)
    found = {entry["secret"] for entry in kept[REFRESH_TOKEN].values()}
    lost = {"secret-%d" % index for index in range(count)} - found
    assert not lost, "%d of %d lost: %s" % (len(lost), count, sorted(lost))
    print(json.dumps({"count": count, "longest": longest}))


if __name__ == "__main__":
    if sys.argv[1] == "--browse":
        browse(json.loads(os.environ["SANDBOX"]), sys.argv[2])
    else:
        globals()[sys.argv[1]](json.loads(sys.argv[2]))
