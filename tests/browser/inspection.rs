//! What every page owes to those who look at it, looked at by a script inside the page.

use crate::harness::browser::Browser;

/// The least that a page may be as wide as: a small telephone.
const NARROW: (u32, u32) = (360, 740);
const WIDE: (u32, u32) = (1280, 900);

/// Gives a list of what is wrong: names, headings, landmarks, width, contrast (WCAG 2.2 at AA).
const SCRIPT: &str = include_str!("inspection.js");

/// Looks at the open page wide and narrow, light and dark, and takes its pictures.
pub fn inspect(browser: &Browser, name: &str) {
    for (size, width) in [(NARROW, "narrow"), (WIDE, "wide")] {
        for (dark, colours) in [(true, "dark"), (false, "light")] {
            browser.show_as(size, dark);
            let found = browser.script(SCRIPT);
            let found = found.as_array().unwrap();
            assert!(found.is_empty(), "{name}, {width}, {colours}: {found:#?}");
            browser.screenshot(&format!("{name}-{width}-{colours}"));
        }
    }
}
