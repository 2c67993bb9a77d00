//! Every AADSTS number that the cloud answers: `error` word, status, `suberror`, and its sentence.
//!
//! Rule: one row per number (facts/entra-oauth.md section 9), so that no endpoint can mix them. A
//! number that is not here is a mistake in a test and answered as a server error.

use super::codes_table::CODES;

/// Where the authorize endpoint shows a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// On a page of its own: the application never hears of it.
    Page,
    /// On the sign-in form, above the fields.
    Form,
    /// At the redirect address.
    Redirect,
}

/// What comes with a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub code: u32,
    pub error: &'static str,
    pub status: u16,
    pub suberror: Option<&'static str>,
    /// True: the answer carries `claims` for the next sign-in.
    pub claims: bool,
    pub shown: Shown,
    pub text: &'static str,
}

/// The row of a number.
pub(super) fn row(code: u32) -> Option<&'static Row> {
    CODES.iter().find(|row| row.code == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every number in facts/entra-oauth.md section 9.
    const FACTS: &[u32] = &[
        16_000, 50_020, 50_001, 500_011, 650_052, 650_057, 50_011, 50_034, 50_053, 50_055, 50_144,
        50_056, 50_126, 50_057, 50_059, 90_019, 50_072, 50_074, 50_076, 50_079, 50_078, 70_043,
        50_097, 53_000, 53_001, 50_105, 50_131, 53_003, 530_032, 53_002, 53_011, 530_035, 50_132,
        50_133, 50_173, 50_158, 50_194, 50_196, 54_005, 501_481, 65_001, 65_004, 65_002, 650_056,
        70_000, 70_008, 700_082, 700_084, 70_002, 7_000_215, 7_000_222, 700_016, 70_001, 700_011,
        7_000_112, 700_025, 7_000_218, 700_027, 50_012, 700_024, 700_022, 28_000, 70_011, 28_002,
        70_016, 70_018, 70_019, 90_002, 90_038, 900_432, 90_072, 90_094, 90_095, 900_144,
        9_001_023, 90_124, 90_130, 9_002_313, 9_002_332, 901_002,
    ];

    #[test]
    fn every_number_of_the_facts_has_one_row() {
        for code in FACTS {
            let rows = CODES.iter().filter(|row| row.code == *code).count();
            assert_eq!(rows, 1, "{code}");
        }
    }

    #[test]
    fn rows_are_well_formed() {
        for row in CODES {
            assert_eq!(CODES.iter().filter(|other| other.code == row.code).count(), 1);
            assert!(row.text.ends_with(['.', '?']), "{}", row.code);
            assert!((400..500).contains(&row.status), "{}", row.code);
            assert_eq!(row.status == 401, row.error == "invalid_client", "{}", row.code);
        }
    }
}
