//! What Graph's errors mean in mail words, and who can mend them.
//!
//! Danger: "ErrorAccessDenied" helps nobody, and a permanent refusal told as a passing one is tried
//! for days. Rule: each code that is known has a row with its kind, its SMTP reply and the fix;
//! others go by status; the text always carries the request id that Microsoft's support asks for
//! (Graph page `concepts/errors`).

use std::time::Duration;

use reqwest::header::HeaderMap;
use serde_json::Value;

use super::client::Answer;
use crate::mail::{Error, Kind, SmtpReply};
use crate::oauth;

/// Octets of the service's own words that are repeated.
const MAX_WORDS: usize = 300;
/// A Retry-After beyond this is nobody's intention.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// A known failure.
struct Row {
    codes: &'static [&'static str],
    kind: Kind,
    reply: (u16, (u8, u16, u16)),
    /// For the client: one short line.
    words: &'static str,
    /// For the administrator: the fix and where.
    fix: &'static str,
}

const BUSY: Kind = Kind::Throttled { retry_after: None };

/// Facts: sections 9, 11 and 13. Codes in lower case.
const ROWS: &[Row] = &[
    Row {
        codes: &["errorsendasdenied", "errorsendonbehalfofdenied"],
        kind: Kind::NotPermitted,
        reply: (550, (5, 7, 60)),
        words: "This mailbox may not send as the From address",
        fix: "The From address is not this mailbox: grant Send As to it (Exchange admin center, \
              mailbox, Delegation; or Add-RecipientPermission -AccessRights SendAs), for an alias \
              run Set-OrganizationConfig -SendFromAliasEnabled $true, or let the \
              application write the mailbox's own address into From",
    },
    Row {
        codes: &[
            "erroraccessdenied",
            "accessdenied",
            "authorization_requestdenied",
            "extensionerror",
        ],
        kind: Kind::NotPermitted,
        reply: (550, (5, 7, 1)),
        words: "The service does not permit this",
        fix: "The application lacks a permission for this mailbox: in the Entra admin center, App \
              registrations, API permissions, add Microsoft Graph Mail.Send and Mail.ReadWrite \
              (application permissions for a Confidential app, delegated ones for a Public app) \
              and grant admin consent; if they are there, an application access policy or RBAC \
              scope shuts the mailbox out: check with Test-ApplicationAccessPolicy or \
              Test-ServicePrincipalAuthorization",
    },
    Row {
        codes: &[
            "invalidauthenticationtoken",
            "unauthenticated",
            "invalidauthenticationtokenaudience",
        ],
        kind: Kind::SignInNeeded,
        reply: (454, (4, 7, 0)),
        words: "The service does not accept our sign-in, try again later",
        fix: "Graph refuses the access token, a new one too: check TenantId, ClientId and Cloud, \
              and that the role's mailbox belongs to that tenant; a Public app may need \
              `authbridge token add` again (Conditional Access)",
    },
    Row {
        codes: &[
            "mailboxnotenabledforrestapi",
            "mailboxnotsupportedforrestapi",
            "errornonexistentmailbox",
        ],
        kind: Kind::NotFound,
        reply: (550, (5, 1, 0)),
        words: "The sending mailbox is not in Exchange Online",
        fix: "The mailbox has no Exchange Online licence, or it is on-premises, a guest, inactive \
              or deleted: check the licence in the Microsoft 365 admin center, Active users, and \
              the role's UserObjectId or AccountName",
    },
    Row {
        codes: &[
            "errorinvaliduser",
            "resourcenotfound",
            "request_resourcenotfound",
            "errorfoldernotfound",
        ],
        kind: Kind::NotFound,
        reply: (550, (5, 1, 0)),
        words: "The service does not know the sending mailbox",
        fix: "The tenant does not know this user or item: check the role's UserObjectId or \
              AccountName and TenantId",
    },
    Row {
        codes: &["erroritemnotfound", "itemnotfound"],
        kind: Kind::Unavailable,
        reply: (451, (4, 3, 0)),
        words: "The message could not be completed, try again later",
        fix: "What this was about is gone: a person, a rule or another program has deleted it or moved \
              it away (for a large message that is sent: its draft)",
    },
    Row {
        codes: &["errorinvalidrecipients", "errorinvalidinternetmessagerecipient"],
        kind: Kind::Rejected,
        reply: (550, (5, 1, 3)),
        words: "A recipient address is not valid",
        fix: "The service finds an address among the recipients that is not valid; the client must \
              correct it",
    },
    Row {
        codes: &[
            "errormessagesizeexceeded",
            "requestentitytoolarge",
            "errormessagetoolarge",
            "errorattachmentsizelimitexceeded",
        ],
        kind: Kind::TooLarge,
        reply: (552, (5, 3, 4)),
        words: "The message exceeds the size that the mailbox may send",
        fix: "The message is larger than the mailbox may send: raise it with Set-Mailbox \
              -MaxSendSize (up to 150 MB)",
    },
    Row {
        codes: &["errorquotaexceeded", "quotalimitreached"],
        kind: Kind::OverQuota,
        reply: (452, (4, 2, 2)),
        words: "The mailbox is full",
        fix: "The mailbox is full, so that nothing more has a place in it: empty it or raise its quota",
    },
    Row {
        codes: &["errormessagesubmissionblocked"],
        kind: Kind::NotPermitted,
        reply: (550, (5, 7, 708)),
        words: "The mailbox is blocked from sending",
        fix: "Exchange Online has blocked this mailbox from sending: in the Microsoft Defender \
              portal, Email & collaboration, Review, Restricted entities, release it",
    },
    Row {
        codes: &["errorexceededmessagelimit", "errorsendlimitexceeded", "submissionquotaexceeded"],
        kind: Kind::NotPermitted,
        reply: (550, (5, 4, 5)),
        words: "The mailbox has reached its daily sending limit",
        fix: "The mailbox has reached Exchange Online's limit of recipients a day (10,000, or the \
              tenant's own outbound policy): wait, or spread the mail over more mailboxes",
    },
    Row {
        codes: &[
            "errormimecontentinvalid",
            "errormimecontentinvalidbase64string",
            "errorinvalidmimecontent",
            "errorinternetmessageinvalid",
        ],
        kind: Kind::Rejected,
        reply: (554, (5, 6, 0)),
        words: "The service cannot read the message",
        fix: "The service cannot read the message's MIME; the program that wrote it must mend it",
    },
    Row {
        codes: &[
            "applicationthrottled",
            "toomanyrequests",
            "mailboxconcurrency",
            "errorexceededconnectioncount",
            "errorserverbusy",
            "activitylimitreached",
        ],
        kind: BUSY,
        reply: (451, (4, 7, 0)),
        words: "Too many requests, try again later",
        fix: "Microsoft 365 limits how fast this mailbox may be used; set the role's Pace.PerMinute \
              lower if this happens often",
    },
    Row {
        codes: &[
            "errorinternalservertransienterror",
            "errormailboxstoreunavailable",
            "errormailboxmoveinprogress",
            "unknownerror",
            "errorinternalservererror",
            "servicenotavailable",
            "generalexception",
        ],
        kind: Kind::Unavailable,
        reply: (451, (4, 3, 2)),
        words: "The service is not available, try again later",
        fix: "Microsoft 365 has trouble of its own; it passes",
    },
];

/// What to do about codes that have no kind of their own: the status decides about that, and the
/// rooms that can do something about one (delta, conflicts) have done so before it is told.
const ADVICE: &[(&[&str], &str)] = &[
    (
        &["syncstatenotfound", "resyncrequired"],
        "Exchange has forgotten how far we have read; the folder is read again from its beginning \
         by itself",
    ),
    (
        &["errorirresolvableconflict"],
        "another program changed the same message at the same time; try again, and see that no two \
         programs work on one folder",
    ),
    (
        &["errorfolderexists", "namealreadyexists"],
        "there is a folder of this name already; choose another name",
    ),
    (
        &["errordeletedistinguishedfolder"],
        "this is one of the mailbox's own folders (INBOX, Drafts, Sent), which can't be deleted",
    ),
    (
        &[
            "errorinvalididmalformed",
            "inefficientfilter",
            "unabletodeserializepostbody",
            "requestbodyread",
            "badrequest",
            "errorinvalidrequest",
        ],
        "Graph does not understand the request: check that GraphUrl is right and that no proxy in \
         between alters requests, else this is a mistake of authbridge, please report it",
    ),
];

/// The failure that an answer means. `doing` completes "while".
pub(super) fn refusal(role: &str, user: &str, doing: &str, answer: &Answer) -> Error {
    let body = answer.json();
    let codes = codes(&body["error"]);
    let status = answer.status.as_u16();
    let mut telling = codes.iter().filter(|code| status >= 500 || !says_nothing(code));
    let row = telling.find_map(|code| row(code)).or_else(|| row_by_status(answer));
    let code = codes.first().map_or_else(|| "no code".to_owned(), |code| clean(code));
    let words: String = clean(body["error"]["message"].as_str().unwrap_or_default());
    let said = format!("Graph answered {status} {code} {words} ({})", trace(answer, &body));
    let Some(row) = row else {
        let advice = codes.iter().find_map(|code| advice(code));
        let said = advice.map_or_else(|| said.clone(), |advice| format!("{advice}. {said}"));
        // Below 400 something in between has answered, which passes too.
        let kind = if (400..500).contains(&status) { Kind::Rejected } else { Kind::Unavailable };
        return Error::new(kind, format!("{role} ({user}): while {doing}: {said}"));
    };
    let wait = retry_after(&answer.headers);
    let kind = match row.kind {
        Kind::Throttled { .. } => Kind::Throttled { retry_after: wait },
        kind => kind,
    };
    // Graph names a code nearly always: without one something else may have answered.
    let elsewhere = match codes.is_empty() && status == 404 {
        true => "; and that Cloud and GraphUrl lead to Microsoft Graph",
        false => "",
    };
    let text = format!("{role} ({user}): while {doing}: {}{elsewhere}. {said}", row.fix);
    let (code, enhanced) = row.reply;
    Error::new(kind, text).with_reply(SmtpReply::new(code, enhanced, row.words))
}

/// How long Graph asks us to wait.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    oauth::retry_after(headers).map(|wait| wait.min(MAX_RETRY_AFTER))
}

/// The codes of an error, the most specific one first: inner errors nest.
pub(super) fn codes(error: &Value) -> Vec<String> {
    let mut codes = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next.filter(|_| codes.len() < 8) {
        codes.extend(error["code"].as_str().map(str::to_owned));
        let inner = ["innerError", "innererror"].iter().find_map(|name| error.get(*name));
        next = inner.filter(|inner| inner.is_object());
    }
    codes.reverse();
    codes
}

fn advice(code: &str) -> Option<&'static str> {
    let code = code.to_ascii_lowercase();
    ADVICE.iter().find(|(codes, _)| codes.contains(&code.as_str())).map(|(_, words)| *words)
}

/// Every code that has words, in lower case, with them: for the table in `docs/CHECK.md`.
#[cfg(test)]
pub(crate) fn explained() -> Vec<(&'static [&'static str], &'static str)> {
    let rows = ROWS.iter().map(|row| (row.codes, row.fix));
    rows.chain(ADVICE.iter().copied()).collect()
}

/// True for codes that Graph gives when it has none: the status decides whether it passes.
fn says_nothing(code: &str) -> bool {
    ["UnknownError", "generalException"].iter().any(|vague| vague.eq_ignore_ascii_case(code))
}

fn row(code: &str) -> Option<&'static Row> {
    let code = code.to_ascii_lowercase();
    ROWS.iter().find(|row| row.codes.contains(&code.as_str())).or_else(|| {
        // A family: MailboxConcurrencyLimitExceeded and others.
        code.starts_with("mailboxconcurrency").then(|| row("mailboxconcurrency")).flatten()
    })
}

fn row_by_status(answer: &Answer) -> Option<&'static Row> {
    match answer.status.as_u16() {
        401 => row("invalidauthenticationtoken"),
        403 => row("erroraccessdenied"),
        404 => row("resourcenotfound"),
        413 => row("requestentitytoolarge"),
        429 | 509 => row("toomanyrequests"),
        507 => row("quotalimitreached"),
        500..=599 => row("unknownerror"),
        _ => None,
    }
}

fn trace(answer: &Answer, body: &Value) -> String {
    let header = answer.headers.get("request-id").and_then(|id| id.to_str().ok());
    let inner = body["error"]["innerError"]["request-id"].as_str();
    let id = header.or(inner).map_or_else(|| "none".to_owned(), clean);
    format!("request-id {id}")
}

/// One bounded line.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_WORDS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use reqwest::StatusCode;

    fn answer(status: u16, body: &str, headers: &[(&'static str, &str)]) -> Answer {
        let headers = headers.iter().map(|(name, value)| {
            let name = reqwest::header::HeaderName::from_static(name);
            (name, value.parse().expect("header value"))
        });
        Answer {
            status: StatusCode::from_u16(status).expect("status"),
            headers: headers.collect(),
            body: Bytes::copy_from_slice(body.as_bytes()),
        }
    }

    #[test]
    fn each_code_has_its_kind_and_reply() {
        #[rustfmt::skip]
        #[allow(clippy::type_complexity)]
        let table: &[(u16, &str, Kind, u16, (u8, u16, u16))] = &[
            (403, "ErrorSendAsDenied", Kind::NotPermitted, 550, (5, 7, 60)),
            (403, "ErrorAccessDenied", Kind::NotPermitted, 550, (5, 7, 1)),
            (403, "Authorization_RequestDenied", Kind::NotPermitted, 550, (5, 7, 1)),
            (404, "extensionError", Kind::NotPermitted, 550, (5, 7, 1)),
            (401, "InvalidAuthenticationToken", Kind::SignInNeeded, 454, (4, 7, 0)),
            (401, "", Kind::SignInNeeded, 454, (4, 7, 0)),
            (404, "MailboxNotEnabledForRESTAPI", Kind::NotFound, 550, (5, 1, 0)),
            (404, "ErrorInvalidUser", Kind::NotFound, 550, (5, 1, 0)),
            (404, "", Kind::NotFound, 550, (5, 1, 0)),
            (404, "ErrorItemNotFound", Kind::Unavailable, 451, (4, 3, 0)),
            (400, "ErrorInvalidRecipients", Kind::Rejected, 550, (5, 1, 3)),
            (400, "ErrorMimeContentInvalid", Kind::Rejected, 554, (5, 6, 0)),
            (413, "RequestEntityTooLarge", Kind::TooLarge, 552, (5, 3, 4)),
            (400, "ErrorMessageSizeExceeded", Kind::TooLarge, 552, (5, 3, 4)),
            (507, "quotaLimitReached", Kind::OverQuota, 452, (4, 2, 2)),
            (400, "ErrorQuotaExceeded", Kind::OverQuota, 452, (4, 2, 2)),
            (400, "ErrorMessageSubmissionBlocked", Kind::NotPermitted, 550, (5, 7, 708)),
            (400, "ErrorExceededMessageLimit", Kind::NotPermitted, 550, (5, 4, 5)),
            (429, "ApplicationThrottled", BUSY, 451, (4, 7, 0)),
            (429, "MailboxConcurrencyLimitExceeded", BUSY, 451, (4, 7, 0)),
            (509, "", BUSY, 451, (4, 7, 0)),
            (503, "ErrorMailboxMoveInProgress", Kind::Unavailable, 451, (4, 3, 2)),
            (504, "UnknownError", Kind::Unavailable, 451, (4, 3, 2)),
            (500, "", Kind::Unavailable, 451, (4, 3, 2)),
            (403, "UnknownError", Kind::NotPermitted, 550, (5, 7, 1)),
        ];
        for (status, code, kind, reply, enhanced) in table {
            let body = format!("{{\"error\":{{\"code\":\"{code}\",\"message\":\"m\"}}}}");
            let error = refusal("R", "u@d", "sending", &answer(*status, &body, &[]));
            assert_eq!(error.kind, *kind, "{code}");
            let found = error.reply.expect("reply");
            assert_eq!((found.code, found.enhanced), (*reply, *enhanced), "{code}");
            assert_eq!(found.is_temporary(), kind.is_temporary(), "{code}");
        }
    }

    #[test]
    fn each_code_of_the_facts_tells_its_fix() {
        for (status, codes, fix) in [
            (401, "InvalidAuthenticationToken", "token add"),
            (
                403,
                "ErrorAccessDenied Authorization_RequestDenied extensionError",
                "API permissions",
            ),
            (403, "ErrorSendAsDenied", "Send As"),
            (404, "ErrorItemNotFound itemNotFound", "gone"),
            (404, "ErrorFolderNotFound ErrorInvalidUser ResourceNotFound", "UserObjectId"),
            (404, "Request_ResourceNotFound", "UserObjectId"),
            (404, "MailboxNotEnabledForRESTAPI MailboxNotSupportedForRESTAPI", "licence"),
            (404, "ErrorNonExistentMailbox", "licence"),
            (400, "ErrorMimeContentInvalidBase64String ErrorMimeContentInvalid", "MIME"),
            (400, "ErrorInvalidRecipients", "recipients"),
            (413, "RequestEntityTooLarge", "MaxSendSize"),
            (400, "ErrorMessageSizeExceeded", "MaxSendSize"),
            (429, "ApplicationThrottled TooManyRequests", "Pace.PerMinute"),
            (429, "MailboxConcurrencyLimitExceeded", "Pace.PerMinute"),
            (503, "ErrorServerBusy", "Pace.PerMinute"),
            (503, "UnknownError ErrorInternalServerTransientError", "it passes"),
            (503, "ErrorMailboxStoreUnavailable ErrorMailboxMoveInProgress", "it passes"),
            (507, "quotaLimitReached ErrorQuotaExceeded", "quota"),
            (400, "ErrorExceededMessageLimit", "a day"),
            (400, "ErrorMessageSubmissionBlocked", "Restricted entities"),
            (509, "bandwidth", "Pace.PerMinute"),
        ] {
            for code in codes.split(' ') {
                let body = format!("{{\"error\":{{\"code\":\"{code}\",\"message\":\"m\"}}}}");
                let error = refusal("R", "u@d", "reading", &answer(status, &body, &[]));
                assert!(error.text.contains(fix), "{fix} for {code}: {}", error.text);
                assert!(error.text.contains(code), "{code}: {}", error.text);
            }
        }
    }

    #[test]
    fn unknown_codes_go_by_status() {
        for body in ["not json", r#"{"error":{"code":"UnknownError","message":""}}"#] {
            let error = refusal("R", "u@d", "sending", &answer(400, body, &[]));
            assert_eq!((error.kind, error.reply), (Kind::Rejected, None), "{body}");
        }
    }

    #[test]
    fn the_innermost_known_code_decides() {
        let body = r#"{"error":{"code":"badRequest","message":"a\r\nb","innerError":
            {"code":"ErrorSendAsDenied","request-id":"inner","innererror":{"code":"new"}}}}"#;
        let error = refusal("Mail.Sending", "u@d", "sending", &answer(400, body, &[]));
        assert_eq!(error.kind, Kind::NotPermitted);
        assert!(error.text.starts_with("Mail.Sending (u@d): while sending: The From"));
        assert!(error.text.contains("new a  b (request-id inner)"), "{}", error.text);
        let known = answer(400, body, &[("request-id", "outer")]);
        assert!(refusal("R", "u", "x", &known).text.contains("request-id outer"));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let parse = |text: &str| retry_after(&answer(429, "", &[("retry-after", text)]).headers);
        assert_eq!(parse("7"), Some(Duration::from_secs(7)));
        assert_eq!(parse("99999999"), Some(MAX_RETRY_AFTER));
        assert_eq!(parse("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        assert_eq!(parse("Wed, 06 Nov 2199 08:49:37 GMT"), Some(MAX_RETRY_AFTER));
        assert_eq!(parse("soon"), None);
        let body = r#"{"error":{"code":"TooManyRequests"}}"#;
        let error = refusal("R", "u", "x", &answer(429, body, &[("retry-after", "7")]));
        let expected = Kind::Throttled { retry_after: Some(Duration::from_secs(7)) };
        assert_eq!(error.kind, expected);
    }
}
