//! Claims of an ID token: whose sign-in it is.
