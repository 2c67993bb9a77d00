//! Each code that the providers' documentation names, through the real `check --json` where the
//! cloud can be made to say it; where it can't, why, and where its words are tested.

use std::path::Path;

use authbridge::sandbox::{App, Fault, Mailbox, Place, What};
use serde_json::Value;

use super::verify::{failure, json, step};
use crate::harness::cloud::{COLLEAGUE, Cloud, OFFICE};

/// Every code of Entra that a token request can meet.
const ENTRA: &[u32] = &[
    16000, 50020, 50001, 500011, 650052, 650057, 50011, 50034, 50053, 50055, 50144, 50056, 50126,
    50057, 50059, 90019, 50072, 50074, 50076, 50079, 50078, 70043, 50097, 53000, 53001, 50105,
    50131, 53003, 530032, 53002, 53011, 530035, 50132, 50133, 50173, 50158, 50194, 50196, 54005,
    501481, 65001, 65004, 65002, 650056, 70000, 70008, 700082, 700084, 70002, 7000215, 7000222,
    700016, 70001, 700011, 7000112, 700025, 7000218, 700027, 50012, 700024, 700022, 70011, 28000,
    28002, 70016, 70018, 70019, 90002, 90038, 900432, 90072, 90094, 90095, 900144, 9001023, 90124,
    90130, 9002313, 9002332, 901002,
];

/// Google's refusals of a token request: `error`, its text, and a word of what to do; of two with
/// one `error` the more special word comes first.
const GOOGLE: &[(&str, &str, &str)] = &[
    ("unauthorized_client", "Unauthorized client or scope in request.", "Workspace domain"),
    (
        "unauthorized_client",
        "Client is unauthorized to retrieve access tokens using this method.",
        "numeric client id",
    ),
    (
        "unauthorized_client",
        "Client is unauthorized to retrieve access tokens using this method, or client not \
         authorized for any of the scopes requested.",
        "final slash",
    ),
    ("access_denied", "Requested client not authorized.", "lacks the scope"),
    ("invalid_grant", "Not a valid email.", "primary address"),
    ("invalid_grant", "Invalid email or User ID", "GsuiteUser"),
    (
        "invalid_grant",
        "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable \
         timeframe. Check your iat and exp values in the JWT claim.",
        "clock right",
    ),
    ("invalid_grant", "Invalid JWT Signature.", "make a new key"),
    ("invalid_grant", "No valid verifier found for issuer.", "Service Accounts → Keys"),
    ("invalid_grant", "Invalid grant: account not found", "typing error"),
    ("invalid_grant", "Bad Request", "both exist"),
    ("invalid_request", "Invalid impersonation prn email address.", "full address"),
    ("invalid_scope", "Invalid OAuth scope or ID token audience provided.", "must list exactly"),
    ("disabled_client", "The OAuth client was disabled.", "enable it"),
    ("admin_policy_enforced", "Blocked by the administrator.", "App access control"),
    ("org_internal", "Restricted to users within its organization.", "own organisation"),
    ("internal_failure", "Backend Error", "tried again"),
];

/// Graph's refusals of reading: status, code, a word of what to do.
const GRAPH_READING: &[(u16, &str, &str)] = &[
    (401, "InvalidAuthenticationToken", "TenantId"),
    (403, "ErrorAccessDenied", "API permissions"),
    (403, "Authorization_RequestDenied", "admin consent"),
    (404, "extensionError", "API permissions"),
    (404, "ErrorItemNotFound", "gone"),
    (404, "itemNotFound", "gone"),
    (404, "ErrorFolderNotFound", "UserObjectId"),
    (404, "ErrorInvalidUser", "UserObjectId"),
    (404, "ResourceNotFound", "UserObjectId"),
    (404, "Request_ResourceNotFound", "UserObjectId"),
    (404, "MailboxNotEnabledForRESTAPI", "licence"),
    (404, "MailboxNotSupportedForRESTAPI", "licence"),
    (404, "ErrorNonExistentMailbox", "licence"),
    (400, "ErrorInvalidIdMalformed", "report it"),
    (400, "InefficientFilter", "report it"),
    (400, "UnableToDeserializePostBody", "no proxy in between"),
    (400, "BadRequest", "GraphUrl is right"),
    (400, "RequestBodyRead", "no proxy in between"),
    (410, "SyncStateNotFound", "by itself"),
    (410, "resyncRequired", "by itself"),
    (412, "ErrorIrresolvableConflict", "try again"),
    (429, "ApplicationThrottled", "Pace.PerMinute"),
    (429, "TooManyRequests", "Pace.PerMinute"),
    (429, "MailboxConcurrencyLimitExceeded", "Pace.PerMinute"),
    (509, "activityLimitReached", "limits how fast"),
    (500, "ErrorInternalServerTransientError", "passes"),
    (503, "ErrorServerBusy", "limits how fast"),
    (503, "ErrorMailboxStoreUnavailable", "passes"),
    (503, "ErrorMailboxMoveInProgress", "passes"),
    (504, "UnknownError", "passes"),
];

/// Graph's refusals of a message.
const GRAPH_SENDING: &[(u16, &str, &str)] = &[
    (403, "ErrorSendAsDenied", "Send As"),
    (400, "ErrorInvalidRecipients", "correct it"),
    (400, "ErrorMimeContentInvalidBase64String", "must mend it"),
    (400, "ErrorMimeContentInvalid", "must mend it"),
    (400, "ErrorMessageSizeExceeded", "MaxSendSize"),
    (400, "ErrorQuotaExceeded", "empty it"),
    (507, "quotaLimitReached", "empty it"),
    (400, "ErrorExceededMessageLimit", "wait"),
    (400, "ErrorMessageSubmissionBlocked", "Restricted entities"),
];

/// What an SMTP service says to a login: its reply, a word of what to do, and true where a newer
/// token is tried before it is told.
const SMTP_LOGIN: &[(&str, &str, bool)] = &[
    ("421 4.3.0 Temporary System Problem", "busy", false),
    ("421 4.4.5 Server busy", "busy", false),
    ("421 4.7.0 Try again later, closing connection", "let fewer programs", false),
    ("432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded", "three connections", false),
    ("451 4.3.0 Temporary failure", "passing failure", false),
    ("451 4.4.2 Timeout", "passing failure", false),
    ("451 4.5.0 SMTP protocol violation", "passing failure", false),
    ("454 4.5.0 SMTP protocol violation, no commands allowed", "STARTTLS", false),
    ("454 4.7.0 Too many login attempts", "wait", false),
    ("530 5.7.0 Must issue a STARTTLS command first", "TlsMode", false),
    ("534 5.7.9 Application-specific password required", "app password", false),
    ("534 5.7.14 Please log in through your web browser", "browser", false),
    ("535 5.7.1 Username and Password not accepted", "delegation", true),
    ("535 5.7.8 Username and Password not accepted", "delegation", true),
    ("550 5.7.30 Basic authentication is not supported", "MicrosoftOAuth2", false),
];

/// What it says to MAIL.
const SMTP_MAIL: &[(&str, &str)] = &[
    ("550 5.4.5 Daily sending quota exceeded", "24 hours"),
    ("550 5.7.1 Unsolicited message", "policy"),
    ("552 5.2.3 Too large", "larger than"),
    ("552 5.7.0 Blocked for security", "attachment"),
    ("554 5.2.2 Mailbox full", "full"),
    ("555 5.5.2 Syntax error", "address or parameter"),
];

/// What it says to RCPT, which stops no other message.
const SMTP_RECIPIENT: &[(&str, &str)] = &[
    ("450 4.2.1 The user receives mail too quickly", "faster than"),
    ("452 4.2.2 The recipient is over quota", "full"),
    ("452 4.5.3 Too many recipients", "another one"),
];

/// What IMAP and POP3 say to a login: where, the reply, the code, a word of what to do, and true
/// where a newer token is tried before it is told.
const READING: &[(Place, &str, &str, &str, bool)] = &[
    (Place::Imap, "NO [AUTHENTICATIONFAILED] Invalid", "AUTHENTICATIONFAILED", "GsuiteUser", true),
    (Place::Imap, "NO [ALERT] Too many simultaneous connections.", "ALERT", "close", false),
    (Place::Imap, "NO [UNAVAILABLE] Temporary problem", "UNAVAILABLE", "Temporary", false),
    (Place::Pop3, "-ERR [AUTH] Username and password not accepted.", "AUTH", "POP3 is on", true),
    (Place::Pop3, "-ERR [IN-USE] Maildrop locked", "IN-USE", "another program", false),
    (Place::Pop3, "-ERR [SYS/TEMP] Temporary problem", "SYS/TEMP", "Temporary", false),
    (Place::Pop3, "-ERR [LOGIN-DELAY] Too soon", "LOGIN-DELAY", "Too soon", false),
];

/// Codes that `check` has no way to meet: why, and the file whose tests have their words.
const ELSEWHERE: &[(&str, &str, &str)] = &[
    (
        "ErrorFolderExists",
        "comes of creating a folder, and check changes no mailbox",
        "src/upstream/graph/failure.rs",
    ),
    (
        "nameAlreadyExists",
        "comes of creating a folder, and check changes no mailbox",
        "src/upstream/graph/failure.rs",
    ),
    (
        "RequestEntityTooLarge",
        "the test message is small, and a larger one goes another way by itself",
        "src/upstream/graph/failure.rs",
    ),
    (
        "slow_down",
        "comes of waiting for a device code, which `token add` does",
        "src/oauth/sign_in/device/tests.rs",
    ),
];

#[test]
fn what_is_proved_elsewhere_is_proved_there() {
    for (code, why, file) in ELSEWHERE {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{file}: {e}"));
        let known = text.to_lowercase().contains(&code.to_lowercase());
        assert!(known, "{code} ({why}) has no test in {file}");
    }
}

/// The names of `count` roles, so that one process meets them all.
fn roles(count: usize, ending: &str) -> Vec<String> {
    (0..count).map(|index| format!("App.r{index}.Mail.{ending}")).collect()
}

/// Code and text of every role's failure at `subject`, which the fault of each row has caused.
fn failures(report: &Value, roles: &[String], subject: &str) -> Vec<(String, String)> {
    let one = |role: &String| {
        let (at, code, text) = failure(report, role);
        assert_eq!(at, subject, "{role}: {text}");
        (code.to_owned(), text.to_owned())
    };
    roles.iter().map(one).collect()
}

/// Each row's code and word are found in a failure of its own.
fn assert_each_once<'a>(
    mut found: Vec<(String, String)>,
    expected: impl Iterator<Item = (&'a str, &'a str)>,
) {
    for (code, word) in expected {
        let fits = |(own, text): &(String, String)| own == code && text.contains(word);
        let at = found.iter().position(fits);
        let at = at.unwrap_or_else(|| panic!("{code} with {word:?} in {found:#?}"));
        found.remove(at);
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn each_code_of_entra_is_explained() {
    let cloud = Cloud::start();
    // Each role meets one of them, and which does not matter.
    let roles = roles(ENTRA.len(), "Sending");
    let configuration: String = roles.iter().map(|role| cloud.graph(role)).collect();
    for code in ENTRA {
        cloud.sandbox.refuse(Place::EntraToken, *code, 1);
    }
    let (report, said) = json(&cloud, &configuration, &[]);
    assert_eq!(said.code, Some(1), "{report}");
    let found = failures(&report, &roles, "token");
    assert!(found.iter().all(|(_, text)| !text.contains("Its own words")), "{found:#?}");
    let codes: Vec<String> = ENTRA.iter().map(|code| format!("AADSTS{code}")).collect();
    assert_each_once(found, codes.iter().map(|code| (code.as_str(), code.as_str())));
}

#[test]
fn each_refusal_of_google_is_explained() {
    let cloud = Cloud::start();
    let roles = roles(GOOGLE.len(), "Sending");
    let configuration: String =
        roles.iter().map(|role| cloud.gmail_smtp(role, "key.json")).collect();
    for (error, description, _) in GOOGLE {
        cloud.sandbox.refuse_google(error, description, 1);
    }
    let (report, said) = json(&cloud, &configuration, &[]);
    assert_eq!(said.code, Some(1), "{report}");
    let found = failures(&report, &roles, "token");
    assert!(found.iter().all(|(_, text)| !text.contains("Its own words")), "{found:#?}");
    assert_each_once(found, GOOGLE.iter().map(|row| (row.0, row.2)));
}

/// A receiving role for each of so many mailboxes, which share no limit of Graph's.
fn reading_roles(cloud: &Cloud, count: usize) -> (Vec<String>, String) {
    let roles = roles(count, "Receiving");
    let one = |(index, role): (usize, &String)| {
        let user = format!("user{index}@contoso.example");
        cloud.sandbox.add_mailbox(Mailbox::microsoft(&cloud.tenant.id, &user));
        cloud.graph(role).replace(OFFICE, &user)
    };
    let configuration = roles.iter().enumerate().map(one).collect();
    (roles, configuration)
}

#[test]
fn each_refusal_of_graph_to_read_is_explained() {
    let cloud = Cloud::start();
    // A refused token is replaced and tried once more: that one goes alone.
    let (alone, together): (Vec<_>, Vec<_>) =
        GRAPH_READING.iter().partition(|(status, ..)| *status == 401);
    for (rows, times) in [(alone, 2), (together, 1)] {
        let (roles, configuration) = reading_roles(&cloud, rows.len());
        for (status, code, _) in &rows {
            let what = What::Graph(*status, code);
            cloud.sandbox.fault(Fault { at: Place::GraphRead, what, times });
        }
        let (report, said) = json(&cloud, &configuration, &[]);
        assert_eq!(said.code, Some(1), "{report}");
        assert!(cloud.sandbox.faults_left().is_empty());
        let found = failures(&report, &roles, "mailbox");
        assert_each_once(found, rows.iter().map(|(_, code, word)| (*code, *word)));
    }
}

#[test]
fn each_refusal_of_graph_to_send_is_explained() {
    let cloud = Cloud::start();
    let roles = roles(GRAPH_SENDING.len(), "Sending");
    let one = |(index, role): (usize, &String)| {
        let user = format!("user{index}@contoso.example");
        cloud.sandbox.add_mailbox(Mailbox::microsoft(&cloud.tenant.id, &user));
        cloud.graph(role).replace(OFFICE, &user)
    };
    let configuration: String = roles.iter().enumerate().map(one).collect();
    for (status, code, _) in GRAPH_SENDING {
        let what = What::Graph(*status, code);
        cloud.sandbox.fault(Fault { at: Place::GraphSendMail, what, times: 1 });
    }
    let (report, said) = json(&cloud, &configuration, &["--send-test", COLLEAGUE]);
    assert_eq!(said.code, Some(1), "{report}");
    assert!(cloud.sandbox.faults_left().is_empty());
    let found = failures(&report, &roles, "sending");
    assert_each_once(found, GRAPH_SENDING.iter().map(|(_, code, word)| (*code, *word)));
    assert!(cloud.sandbox.deliveries().is_empty());
}

/// Reply code and enhanced code of a reply.
fn code_of(reply: &str) -> &str {
    reply.match_indices(' ').nth(1).map_or(reply, |(end, _)| &reply[..end])
}

#[test]
fn each_refusal_of_an_smtp_login_is_explained() {
    let cloud = Cloud::start();
    type Rows = Vec<&'static (&'static str, &'static str, bool)>;
    let (twice, once): (Rows, Rows) = SMTP_LOGIN.iter().partition(|(.., newer)| *newer);
    let groups = twice.iter().map(|row| (vec![*row], 2)).chain([(once, 1)]);
    for (rows, times) in groups {
        let roles = roles(rows.len(), "Sending");
        let configuration: String =
            roles.iter().map(|role| cloud.gmail_smtp(role, "key.json")).collect();
        for (reply, ..) in &rows {
            let what = What::Reply("AUTH", reply);
            cloud.sandbox.fault(Fault { at: Place::Smtp, what, times });
        }
        let (report, said) = json(&cloud, &configuration, &[]);
        assert_eq!(said.code, Some(1), "{report}");
        let found = failures(&report, &roles, "mailbox");
        assert_each_once(found, rows.iter().map(|(reply, word, _)| (code_of(reply), *word)));
        assert!(cloud.sandbox.faults_left().is_empty());
    }
}

#[test]
fn each_refusal_of_an_envelope_is_explained() {
    let cloud = Cloud::start();
    for (verb, rows, verdict) in
        [("MAIL", SMTP_MAIL, "does not work"), ("RCPT", SMTP_RECIPIENT, "warning")]
    {
        let roles = roles(rows.len(), "Sending");
        let configuration: String =
            roles.iter().map(|role| cloud.gmail_smtp(role, "key.json")).collect();
        for (reply, _) in rows {
            let what = What::Reply(verb, reply);
            cloud.sandbox.fault(Fault { at: Place::Smtp, what, times: 1 });
        }
        let (report, said) = json(&cloud, &configuration, &[]);
        assert_eq!(said.code, Some(i32::from(verb == "MAIL")), "{report}");
        let one = |role: &String| {
            let step = step(&report, role, "sending");
            assert_eq!(step["verdict"], verdict, "{step}");
            let text = |name: &str| step[name].as_str().unwrap_or_default().to_owned();
            (text("code"), text("text"))
        };
        let found = roles.iter().map(one).collect();
        assert_each_once(found, rows.iter().map(|(reply, word)| (code_of(reply), *word)));
    }
    // What comes after the whole message is told with it.
    let role = cloud.gmail_smtp("Mail.Sending", "key.json");
    let what = What::Reply(".", "552 5.7.0 This message was blocked");
    cloud.sandbox.fault(Fault { at: Place::Smtp, what, times: 1 });
    let (report, said) = json(&cloud, &role, &["--send-test", COLLEAGUE]);
    assert_eq!(said.code, Some(1), "{report}");
    let (subject, code, text) = failure(&report, "Mail.Sending");
    assert_eq!((subject, code), ("sending", "552 5.7.0"), "{text}");
    assert!(text.contains("attachment") && cloud.sandbox.deliveries().is_empty(), "{text}");
}

#[test]
fn each_refusal_of_imap_and_pop3_is_explained() {
    let cloud = Cloud::start();
    for (at, reply, code, word, newer) in READING {
        let (role, verb) = match at {
            Place::Imap => (cloud.gmail_imap("Mail.Receiving"), "AUTHENTICATE"),
            _ => (cloud.gmail_pop3("Mail.Receiving"), "AUTH"),
        };
        let times = 1 + usize::from(*newer);
        cloud.sandbox.fault(Fault { at: *at, what: What::Reply(verb, reply), times });
        let (report, said) = json(&cloud, &role, &[]);
        assert_eq!(said.code, Some(1), "{reply}: {report}");
        assert!(cloud.sandbox.faults_left().is_empty(), "{reply}: {report}");
        let (subject, found, text) = failure(&report, "Mail.Receiving");
        assert_eq!((subject, found), ("mailbox", *code), "{reply}: {text}");
        assert!(text.contains(word), "{reply}: {word} in {text}");
    }
}

#[test]
fn each_status_of_a_refused_xoauth2_is_explained() {
    let cloud = Cloud::start();
    let sending = cloud.gmail_smtp("Mail.Sending", "key.json");
    let imap = cloud.gmail_imap("Mail.Receiving");
    let pop3 = cloud.gmail_pop3("Mail.Receiving");
    for (at, configuration, role, code) in [
        (Place::Smtp, &sending, "Mail.Sending", "535 5.7.8"),
        (Place::Imap, &imap, "Mail.Receiving", "AUTHENTICATIONFAILED"),
        (Place::Pop3, &pop3, "Mail.Receiving", "AUTH"),
    ] {
        for (status, word) in
            [("400", "do not belong together"), ("401", "https://mail.google.com/")]
        {
            cloud.sandbox.fault(Fault { at, what: What::RefuseToken(status), times: 2 });
            let (report, said) = json(&cloud, configuration, &[]);
            assert_eq!(said.code, Some(1), "{report}");
            let (subject, found, text) = failure(&report, role);
            assert_eq!((subject, found), ("mailbox", code), "{text}");
            assert!(text.contains(&format!("status {status}")) && text.contains(word), "{text}");
        }
    }
}

/// A role at Exchange Online's own service, with the application's token.
fn exchange(cloud: &Cloud, role: &str, kind: &str, app: &App) -> String {
    let at = cloud.at();
    let (name, server) = match kind {
        "Smtp" => ("Smtp", &at.exchange_smtp),
        "IMAP" => ("Imap", &at.exchange_imap),
        _ => ("Pop3", &at.exchange_pop3),
    };
    let keys = cloud.graph(role).replace("'Microsoft365'", &format!("'{kind}'"));
    let keys = keys.replace(&cloud.app.client_id, &app.client_id);
    let keys = keys.replace(&cloud.app.secret, &app.secret);
    let keys: String = keys
        .lines()
        .filter(|line| !line.contains(".GraphUrl"))
        .map(|line| format!("{line}\n"))
        .collect();
    let tls = match kind {
        "Smtp" => format!(
            "{role}.Smtp.UseSsl = true\n{role}.Smtp.TlsMode = 'StartTls'\n\
             {role}.Smtp.UseAuth = true\n"
        ),
        _ => format!("{role}.{name}.UseSSL = true\n"),
    };
    format!(
        "{keys}{role}.{name}.Server = '{server}'\n{role}.{name}.AuthType = 'MicrosoftOAuth2'\n{tls}"
    )
}

#[test]
fn exchange_online_s_own_refusals_are_explained() {
    let cloud = Cloud::start();
    let all = ["SMTP.SendAsApp", "IMAP.AccessAsApp", "POP.AccessAsApp"];
    let able = all.iter().fold(App::new(&cloud.tenant.id), |app, role| app.with_role(role));
    let able = cloud.sandbox.add_app(able);
    let bare = cloud.sandbox.add_app(App::new(&cloud.tenant.id));
    let kinds = [
        ("Smtp", "Mail.Sending", "SMTP.SendAsApp"),
        ("IMAP", "App.a.Mail.Receiving", "IMAP.AccessAsApp"),
        ("POP3", "App.b.Mail.Receiving", "POP.AccessAsApp"),
    ];
    let configuration = |app: &App| -> String {
        kinds.iter().map(|(kind, role, _)| exchange(&cloud, role, kind, app)).collect()
    };
    // All is well.
    let (report, said) = json(&cloud, &configuration(&able), &[]);
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{report}");
    // A token without the permission is known before it is used.
    let (report, said) = json(&cloud, &configuration(&bare), &[]);
    assert_eq!(said.code, Some(1), "{report}");
    for (_, role, permission) in kinds {
        let (subject, _, text) = failure(&report, role);
        assert_eq!(subject, "permissions", "{text}");
        for word in [permission, "Office 365 Exchange Online", "grant admin consent"] {
            assert!(text.contains(word), "{role}: {word} in {text}");
        }
    }
    // A good token that opens no such mailbox.
    let wrong = configuration(&able).replace(OFFICE, "nobody@contoso.example");
    let (report, said) = json(&cloud, &wrong, &[]);
    assert_eq!(said.code, Some(1), "{report}");
    for (role, code, words) in [
        ("Mail.Sending", "535 5.7.3", "SMTP AUTH is on|UserObjectId"),
        (
            "App.a.Mail.Receiving",
            "",
            "authenticated but not connected|New-ServicePrincipal|Add-MailboxPermission|ImapEnabled",
        ),
        ("App.b.Mail.Receiving", "", "unknown user name|POP.AccessAsApp|UserObjectId"),
    ] {
        let (subject, found, text) = failure(&report, role);
        assert_eq!((subject, found), ("mailbox", code), "{text}");
        for word in words.split('|') {
            assert!(text.contains(word), "{role}: {word} in {text}");
        }
    }
    // What IMAP says without opening a session at all.
    let imap = exchange(&cloud, "Mail.Receiving", "IMAP", &able);
    let what = What::Reply("AUTHENTICATE", "NO AUTHENTICATE failed.");
    cloud.sandbox.fault(Fault { at: Place::Imap, what, times: 2 });
    let (report, said) = json(&cloud, &imap, &[]);
    assert_eq!(said.code, Some(1), "{report}");
    let (subject, _, text) = failure(&report, "Mail.Receiving");
    assert_eq!(subject, "mailbox", "{text}");
    assert!(text.contains("AUTHENTICATE failed") && text.contains("FullAccess"), "{text}");
    // SMTP AUTH switched off is no matter of the token: it is not tried twice.
    let smtp = exchange(&cloud, "Mail.Sending", "Smtp", &able);
    let off = "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for \
               the Tenant.";
    cloud.sandbox.fault(Fault { at: Place::Smtp, what: What::Reply("AUTH", off), times: 1 });
    let (report, said) = json(&cloud, &smtp, &[]);
    assert_eq!(said.code, Some(1), "{report}");
    let (subject, code, text) = failure(&report, "Mail.Sending");
    assert_eq!((subject, code), ("mailbox", "535 5.7.139"), "{text}");
    for word in ["Set-CASMailbox", "security defaults", "ServerType = Microsoft365"] {
        assert!(text.contains(word), "{word} in {text}");
    }
}

#[test]
fn a_clock_that_is_wrong_is_named_before_anything_is_refused_for_it() {
    let cloud = Cloud::start();
    let role = cloud.graph("Mail.Sending");
    cloud.sandbox.advance(std::time::Duration::from_secs(90));
    let (report, said) = json(&cloud, &role, &[]);
    assert_eq!(said.code, Some(0), "{report}");
    let clock = step(&report, "Mail.Sending", "clock");
    assert_eq!(clock["verdict"], "warning", "{clock}");
    cloud.sandbox.advance(std::time::Duration::from_secs(600));
    let (report, said) = json(&cloud, &cloud.graph_by_certificate("Mail.Sending"), &[]);
    assert_eq!(said.code, Some(1), "{report}");
    let (subject, code, text) = failure(&report, "Mail.Sending");
    assert_eq!((subject, code), ("clock", "AADSTS700024"), "{text}");
    assert!(text.contains("behind that of localhost") && text.contains("NTP"), "{text}");
}
