//! Categories as keywords, both ways.

use crate::mail::mailbox::Keyword;

/// The keyword that stands for a category.
pub(super) fn keyword(category: &str) -> Option<Keyword> {
    Keyword::new(category)
}

/// The category that a keyword stands for.
pub(super) fn category(keyword: &Keyword) -> String {
    keyword.as_str().to_owned()
}
