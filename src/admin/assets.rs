//! The style sheet, the script and the icon, out of the binary.
//!
//! Danger: an inline style or script needs a hole in the policy. Rule: there are these three files
//! and nothing else; they hold no data, so they need no login.

use axum::http::header;
use axum::response::{IntoResponse, Response};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
const ICON: &str = include_str!("icon.svg");

/// `/static/page.css`.
pub(super) async fn style() -> Response {
    file("text/css; charset=utf-8", STYLE)
}

/// `/static/page.js`.
pub(super) async fn script() -> Response {
    file("text/javascript; charset=utf-8", SCRIPT)
}

/// `/static/icon.svg`.
pub(super) async fn icon() -> Response {
    file("image/svg+xml", ICON)
}

fn file(media_type: &'static str, content: &'static str) -> Response {
    ([(header::CONTENT_TYPE, media_type)], content).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_loaded_from_outside() {
        for content in [STYLE, SCRIPT] {
            for word in ["http:", "https:", "//cdn", "@import", "url(", "eval(", "innerHTML"] {
                assert!(!content.contains(word), "{word}");
            }
        }
        assert!(STYLE.contains("prefers-color-scheme: dark"));
        assert!(STYLE.contains("prefers-reduced-motion") && STYLE.contains(":focus-visible"));
    }
}
