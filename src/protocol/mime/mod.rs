//! Reading and mending message headers (RFC 5322) and the outline of MIME parts (RFC 2045, 2046).
