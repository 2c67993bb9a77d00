//! The pages in a real browser.

use crate::harness::browser::{Browser, Look};

#[test]
fn the_browser_runs_scripts_only_when_it_may() {
    for javascript in [true, false] {
        let Some(browser) = Browser::start(Look { javascript, ..Look::default() }) else { return };
        browser.open("data:text/html,<p id=p>one</p><script>p.textContent='two'</script>");
        assert_eq!(browser.text("#p"), if javascript { "two" } else { "one" });
    }
}
