//! Kept sign-ins seen from outside: other programs that share them.

mod interop;
