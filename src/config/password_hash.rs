//! Argon2 hashes in PHC form, and what checking one costs.
//!
//! Danger: a hash says itself how much memory its check takes; a damaged or planted one that says
//! 4 TiB ends the process at the first login. Rule: nothing is run before [`cost`] has said what it
//! costs, and what costs more than any sensible hash is refused.

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Params};

/// libsodium's "sensitive" profile takes 1 GiB; nothing asks for more.
const MAX_MEMORY_KIB: u32 = 1 << 20;

/// Passes over that memory: "sensitive" makes four.
const MAX_COST: u64 = 4 << 20;

/// Memory in KiB times passes, which the time of a check follows; or why the hash can't be used,
/// without any part of it.
pub fn cost(hash: &str) -> Result<u64, String> {
    let parsed = PasswordHash::new(hash).map_err(|_| "is not an Argon2 hash".to_owned())?;
    if Algorithm::try_from(parsed.algorithm.as_str()).is_err() {
        return Err("is not an Argon2 hash".to_owned());
    }
    if parsed.hash.is_none() || parsed.salt.is_none() {
        return Err("has no salt or no hash in it".to_owned());
    }
    let params = Params::try_from(&parsed).map_err(|error| format!("can't be used ({error})"))?;
    let cost = u64::from(params.m_cost()) * u64::from(params.t_cost());
    match params.m_cost() > MAX_MEMORY_KIB || cost > MAX_COST {
        true => Err("asks for more memory or passes than any sensible hash".to_owned()),
        false => Ok(cost),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_not_be_used_is_explained_and_what_is_absurd_refused() {
        let tail = "$AAECAwQFBgcICQoLDA0ODw$hf4ErpdTSXzwnzzt22f5CcIjN1MWf2aCjJYhLLfEtcE";
        for (hash, expected) in [
            (format!("$argon2id$v=19$m=19456,t=2,p=1{tail}"), Ok(38_912)),
            (format!("$argon2i$v=19$m=1048576,t=4,p=1{tail}"), Ok(4 << 20)),
            (format!("$argon2id$v=19$m=4294967295,t=1,p=1{tail}"), Err("sensible")),
            (format!("$argon2id$v=19$m=1048577,t=1,p=1{tail}"), Err("sensible")),
            (format!("$argon2id$v=19$m=8,t=4294967295,p=1{tail}"), Err("sensible")),
            ("$argon2id$v=19$m=19456,t=2,p=1".to_owned(), Err("no salt")),
            ("$scrypt$ln=16$c2FsdHNhbHQ$AAAA".to_owned(), Err("not an Argon2")),
            ("hunter2".to_owned(), Err("not an Argon2")),
            (String::new(), Err("not an Argon2")),
        ] {
            match (cost(&hash), expected) {
                (Ok(cost), expected) => assert_eq!(Ok(cost), expected, "{hash}"),
                (Err(why), Err(part)) => assert!(why.contains(part), "{hash}: {why}"),
                (Err(why), Ok(_)) => assert_eq!(why, "", "{hash}"),
            }
        }
    }
}
