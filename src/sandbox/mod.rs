//! The make-believe cloud.
