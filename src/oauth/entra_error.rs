//! What Microsoft Entra's refusals mean, in plain words with the fix. The one table of AADSTS
//! codes.
//!
//! Danger: "AADSTS7000215" on a screen helps nobody, and a passing failure told as a permanent one
//! wakes an administrator at night. Rule: `error` (and HTTP status where it is unknown) decides who
//! must act, the AADSTS code only picks the words; code, trace id and correlation id are always
//! shown, since Microsoft's support asks for them. Microsoft's own text is shown only for codes
//! that the table does not have.
//! <https://learn.microsoft.com/entra/identity-platform/reference-error-codes>

use http::StatusCode;
use serde::Deserialize;

use super::http::Answer;
use super::quote::{identifier, quote};
use super::{Error, Fault, answer};

/// What to tell a person about an AADSTS code.
#[derive(Debug)]
pub struct Help {
    /// The codes it stands for.
    pub codes: &'static [u32],
    /// What is wrong and how to put it right.
    pub text: &'static str,
}

/// Codes that pass by themselves, whatever `error` says.
const PASSING_CODES: &[u32] = &[50196, 70016];

/// What `access_denied` means when no code stands beside it.
const DECLINED: u32 = 65004;

const PROVIDER: &str = "Microsoft's sign-in service";
const ADDRESS_KEY: &str = "Microsoft365.AuthorityUrl";

/// The help for a code, such as 7000215.
pub fn help(code: u32) -> Option<&'static Help> {
    HELP.iter().find(|help| help.codes.contains(&code))
}

/// Every row of the table.
#[cfg(test)]
pub(crate) fn explained() -> &'static [Help] {
    HELP
}

/// The body of a refusal (RFC 6749 section 5.2 and Microsoft's additions).
#[derive(Default, Deserialize)]
#[serde(default)]
struct Refusal {
    error: String,
    error_description: String,
    #[serde(deserialize_with = "lenient_codes")]
    error_codes: Vec<u32>,
    suberror: String,
    timestamp: String,
    trace_id: String,
    correlation_id: String,
}

/// Turns a refusal into an [`Error`]. `secrets` are removed, should Microsoft echo them.
pub(super) fn explain(role: &str, refused: &Answer, secrets: &[&str]) -> Error {
    let refusal: Refusal = match serde_json::from_slice(&refused.body) {
        Ok(refusal) => refusal,
        Err(_) => return answer::unexplained(role, PROVIDER, refused, ADDRESS_KEY),
    };
    if refusal.error.is_empty() {
        return answer::unexplained(role, PROVIDER, refused, ADDRESS_KEY);
    }
    let error = in_words(role, &refusal, refused.status, "token request", secrets);
    Error { retry_after: refused.retry_after(), ..error }
}

/// Turns `error` and `error_description` of a redirect (RFC 6749 section 4.1.2.1) into an
/// [`Error`].
pub(super) fn explain_callback(role: &str, error: &str, description: &str) -> Error {
    let after = |label: &str, words: usize| {
        let rest = description.split_once(label).map_or("", |(_, rest)| rest);
        rest.split_whitespace().take(words).collect::<Vec<_>>().join(" ")
    };
    let mut refusal = Refusal {
        error: error.to_owned(),
        error_description: description.to_owned(),
        trace_id: after("Trace ID:", 1),
        correlation_id: after("Correlation ID:", 1),
        timestamp: after("Timestamp:", 2),
        ..Refusal::default()
    };
    if error == "access_denied" && codes(&refusal).is_empty() {
        refusal.error_codes.push(DECLINED);
    }
    in_words(role, &refusal, StatusCode::OK, "sign-in", &[])
}

/// `what` is refused.
fn in_words(
    role: &str,
    refusal: &Refusal,
    status: StatusCode,
    what: &str,
    secrets: &[&str],
) -> Error {
    let codes = codes(refusal);
    let known = codes.iter().find_map(|code| help(*code).map(|help| (*code, help)));
    let code = known.map(|(code, _)| code).or_else(|| codes.first().copied());
    let name = quote(&refusal.error, secrets);
    let words =
        known.map_or_else(|| generic(refusal, &name, what, secrets), |(_, help)| help.text.into());
    let reference = reference(code, &name, refusal);
    Error {
        fault: fault(&refusal.error, code, status),
        text: format!("{role}: {words} ({reference})"),
        code: Some(code.map_or(name, |code| format!("AADSTS{code}"))),
        retry_after: None,
    }
}

fn fault(error: &str, code: Option<u32>, status: StatusCode) -> Fault {
    if code.is_some_and(|code| PASSING_CODES.contains(&code)) {
        return Fault::Passing;
    }
    match error {
        "temporarily_unavailable" | "server_error" | "slow_down" | "authorization_pending" => {
            Fault::Passing
        }
        "invalid_client"
        | "unauthorized_client"
        | "invalid_grant"
        | "invalid_scope"
        | "invalid_request"
        | "invalid_resource"
        | "access_denied"
        | "interaction_required"
        | "consent_required"
        | "login_required"
        | "unsupported_grant_type" => Fault::Person,
        _ if status.is_server_error() || status.as_u16() == 429 => Fault::Passing,
        _ => Fault::Person,
    }
}

/// From `error_codes`, else from the description's `AADSTS…`.
fn codes(refusal: &Refusal) -> Vec<u32> {
    if !refusal.error_codes.is_empty() {
        return refusal.error_codes.clone();
    }
    let after = refusal.error_description.split("AADSTS").skip(1);
    after
        .filter_map(|text| {
            let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
            text[..end].parse().ok()
        })
        .collect()
}

fn generic(refusal: &Refusal, name: &str, what: &str, secrets: &[&str]) -> String {
    // The rest of the description repeats the identifiers that we show ourselves.
    let own = refusal.error_description.split("Trace ID:").next().unwrap_or_default();
    let own = quote(own, secrets);
    let suberror = quote(&refusal.suberror, secrets);
    let suberror = if suberror.is_empty() { suberror } else { format!(", {suberror}") };
    format!("Microsoft refuses the {what} with {name}{suberror}. Its own words: \"{own}\"")
}

fn reference(code: Option<u32>, name: &str, refusal: &Refusal) -> String {
    let mut parts = vec![code.map_or_else(|| name.to_owned(), |code| format!("AADSTS{code}"))];
    for (label, value) in [
        ("trace id", &refusal.trace_id),
        ("correlation id", &refusal.correlation_id),
        ("time", &refusal.timestamp),
    ] {
        let value = identifier(&value.replace(' ', "_"));
        if !value.is_empty() {
            parts.push(format!("{label} {}", value.replace('_', " ")));
        }
    }
    parts.join(", ")
}

fn lenient_codes<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<u32>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    let codes = value.as_array().into_iter().flatten();
    Ok(codes.filter_map(|code| code.as_u64()).filter_map(|code| code.try_into().ok()).collect())
}

/// Keep the order of `facts`: a code stands in one row only (tested).
const HELP: &[Help] = &[
    Help {
        codes: &[16000, 50020],
        text: "the account belongs to another organisation: sign in with an account of this \
               tenant, or have it invited as a guest",
    },
    Help {
        codes: &[50001, 500011, 650052, 650057],
        text: "the requested service is unknown in this tenant or not among the application's API \
               permissions: check Microsoft365.Cloud, add the permission under App registrations → \
               API permissions, and see that the tenant has an Exchange Online licence",
    },
    Help {
        codes: &[50011],
        text: "the redirect address is not registered: add exactly \
               Microsoft365.PublicApp.RedirectUri under App registrations → Authentication → \
               Mobile and desktop applications",
    },
    Help {
        codes: &[50034],
        text: "the user does not exist in this tenant: look for a typing error in the account or a \
               wrong TenantId",
    },
    Help {
        codes: &[50053],
        text: "the account is locked, or our address is blocked, after failed attempts: wait some \
               minutes, or ask an administrator to unblock it",
    },
    Help {
        codes: &[50055, 50144],
        text: "the account's password has expired: change it, then sign in again",
    },
    Help { codes: &[50056, 50126], text: "user name or password is wrong: sign in again" },
    Help {
        codes: &[50057],
        text: "the account is disabled: an administrator must enable it under Users",
    },
    Help {
        codes: &[50059, 90019],
        text: "no tenant is named: set TenantId to the tenant's id or domain instead of common",
    },
    Help {
        codes: &[50072, 50074, 50076, 50079],
        text: "multi-factor authentication is needed: sign in again in a browser",
    },
    Help {
        codes: &[50078, 70043],
        text: "the sign-in is older than the organisation's policy allows: sign in again",
    },
    Help {
        codes: &[50097, 53000, 53001],
        text: "Conditional Access wants a managed, compliant device: ask an administrator to \
               exclude this application",
    },
    Help {
        codes: &[50105],
        text: "the account is not assigned to the application: an administrator adds it under \
               Enterprise applications → Users and groups",
    },
    Help {
        codes: &[50131, 53003, 530032],
        text: "Conditional Access blocks this sign-in: give the correlation id to an \
               administrator, who finds the policy under Sign-in logs",
    },
    Help {
        codes: &[53002],
        text: "Conditional Access lets approved client applications in only: ask an administrator \
               to exclude this application",
    },
    Help {
        codes: &[53011],
        text: "the sign-in is blocked because the user is considered at risk: an administrator \
               must look into it under Identity Protection",
    },
    Help {
        codes: &[530035],
        text: "the tenant's security defaults block this request: use a confidential application, \
               or ask an administrator",
    },
    Help {
        codes: &[50132, 50133, 50173],
        text: "the session was revoked or the password has changed: sign in again",
    },
    Help {
        codes: &[50158],
        text: "another provider's multi-factor check is needed: sign in again in a browser",
    },
    Help {
        codes: &[50194],
        text: "the application is registered for a single tenant: set TenantId to that tenant's id \
               instead of common or organizations",
    },
    Help {
        codes: &[50196],
        text: "Microsoft saw too many identical token requests and asks to wait: see that no \
               second program uses this application in a loop, and that the clock is right",
    },
    Help {
        codes: &[54005],
        text: "the sign-in code has been used already: start the sign-in again",
    },
    Help {
        codes: &[501481],
        text: "the sign-in's proof (PKCE) does not fit: start the sign-in again",
    },
    Help {
        codes: &[65001],
        text: "nobody has consented to the permissions: an administrator chooses App registrations \
               → API permissions → Grant admin consent, or the user signs in interactively",
    },
    Help { codes: &[65004], text: "the user has declined consent: sign in again and accept" },
    Help {
        codes: &[65002],
        text: "the ClientId is one of Microsoft's own applications, which may not be used here: \
               register an application of your own",
    },
    Help {
        codes: &[650056],
        text: "the application is registered incompletely or lacks admin consent: check App \
               registrations → API permissions and grant admin consent",
    },
    Help {
        codes: &[70000, 70008, 700082],
        text: "the saved sign-in has expired, often after 90 days without use: sign in again",
    },
    Help {
        codes: &[700084],
        text: "the application is registered as a single-page application, whose sign-ins last a \
               day: register the redirect address as Mobile and desktop applications instead",
    },
    Help {
        codes: &[70002, 7000215],
        text: "the client secret is wrong: a common mistake is to paste the secret's ID instead of \
               its Value. Make a new one under App registrations → Certificates & secrets and put \
               its Value into Microsoft365.ConfidentialApp.Secret",
    },
    Help {
        codes: &[7000222],
        text: "the client secret has expired: make a new one under App registrations → \
               Certificates & secrets and put its Value into Microsoft365.ConfidentialApp.Secret",
    },
    Help {
        codes: &[700016, 70001, 700011, 7000112],
        text: "the application is not found in this tenant, or is disabled: check ClientId, \
               TenantId and Microsoft365.Cloud, and that an administrator of the tenant has \
               consented",
    },
    Help {
        codes: &[700025],
        text: "the application is registered as a public client, which may not send a secret: use \
               IntegrationType Public, or register the redirect address as Web",
    },
    Help {
        codes: &[7000218],
        text: "the application must prove itself: set Allow public client flows to Yes under App \
               registrations → Authentication, or register the redirect address as Mobile and \
               desktop applications",
    },
    Help {
        codes: &[700027, 50012],
        text: "the certificate is not accepted: upload the public part of exactly the certificate \
               in Microsoft365.ConfidentialApp.CertificatePath under App registrations → \
               Certificates & secrets, compare the thumbprints, and see that it has not expired",
    },
    Help {
        codes: &[700024],
        text: "the signed assertion is outside its time: set this machine's clock right",
    },
    Help {
        codes: &[700022, 28000],
        text: "permissions of two services were asked for at once, which one token can't hold: \
               this is a mistake of authbridge, please report it",
    },
    Help {
        codes: &[70011, 28002],
        text: "the scope is spelled wrongly or unknown: check Microsoft365.Cloud",
    },
    Help {
        codes: &[70016],
        text: "the code has not been entered yet: open the page shown and enter it",
    },
    Help { codes: &[70018], text: "the device code is wrong: start the sign-in again" },
    Help { codes: &[70019], text: "the device code has expired: start the sign-in again" },
    Help {
        codes: &[90002],
        text: "the tenant is not found: look for a typing error in TenantId, or set \
               Microsoft365.Cloud to USGovernment or China if it lives there",
    },
    Help {
        codes: &[90038, 900432],
        text: "the tenant lives in a national cloud: set Microsoft365.Cloud to USGovernment, \
               USGovernmentDoD or China",
    },
    Help {
        codes: &[90072],
        text: "the account comes from outside and does not exist in this tenant: an administrator \
               invites it as a guest, or use an account of the tenant",
    },
    Help {
        codes: &[90094, 90095],
        text: "an administrator must approve the application: App registrations → API permissions \
               → Grant admin consent",
    },
    Help {
        codes: &[900144],
        text: "a parameter is missing in the request: this is a mistake of authbridge, or a proxy \
               in between alters requests",
    },
    Help {
        codes: &[9001023, 90124, 90130],
        text: "this sign-in does not work with common or consumers: set TenantId to the tenant's \
               id or domain, or to organizations",
    },
    Help {
        codes: &[9002313],
        text: "the request arrived malformed: a proxy in between alters it, or this is a mistake \
               of authbridge",
    },
    Help {
        codes: &[9002332],
        text: "the application takes work accounts only: set TenantId to the tenant's id instead \
               of consumers",
    },
    Help {
        codes: &[901002],
        text: "the request mixes two versions of Microsoft's protocol (resource and scope): check \
               that Microsoft365.AuthorityUrl has no path",
    },
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use http::{HeaderMap, HeaderValue, StatusCode, header};

    use super::*;

    fn refused(status: u16, body: &str) -> Answer {
        let status = StatusCode::from_u16(status).expect("status");
        Answer { status, headers: HeaderMap::new(), body: body.as_bytes().to_vec() }
    }

    fn body(error: &str, code: u32) -> String {
        format!(
            r#"{{"error":"{error}","error_description":"AADSTS{code}: raw words. Trace ID: t-1",
            "error_codes":[{code}],"timestamp":"2026-02-03 04:05:06Z","trace_id":"t-1",
            "correlation_id":"c-2"}}"#
        )
    }

    /// Every code of facts/entra-oauth.md section 9, and a word its explanation must have.
    const EXPECTED: &[(&[u32], &str)] = &[
        (&[16000, 50020], "guest"),
        (&[50001, 500011, 650052, 650057], "API permissions"),
        (&[50011], "RedirectUri"),
        (&[50034], "TenantId"),
        (&[50053], "locked"),
        (&[50055, 50144], "expired"),
        (&[50056, 50126], "password is wrong"),
        (&[50057], "disabled"),
        (&[50059, 90019], "common"),
        (&[50072, 50074, 50076, 50079], "multi-factor"),
        (&[50078, 70043], "policy"),
        (&[50097, 53000, 53001], "device"),
        (&[50105], "Enterprise applications"),
        (&[50131, 53003, 530032], "correlation id"),
        (&[53002], "approved"),
        (&[53011], "risk"),
        (&[530035], "security defaults"),
        (&[50132, 50133, 50173], "revoked"),
        (&[50158], "multi-factor"),
        (&[50194], "single tenant"),
        (&[50196], "wait"),
        (&[54005], "again"),
        (&[501481], "PKCE"),
        (&[65001], "consent"),
        (&[65004], "declined"),
        (&[65002], "own"),
        (&[650056], "consent"),
        (&[70000, 70008, 700082], "90 days"),
        (&[700084], "single-page"),
        (&[70002, 7000215], "Value"),
        (&[7000222], "expired"),
        (&[700016, 70001, 700011, 7000112], "ClientId"),
        (&[700025], "public client"),
        (&[7000218], "public client flows"),
        (&[700027, 50012], "certificate"),
        (&[700024], "clock"),
        (&[700022], "two services"),
        (&[70011, 28002], "scope"),
        (&[70016], "not been entered"),
        (&[70018], "wrong"),
        (&[70019], "expired"),
        (&[90002], "TenantId"),
        (&[90038, 900432], "national cloud"),
        (&[90072], "guest"),
        (&[90094, 90095], "approve"),
        (&[900144], "parameter"),
        (&[9001023, 90124, 90130], "consumers"),
        (&[9002313], "malformed"),
        (&[9002332], "work accounts"),
        (&[901002], "AuthorityUrl"),
    ];

    #[test]
    fn every_known_code_has_its_words_code_and_ids() {
        for (codes, word) in EXPECTED {
            for code in *codes {
                let error =
                    explain("Mail.Sending", &refused(400, &body("invalid_client", *code)), &[]);
                assert!(error.text.starts_with("Mail.Sending: "), "{error}");
                assert!(error.text.contains(word), "{code}: {error}");
                assert!(error.text.contains(&format!("AADSTS{code}")), "{error}");
                assert!(error.text.contains("trace id t-1, correlation id c-2"), "{error}");
                assert!(error.text.contains("time 2026-02-03 04:05:06Z"), "{error}");
                assert!(!error.text.contains("raw words"), "{error}");
                assert_eq!(error.code.as_deref(), Some(format!("AADSTS{code}").as_str()));
                let passing = PASSING_CODES.contains(code);
                assert_eq!(error.fault == Fault::Passing, passing, "{code}");
            }
        }
    }

    #[test]
    fn no_code_stands_in_two_rows_and_no_row_is_untested() {
        let all: Vec<u32> = HELP.iter().flat_map(|help| help.codes).copied().collect();
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
        let tested: HashSet<u32> = EXPECTED.iter().flat_map(|row| row.0).copied().collect();
        assert!(all.iter().all(|code| tested.contains(code) || *code == 28000));
    }

    #[test]
    fn the_error_name_decides_before_the_status() {
        for (status, error, fault) in [
            (400, "invalid_client", Fault::Person),
            (401, "unauthorized_client", Fault::Person),
            (500, "invalid_grant", Fault::Person),
            (503, "temporarily_unavailable", Fault::Passing),
            (400, "temporarily_unavailable", Fault::Passing),
            (400, "server_error", Fault::Passing),
            (400, "something_new", Fault::Person),
            (502, "something_new", Fault::Passing),
            (429, "something_new", Fault::Passing),
        ] {
            let error = explain("R", &refused(status, &body(error, 4242)), &[]);
            assert_eq!(error.fault, fault, "{error}");
            assert!(
                error.text.contains("AADSTS4242") && error.text.contains("raw words"),
                "{error}"
            );
            assert!(error.text.contains("trace id t-1"), "{error}");
        }
    }

    #[test]
    fn a_redirects_error_is_explained_by_the_same_table() {
        let ids = "Trace ID: t-1 Correlation ID: c-2 Timestamp: 2026-02-03 04:05:06Z";
        for (error, description, fault, code, word) in [
            ("access_denied", "", Fault::Person, "AADSTS65004", "declined"),
            ("access_denied", "AADSTS65004: no.", Fault::Person, "AADSTS65004", "declined"),
            ("access_denied", "AADSTS50105: no.", Fault::Person, "AADSTS50105", "Enterprise"),
            ("invalid_client", "AADSTS650052: no.", Fault::Person, "AADSTS650052", "licence"),
            ("server_error", "AADSTS4242: oops.", Fault::Passing, "AADSTS4242", "oops"),
            ("temporarily_unavailable", "", Fault::Passing, "temporarily_unavailable", "sign-in"),
            ("made up", "words", Fault::Person, "made up", "the sign-in with made up"),
        ] {
            let found = explain_callback("jo", error, &format!("{description} {ids}"));
            assert_eq!((found.fault, found.code.as_deref()), (fault, Some(code)), "{found}");
            assert!(found.text.starts_with("jo: ") && found.text.contains(word), "{found}");
            let reference = "trace id t-1, correlation id c-2, time 2026-02-03 04:05:06Z";
            assert!(found.text.contains(reference), "{found}");
        }
    }

    #[test]
    fn a_code_is_also_found_in_the_description() {
        let json = r#"{"error":"invalid_client","error_description":"AADSTS7000222: expired"}"#;
        let error = explain("R", &refused(401, json), &[]);
        assert_eq!(error.code.as_deref(), Some("AADSTS7000222"));
        let json = r#"{"error":"odd","error_description":"no code","error_codes":"none"}"#;
        assert_eq!(explain("R", &refused(401, json), &[]).code.as_deref(), Some("odd"));
    }

    #[test]
    fn an_echoed_secret_is_not_shown() {
        let json = r#"{"error":"odd s3cret","suberror":"s3cret",
            "error_description":"you sent client_secret=s3cret\r\nFORGED LINE"}"#;
        let error = explain("R", &refused(400, json), &["s3cret"]);
        assert!(!format!("{error:?}").contains("s3cret"), "{error}");
        assert!(!error.text.contains(['\r', '\n']));
    }

    #[test]
    fn answers_without_an_oauth_error_are_told_by_status() {
        for (status, body, fault, word) in [
            (500, "<html>oops</html>", Fault::Passing, "failure"),
            (503, "", Fault::Passing, "503"),
            (429, "{}", Fault::Passing, "too much"),
            (403, "<html>blocked</html>", Fault::Person, "proxy"),
            (404, "", Fault::Person, "AuthorityUrl"),
            (400, "{\"error\":", Fault::Person, "without an OAuth error"),
            (302, "", Fault::Person, "302"),
            (400, "[]", Fault::Person, "400"),
        ] {
            let error = explain("R", &refused(status, body), &[]);
            assert_eq!(error.fault, fault, "{error}");
            assert!(error.text.contains(word), "{error}");
        }
    }

    #[test]
    fn retry_after_is_kept_and_bounded() {
        for (value, seconds) in [("7", Some(7)), ("999999", Some(3600)), ("soon", None)] {
            let mut answer = refused(429, "");
            answer.headers.insert(header::RETRY_AFTER, HeaderValue::from_static(value));
            let expected = seconds.map(std::time::Duration::from_secs);
            assert_eq!(explain("R", &answer, &[]).retry_after, expected);
        }
    }
}
