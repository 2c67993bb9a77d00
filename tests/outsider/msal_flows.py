"""MSAL for Python, unmodified, through every flow against the sandbox's Entra.

Usage: msal_flows.py FLOW JSON. Ends with an assertion where an answer is not as it must be.
`--browse URL` is the browser that MSAL opens: it reads the same JSON from SANDBOX.
"""

import html.parser
import json
import os
import sys
import threading
import time
import urllib.parse

import msal
import msal_extensions
import requests

GRAPH = "https://graph.microsoft.com/"
SCOPES = [GRAPH + "Mail.ReadWrite", GRAPH + "Mail.Send"]
EXCHANGE = ["https://outlook.office.com/IMAP.AccessAsUser.All"]


class Form(html.parser.HTMLParser):
    """The first form of a page: where it goes, its fields, its buttons."""

    def __init__(self, page):
        super().__init__()
        self.action, self.fields, self.buttons, self.failed = None, {}, {}, False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "form":
            self.action = attrs["action"]
        elif tag == "input":
            self.fields[attrs["name"]] = attrs.get("value", "")
        elif tag == "button":
            self.buttons[attrs["id"]] = (attrs.get("name"), attrs.get("value"))
        self.failed = self.failed or attrs.get("id") == "error"


def walk(sandbox, url, code="", consent="accept"):
    """Signs in on the pages; gives the redirect address, or None after a page without a form."""
    browser = requests.Session()
    browser.trust_env = False
    browser.verify = sandbox["ca"]
    answer = browser.get(url, allow_redirects=False)
    while not answer.is_redirect:
        form = Form(answer.text)
        assert not form.failed, answer.text
        if form.action is None:
            return None
        filled = {"username": sandbox["user"], "password": sandbox["password"], "code": code}
        fields = {name: filled.get(name, value) for name, value in form.fields.items()}
        if "continue" in form.buttons:
            browser.verify = False
            assert browser.post(form.action, data=form.fields).ok
            return form.action
        name, value = form.buttons.get(consent, (None, None))
        if name:
            fields[name] = value
        target = urllib.parse.urljoin(answer.url, form.action)
        answer = browser.post(target, data=fields, allow_redirects=False)
    return answer.headers["location"]


def public(sandbox, **options):
    location = sandbox["cache"]
    cache = msal_extensions.PersistedTokenCache(msal_extensions.FilePersistence(location))
    return msal.PublicClientApplication(
        sandbox["client_id"], authority=sandbox["authority"], verify=sandbox["ca"],
        instance_discovery=False, token_cache=cache, **options)


def confidential(sandbox, credential):
    return msal.ConfidentialClientApplication(
        sandbox["confidential_id"], authority=sandbox["authority"], verify=sandbox["ca"],
        instance_discovery=False, client_credential=credential)


def good(result):
    assert "access_token" in result, result
    return result


def secret(sandbox):
    app = confidential(sandbox, sandbox["secret"])
    first = good(app.acquire_token_for_client([GRAPH + ".default"]))
    assert "refresh_token" not in first and first["token_source"] == "identity_provider", first
    again = good(app.acquire_token_for_client([GRAPH + ".default"]))
    assert again["token_source"] == "cache", again
    wrong = confidential(sandbox, "wrong").acquire_token_for_client([GRAPH + ".default"])
    assert wrong["error"] == "invalid_client" and wrong["error_codes"] == [7000215], wrong


def certificate(sandbox):
    with open(sandbox["key"]) as key, open(sandbox["certificate"]) as public_part:
        credential = {"private_key": key.read(), "public_certificate": public_part.read()}
    good(confidential(sandbox, credential).acquire_token_for_client([GRAPH + ".default"]))


def checked(result, sandbox):
    good(result)
    claims = result["id_token_claims"]
    assert claims["preferred_username"] == sandbox["user"], claims
    assert claims["aud"] == sandbox["client_id"], claims
    granted = result["scope"].split()
    assert set(SCOPES) <= set(granted), granted
    assert "refresh_token" in result, sorted(result)
    return result


def code(sandbox):
    app = public(sandbox)
    flow = app.initiate_auth_code_flow(
        SCOPES, redirect_uri="http://localhost:8400", login_hint=sandbox["user"])
    back = walk(sandbox, flow["auth_uri"])
    answer = dict(urllib.parse.parse_qsl(urllib.parse.urlparse(back).query))
    checked(app.acquire_token_by_auth_code_flow(flow, answer), sandbox)
    twice = app.acquire_token_by_auth_code_flow(flow, answer)
    assert twice["error"] == "invalid_grant" and twice["error_codes"] == [54005], twice


def declined(sandbox):
    app = public(sandbox)
    flow = app.initiate_auth_code_flow(SCOPES, redirect_uri="http://localhost:8400")
    back = walk(sandbox, flow["auth_uri"], consent="decline")
    answer = dict(urllib.parse.parse_qsl(urllib.parse.urlparse(back).query))
    result = app.acquire_token_by_auth_code_flow(flow, answer)
    assert result["error"] == "access_denied" and "AADSTS65004" in str(result), result


def interactive(sandbox):
    os.environ["SANDBOX"] = json.dumps(sandbox)
    os.environ["BROWSER"] = "%s %s --browse %%s &" % (sys.executable, os.path.abspath(__file__))
    app = public(sandbox)
    checked(app.acquire_token_interactive(SCOPES, timeout=50), sandbox)


def device(sandbox):
    app = public(sandbox)
    flow = app.initiate_device_flow(SCOPES)
    assert "user_code" in flow and flow["user_code"] in flow["message"], flow
    pending = app.acquire_token_by_device_flow(flow, exit_condition=lambda flow: True)
    assert pending["error"] == "authorization_pending", pending
    page = threading.Timer(1.5, walk, [sandbox, flow["verification_uri"], flow["user_code"]])
    page.start()
    time.sleep(flow["interval"])
    checked(app.acquire_token_by_device_flow(flow), sandbox)
    page.join()


def device_declined(sandbox):
    app = public(sandbox)
    flow = app.initiate_device_flow(SCOPES)
    assert walk(sandbox, flow["verification_uri"], flow["user_code"], "decline") is None
    result = app.acquire_token_by_device_flow(flow)
    assert result["error"] == "authorization_declined", result


def account_of(app, sandbox):
    [account] = app.get_accounts(username=sandbox["user"])
    return account


def kept(app):
    found = list(app.token_cache.search(msal.TokenCache.CredentialType.REFRESH_TOKEN))
    assert len(found) == 1, len(found)
    return found[0]["secret"]


def silent(sandbox):
    """From the cache of a process before; then by refreshing, which rotates."""
    app = public(sandbox)
    account = account_of(app, sandbox)
    before = kept(app)
    assert good(app.acquire_token_silent(SCOPES, account))["token_source"] == "cache"
    fresh = good(app.acquire_token_silent_with_error(SCOPES, account, force_refresh=True))
    assert fresh["token_source"] == "identity_provider", fresh
    assert kept(app) != before and kept(public(sandbox)) == kept(app)


def other_resource(sandbox):
    """One refresh token serves Exchange too; without consent it says so."""
    app = public(sandbox)
    result = app.acquire_token_silent_with_error(EXCHANGE, account_of(app, sandbox))
    if sandbox["consented"]:
        assert EXCHANGE[0] in good(result)["scope"].split(), result["scope"]
    else:
        assert result["error_codes"] == [65001] and result["suberror"] == "consent_required"


def refused(sandbox):
    """The silent refresh fails with this number, and the sign-in is healed with the claims."""
    app = public(sandbox)
    account = account_of(app, sandbox)
    result = app.acquire_token_silent_with_error(SCOPES, account, force_refresh=True)
    assert result["error_codes"] == [sandbox["refusal"]], result
    assert result["error"] == sandbox["word"], result
    flow = app.initiate_auth_code_flow(
        SCOPES, redirect_uri="http://localhost:8400", claims_challenge=result.get("claims"))
    back = walk(sandbox, flow["auth_uri"])
    answer = dict(urllib.parse.parse_qsl(urllib.parse.urlparse(back).query))
    checked(app.acquire_token_by_auth_code_flow(flow, answer), sandbox)
    good(app.acquire_token_silent_with_error(SCOPES, account, force_refresh=True))


if __name__ == "__main__":
    if sys.argv[1] == "--browse":
        walk(json.loads(os.environ["SANDBOX"]), sys.argv[2])
    else:
        globals()[sys.argv[1]](json.loads(sys.argv[2]))
