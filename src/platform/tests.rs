//! What both platforms promise.

#[test]
fn only_web_addresses_are_opened() {
    for url in ["", "file:///etc/passwd", "--help", "javascript:alert(1)", "calc.exe"] {
        let refused = open_browser(url).expect_err(url);
        assert_eq!(refused.to_string(), "that is no web address", "{url}");
    }
}
