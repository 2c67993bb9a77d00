//! Licences and banned crates, from the same lists that cargo-deny reads in `deny.toml`.

use std::process::Command;

use serde_json::Value;

/// What is built for the two platforms that count.
fn metadata(target: &str) -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--filter-platform", target])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn deny() -> toml::Table {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deny.toml");
    std::fs::read_to_string(path).unwrap().parse().unwrap()
}

/// An SPDX expression of OR and AND without nesting deeper than one pair of parentheses.
fn satisfied(expression: &str, allowed: &[&str]) -> bool {
    let flat = expression.replace('/', " OR ");
    let any = |part: &str| {
        part.trim_matches(|c| "() ".contains(c)).split(" OR ").any(|name| {
            name.split(" WITH ").next().is_some_and(|name| allowed.contains(&name.trim()))
        })
    };
    match flat.contains('(') {
        true => flat.split(" AND ").all(any),
        false => flat.split(" OR ").any(|part| part.split(" AND ").all(any)),
    }
}

#[test]
fn every_licence_is_on_the_list_and_no_banned_crate_is_in() {
    let deny = deny();
    let allowed: Vec<&str> =
        deny["licenses"]["allow"].as_array().unwrap().iter().map(|v| v.as_str().unwrap()).collect();
    let banned: Vec<&str> = deny["bans"]["deny"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["crate"].as_str().unwrap())
        .collect();
    assert!(allowed.len() > 3 && banned.len() > 3);
    for target in ["x86_64-unknown-linux-gnu", "x86_64-pc-windows-gnu"] {
        let metadata = metadata(target);
        let packages = metadata["packages"].as_array().unwrap();
        assert!(packages.len() > 100, "metadata is incomplete");
        for package in packages.iter().filter(|package| !package["source"].is_null()) {
            let name = package["name"].as_str().unwrap();
            let licence = package["license"].as_str().unwrap_or("none");
            assert!(satisfied(licence, &allowed), "{name}: licence {licence}");
            assert!(!banned.contains(&name), "{name} is banned in deny.toml");
        }
    }
}

#[test]
fn expressions_are_read_right() {
    let allowed = ["MIT", "Apache-2.0", "Unicode-3.0"];
    for (expression, expected) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("MIT/Apache-2.0", true),
        ("GPL-3.0 OR MIT", true),
        ("(MIT OR GPL-3.0) AND Unicode-3.0", true),
        ("(MIT OR Apache-2.0) AND GPL-3.0", false),
        ("MIT AND GPL-3.0", false),
        ("Apache-2.0 WITH LLVM-exception", true),
    ] {
        assert_eq!(satisfied(expression, &allowed), expected, "{expression}");
    }
}
