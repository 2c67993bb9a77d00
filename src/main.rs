//! The `authbridge` program: see the library's documentation.

fn main() {}
