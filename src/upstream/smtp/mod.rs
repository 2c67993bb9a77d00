//! SMTP services.
