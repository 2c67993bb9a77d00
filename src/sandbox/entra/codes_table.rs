//! The table behind [`super::codes`]: one row per AADSTS number, in order.

use super::codes::{Row, Shown};

/// `error` words that many rows share.
const GRANT: &str = "invalid_grant";
const CLIENT: &str = "invalid_client";
const REQUEST: &str = "invalid_request";
const INTERACTION: &str = "interaction_required";

/// A refusal of a request that a person can do nothing about by signing in.
const fn plain(code: u32, error: &'static str, shown: Shown, text: &'static str) -> Row {
    row(code, error, None, false, shown, text)
}

const fn row(
    code: u32,
    error: &'static str,
    suberror: Option<&'static str>,
    claims: bool,
    shown: Shown,
    text: &'static str,
) -> Row {
    // Nothing but a client that does not prove who it is gets a 401.
    let status = if matches!(error.as_bytes(), b"invalid_client") { 401 } else { 400 };
    Row { code, error, status, suberror, claims, shown, text }
}

/// The rows.
#[rustfmt::skip]
pub(super) const CODES: &[Row] = &[
    plain(16_000, INTERACTION, Shown::Page,
        "Either multiple user identities are available for the current request or selected \
        account is not supported for the scenario."),
    plain(28_000, REQUEST, Shown::Redirect,
        "Provided value for the input parameter scope is not valid because it contains more \
        than one resource."),
    plain(28_002, "invalid_scope", Shown::Redirect,
        "Provided value for the input parameter scope is not valid when requesting an access \
        token. Please specify a valid scope."),
    plain(50_001, "invalid_resource", Shown::Redirect,
        "The resource principal was not found in the tenant. It might not be installed by the \
        administrator or consented to by any user."),
    plain(50_011, REQUEST, Shown::Page,
        "The redirect URI specified in the request does not match the redirect URIs configured \
        for the application."),
    plain(50_012, CLIENT, Shown::Page,
        "Authentication failed: the certificate or its signature was not accepted."),
    plain(50_020, GRANT, Shown::Page,
        "User account from an external identity provider does not exist in the tenant and \
        cannot access the application."),
    plain(50_034, GRANT, Shown::Form,
        "The user account does not exist in the directory. To sign into this application, the \
        account must be added to the directory."),
    plain(50_053, GRANT, Shown::Form,
        "The account is locked, you've tried to sign in too many times with an incorrect user \
        ID or password."),
    plain(50_055, GRANT, Shown::Form,
        "The password is expired."),
    plain(50_056, GRANT, Shown::Form,
        "Invalid or null password: password does not exist in the directory for this user."),
    plain(50_057, GRANT, Shown::Form,
        "The user account is disabled."),
    plain(50_058, "login_required", Shown::Redirect,
        "A silent sign-in request was sent but no user is signed in."),
    plain(50_059, REQUEST, Shown::Page,
        "No tenant-identifying information found in either the request or implied by any \
        provided credentials."),
    row(50_072, GRANT, Some("basic_action"), true, Shown::Redirect,
        "Due to a configuration change made by your administrator, or because you moved to a \
        new location, you must enroll in multi-factor authentication."),
    row(50_074, GRANT, Some("basic_action"), true, Shown::Redirect,
        "Strong Authentication is required."),
    row(50_076, GRANT, Some("basic_action"), true, Shown::Redirect,
        "Due to a configuration change made by your administrator, or because you moved to a \
        new location, you must use multi-factor authentication."),
    row(50_078, GRANT, Some("basic_action"), true, Shown::Redirect,
        "Presented multi-factor authentication has expired due to policies configured by your \
        administrator, you must refresh your multi-factor authentication."),
    row(50_079, GRANT, Some("basic_action"), true, Shown::Redirect,
        "Due to a configuration change made by your administrator, or because you moved to a \
        new location, you must enroll in multi-factor authentication."),
    row(50_097, INTERACTION, None, true, Shown::Redirect,
        "Device authentication is required."),
    plain(50_105, GRANT, Shown::Page,
        "Your administrator has configured the application to block users unless they are \
        specifically granted access to the application."),
    plain(50_126, GRANT, Shown::Form,
        "Error validating credentials due to invalid username or password."),
    row(50_131, INTERACTION, Some("message_only"), true, Shown::Page,
        "Device is not in required device state, or the request was blocked due to suspicious \
        activity, access policy, or security policy decisions."),
    row(50_132, GRANT, Some("bad_token"), false, Shown::Redirect,
        "The session is not valid due to password expiration or recent password change."),
    row(50_133, GRANT, Some("bad_token"), false, Shown::Redirect,
        "The session is not valid due to password expiration or recent password change."),
    plain(50_144, GRANT, Shown::Form,
        "The user's Active Directory password has expired."),
    row(50_158, INTERACTION, Some("basic_action"), true, Shown::Redirect,
        "External security challenge was not satisfied."),
    row(50_173, GRANT, Some("bad_token"), false, Shown::Redirect,
        "The provided grant has expired due to it being revoked, a fresh auth token is needed. \
        The user might have changed or reset their password."),
    plain(50_194, REQUEST, Shown::Page,
        "Application is not configured as a multi-tenant application. Usage of the /common \
        endpoint is not supported for such apps. Use a tenant-specific endpoint or configure \
        the application to be multi-tenant."),
    plain(50_196, GRANT, Shown::Redirect,
        "The server terminated an operation because it encountered a client request loop."),
    row(53_000, INTERACTION, Some("message_only"), true, Shown::Page,
        "Device is not in required device state: compliant. Conditional Access policy requires \
        a compliant device, and the device is not compliant."),
    row(53_001, INTERACTION, Some("message_only"), true, Shown::Page,
        "Device is not in required device state: domain_joined."),
    row(53_002, INTERACTION, Some("message_only"), true, Shown::Page,
        "Application used is not an approved application for Conditional Access."),
    row(53_003, INTERACTION, Some("message_only"), true, Shown::Page,
        "Access has been blocked by Conditional Access policies. The access policy does not \
        allow token issuance."),
    row(53_011, INTERACTION, Some("message_only"), false, Shown::Page,
        "User blocked due to risk on home tenant."),
    plain(54_005, GRANT, Shown::Page,
        "OAuth2 Authorization code was already redeemed, please retry with a new valid code or \
        use an existing refresh token."),
    row(65_001, GRANT, Some("consent_required"), false, Shown::Redirect,
        "The user or administrator has not consented to use the application. Send an \
        interactive authorization request for this user and resource."),
    plain(65_002, GRANT, Shown::Redirect,
        "Consent between first party application and first party resource must be configured \
        via preauthorization."),
    row(65_004, "access_denied", Some("user_cancel"), false, Shown::Redirect,
        "User declined to consent to access the app."),
    row(70_000, GRANT, Some("bad_token"), false, Shown::Redirect,
        "The provided value for the input parameter is not valid: the grant is malformed or \
        not known."),
    plain(70_001, "unauthorized_client", Shown::Page,
        "The application named in the request was not found in the tenant."),
    plain(70_002, CLIENT, Shown::Page,
        "Error validating credentials."),
    plain(70_003, "unsupported_grant_type", Shown::Page,
        "The app requested an unsupported grant type."),
    row(70_008, GRANT, Some("token_expired"), false, Shown::Redirect,
        "The provided authorization code or refresh token has expired. Send a new interactive \
        authorization request for this user and resource."),
    plain(70_011, "invalid_scope", Shown::Redirect,
        "The provided value for the input parameter 'scope' is not valid."),
    plain(70_016, "authorization_pending", Shown::Page,
        "OAuth 2.0 device flow error. Authorization is pending. Continue polling."),
    plain(70_018, "bad_verification_code", Shown::Page,
        "Invalid verification code."),
    plain(70_019, "expired_token", Shown::Page,
        "The verification code has expired."),
    plain(70_020, "expired_token", Shown::Page,
        "The provided value for the input parameter 'device_code' is not valid. This device \
        code has expired."),
    row(70_043, GRANT, Some("bad_token"), true, Shown::Redirect,
        "The refresh token has expired or is invalid due to sign-in frequency checks by \
        Conditional Access."),
    plain(90_002, REQUEST, Shown::Page,
        "Tenant not found. Check to make sure you have the correct tenant ID and are signing \
        into the correct cloud."),
    plain(90_019, REQUEST, Shown::Page,
        "No tenant-identifying information found in the request."),
    plain(90_038, REQUEST, Shown::Page,
        "The tenant redirected the request to a National Cloud."),
    plain(90_072, GRANT, Shown::Page,
        "User account from an external identity provider does not exist in the tenant and \
        cannot access the application in that tenant."),
    row(90_094, GRANT, Some("consent_required"), false, Shown::Page,
        "An administrator must grant this application the permissions that it asks for."),
    row(90_095, GRANT, Some("consent_required"), false, Shown::Page,
        "Admin consent is required. An approval request can be sent to an administrator."),
    plain(90_124, REQUEST, Shown::Page,
        "The resource is not supported over the /common or /consumers endpoints. Please use \
        the /organizations or tenant-specific endpoint."),
    plain(90_130, REQUEST, Shown::Page,
        "The application is not supported over the /common or /consumers endpoints. Please use \
        the /organizations or tenant-specific endpoint."),
    plain(500_011, "invalid_resource", Shown::Redirect,
        "The resource principal was not found in the tenant. This can happen if the \
        application has not been installed by the administrator of the tenant."),
    plain(500_112, CLIENT, Shown::Page,
        "The reply address does not match the reply address provided when requesting the \
        authorization code."),
    plain(500_113, REQUEST, Shown::Page,
        "No reply address is registered for the application."),
    plain(501_481, GRANT, Shown::Page,
        "The Code_Verifier does not match the code_challenge supplied in the authorization \
        request."),
    plain(501_491, REQUEST, Shown::Redirect,
        "Invalid size of Code_Challenge parameter."),
    row(530_032, INTERACTION, Some("message_only"), false, Shown::Page,
        "Blocked by security policy."),
    row(530_035, INTERACTION, Some("message_only"), false, Shown::Page,
        "Access has been blocked by security defaults."),
    plain(650_052, "invalid_resource", Shown::Page,
        "The app needs access to a service that your organization has not subscribed to or \
        enabled."),
    plain(650_056, CLIENT, Shown::Page,
        "Misconfigured application. The client has not listed any permissions in the requested \
        permissions in the client's application registration, or the admin has not consented \
        in the tenant."),
    plain(650_057, "invalid_resource", Shown::Page,
        "Invalid resource. The client has requested access to a resource which is not listed \
        in the requested permissions in the client's application registration."),
    plain(700_011, "unauthorized_client", Shown::Page,
        "The application with this identifier was not found in the directory."),
    plain(700_016, "unauthorized_client", Shown::Page,
        "The application was not found in the directory. You may have sent your authentication \
        request to the wrong tenant."),
    plain(700_022, "invalid_scope", Shown::Redirect,
        "The provided value for the input parameter 'scope' is not valid because it contains \
        more than one resource."),
    plain(700_023, CLIENT, Shown::Page,
        "Client assertion audience claim does not match the token endpoint."),
    plain(700_024, CLIENT, Shown::Page,
        "Client assertion is not within its valid time range."),
    plain(700_025, CLIENT, Shown::Page,
        "Client is public so neither 'client_assertion' nor 'client_secret' should be \
        presented."),
    plain(700_027, CLIENT, Shown::Page,
        "Client assertion failed signature validation."),
    plain(700_054, "unsupported_response_type", Shown::Redirect,
        "This 'response_type' is not enabled for the application."),
    row(700_082, GRANT, Some("token_expired"), false, Shown::Redirect,
        "The refresh token has expired due to inactivity. The token was inactive for \
        90.00:00:00."),
    row(700_084, GRANT, Some("token_expired"), false, Shown::Redirect,
        "The refresh token was issued to a single page app (SPA), and therefore has a fixed, \
        limited lifetime of 1.00:00:00, which cannot be extended. It is now expired and a new \
        sign in request must be sent by the SPA to the sign in page."),
    plain(900_144, REQUEST, Shown::Page,
        "The request body must contain a parameter that is missing."),
    plain(900_432, REQUEST, Shown::Page,
        "Confidential Client is not supported in Cross Cloud request."),
    plain(901_002, REQUEST, Shown::Page,
        "The 'resource' request parameter is not supported."),
    plain(1_002_012, "invalid_scope", Shown::Page,
        "The provided value for scope is not valid. Client credential flows must have a scope \
        value with /.default suffixed to the resource identifier."),
    plain(7_000_112, "unauthorized_client", Shown::Page,
        "The application is disabled."),
    plain(7_000_215, CLIENT, Shown::Page,
        "Invalid client secret provided. Ensure the secret being sent in the request is the \
        client secret value, not the client secret ID."),
    plain(7_000_216, CLIENT, Shown::Page,
        "'client_assertion', 'client_secret' or 'request' is required for the \
        'client_credentials' grant type."),
    plain(7_000_218, CLIENT, Shown::Page,
        "The request body must contain the following parameter: 'client_assertion' or \
        'client_secret'."),
    plain(7_000_222, CLIENT, Shown::Page,
        "The provided client secret keys are expired."),
    plain(9_001_023, REQUEST, Shown::Page,
        "The grant type is not supported over the /common or /consumers endpoints. Please use \
        the /organizations or tenant-specific endpoint."),
    plain(9_002_313, REQUEST, Shown::Page,
        "Invalid request. Request is malformed or invalid."),
    plain(9_002_325, REQUEST, Shown::Redirect,
        "Proof Key for Code Exchange is required for cross-origin authorization code \
        redemption."),
    plain(9_002_326, REQUEST, Shown::Page,
        "Cross-origin token redemption is permitted only for the 'Single-Page Application' \
        client-type."),
    plain(9_002_327, REQUEST, Shown::Page,
        "Tokens issued for the 'Single-Page Application' client-type may only be redeemed via \
        cross-origin requests."),
    plain(9_002_332, REQUEST, Shown::Page,
        "The application is configured for use by Azure Active Directory users only. Please do \
        not use the /consumers endpoint to serve this request."),
];
