//! Google's OAuth: the token endpoint for service accounts.
//!
//! Rule: see [`token`]. Sign-in pages of the desktop flow would stand beside it.

mod token;

use std::sync::Arc;

use axum::Router;
use axum::http::Method;
use axum::routing::post;

use super::faults::Place;
use super::store::Cloud;

pub(super) fn router(cloud: Arc<Cloud>) -> Router {
    Router::new().route("/token", post(token::token)).with_state(cloud)
}

pub(super) fn place_of(_: &Method, path: &str) -> Place {
    if path == "/token" { Place::GoogleToken } else { Place::Other }
}
